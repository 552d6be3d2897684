"""The step rules against torch.optim's single-tensor path: weights and states, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from step_cases import DTYPES, LAYOUTS, OPTIONS, gradient, same_bits, same_state, twins

from optinspect.optimizers.rules import STEP_RULES, StepRule
from optinspect.optimizers.stepping import live_settings, torch_step

RULES = {rule.name: rule for rule in STEP_RULES}
CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "sgd": torch.optim.SGD,
}
NADAM: dict[str, dict[str, Any]] = {
    "default": {},
    "L2": {"weight_decay": 0.1},
    "decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "maximize": {"weight_decay": 0.1, "maximize": True},
    "fast momentum": {"momentum_decay": 0.5, "betas": (0.95, 0.9)},
    "betas 0": {"betas": (0.0, 0.0), "eps": 1e-3},
}
SGDS: dict[str, dict[str, Any]] = {
    "plain": {"lr": 0.05},
    "L2": {"lr": 0.05, "weight_decay": 0.3},
    "momentum": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    "nesterov": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "dampening": {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "maximize": True},
}
TABLE = {"adamw": OPTIONS, "adam": OPTIONS, "nadam": NADAM, "sgd": SGDS}


def agree(name: str, dtype: torch.dtype, options: dict[str, Any], steps: int, layouts: list[str]) -> None:
    """Step twins under the rule and under torch.optim; every tensor must stay the same."""
    rule, pairs = RULES[name], list(twins(layouts, dtype, seed=len(layouts)))
    theirs = CLASSES[name]([{"params": [pair[1] for pair in pairs], **options}], foreach=False)  # type: ignore[call-arg]
    states: list[dict[str, Any]] = [{} for _ in pairs]
    source = torch.Generator().manual_seed(1)
    group = theirs.param_groups[0]
    first_lr = group["lr"]
    for step in range(steps):
        group["lr"] = first_lr * (0.5 + (step % 7) / 7)
        for place, (mine, other) in enumerate(pairs):
            other.grad = None if (step + place) % 11 == 3 else gradient(mine, source)
        take_ours(rule, pairs, states, group)
        theirs.step()
    for layout, (mine, other), state in zip(layouts, pairs, states, strict=True):
        assert same_bits(mine, other), layout
        assert same_state(state, theirs.state[other]), layout


@torch.no_grad()
def take_ours(rule: StepRule, pairs: list[Any], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
    settings = live_settings(rule, group, 0)
    for (mine, other), state in zip(pairs, states, strict=True):
        if other.grad is not None:
            torch_step(rule, mine, other.grad, state, settings)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_every_option_and_layout_in_every_dtype(name: str, dtype: torch.dtype) -> None:
    for options in TABLE[name].values():
        agree(name, dtype, options, 12, list(LAYOUTS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["adam", "nadam", "sgd"])
def test_a_thousand_steps(name: str, dtype: torch.dtype) -> None:
    options = {"adam": OPTIONS["beta2 0.95"], "nadam": NADAM["L2"], "sgd": SGDS["nesterov"]}[name]
    agree(name, dtype, options, 1000, ["odd vector"])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_a_thousand_steps_of_everything(name: str, dtype: torch.dtype) -> None:
    for options in TABLE[name].values():
        agree(name, dtype, options, 1000, list(LAYOUTS))


def test_mu_product_is_kept_as_torch_keeps_it() -> None:
    """In float32, and in float64 where that is torch's default."""
    torch.set_default_dtype(torch.float64)
    try:
        agree("nadam", torch.float64, NADAM["L2"], 30, ["matrix"])
    finally:
        torch.set_default_dtype(torch.float32)


def test_wider_moments_than_weights_are_stepped_in_their_dtype() -> None:
    """bfloat16 weights with float32 moments: the step of the float32 weight, rounded once."""
    (pair,) = twins(["matrix"], torch.bfloat16, seed=3)
    weight, wide = pair[0].detach(), pair[1].detach().float()
    source, settings = torch.Generator().manual_seed(4), live_settings(RULES["adamw"], {"lr": 0.1} | ADAMW, 0)
    state = {"step": torch.tensor(0.0), "exp_avg": torch.zeros(16, 9), "exp_avg_sq": torch.zeros(16, 9)}
    wide_state = {name: slot.clone() for name, slot in state.items()}
    for _ in range(5):
        grad = gradient(weight, source)
        wide.copy_(weight)
        torch_step(RULES["adamw"], weight, grad, state, settings)
        torch_step(RULES["adamw"], wide, grad.float(), wide_state, settings)
        assert weight.dtype == torch.bfloat16
        assert same_bits(weight, wide.bfloat16())
        assert same_state(state, wide_state)


ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
