"""The step rules on recorded training: pairs of checkpoints with the gradients used between them.

A recording can be met to the bit only where torch's kernels are those of the machine that recorded it: float32 and
float64 square roots come from MKL, which rounds otherwise on other processors. So the rule must give what torch.optim
gives *here*, bit for bit, and what was recorded there to within one ulp of √v.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from step_cases import same_bits, same_state

from optinspect.optimizers.rules import STEP_RULES, StepRule
from optinspect.optimizers.rules.choice import spelling_of
from optinspect.optimizers.stepping import live_settings, torch_step

CORPUS = os.environ.get("OPTINSPECT_CORPUS")
pytestmark = pytest.mark.skipif(not CORPUS, reason="OPTINSPECT_CORPUS is not set: no recorded pairs to replay")
PAIRS = sorted(path.parent for path in Path(CORPUS, "pairs").glob("*/truth.json")) if CORPUS else []

RULES = {rule.name: rule for rule in STEP_RULES}
TORCH: dict[str, tuple[str, Any]] = {
    "AdamW": ("adamw", torch.optim.AdamW),
    "Adam": ("adam", torch.optim.Adam),
    "NAdam": ("nadam", torch.optim.NAdam),
}
ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}
OTHERS = {
    "cs336": "course-adamw",
    "cs336_eps_large": "course-adamw",
    "bug_decay_after": "adamw-decay-after",
    "bug_decay_after_strong": "adamw-decay-after",
    "bug_decay_no_lr": "adamw-decay-without-lr",
    "bug_no_bias_correction": "adamw-no-bias-correction",
    "bug_no_bias_correction_early": "adamw-no-bias-correction",
}
"""Pairs of hand-written optimizers → the rule that they follow."""

SKIPPED = "gradscaler_skip"
"""Its recorded gradients are infinite: the scaler left the step out."""

UNITS = 2.0
"""Step residual in units of ulp(θ) + 16·u·|Δθ|. Measured over all pairs, one step: ≤ 0.995; a wrong rule ≥ 101."""


class Pair:
    """A run saved before and after the recorded steps."""

    def __init__(self, folder: Path) -> None:
        self.before, self.after, self.recorded = (
            torch.load(folder / name, weights_only=True) for name in ("ckpt_t.pt", "ckpt_t1.pt", "grads_t_t1.pt")
        )
        self.truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        self.names = self.truth["optimizers"][0]["index_to_name"]

    def groups(self) -> list[dict[str, Any]]:
        """The groups with the lr that the step used."""
        (lrs,) = self.recorded["lrs"]
        return [group | {"lr": lr} for group, lr in zip(self.before["optimizer"]["param_groups"], lrs, strict=True)]

    def state(self, checkpoint: dict[str, Any], index: int) -> dict[str, Any]:
        """Under the rules' names; the counter as completed steps."""
        held = checkpoint["optimizer"]["state"].get(index, {})
        spelling = spelling_of(held)
        state = {name: slot.clone() for name, slot in spelling.canonical(held).items()}
        if spelling.step in held:
            done = spelling.completed(float(held[spelling.step]), [checkpoint["step"]])
            state = {"step": torch.tensor(done)} | state
        return state

    def by_rule(self, rule: StepRule) -> dict[str, tuple[torch.Tensor, dict[str, Any]]]:
        """name → weight and state after the recorded step, for every parameter with a gradient."""
        moved = {}
        for number, group in enumerate(self.groups()):
            for index in group["params"]:
                name = self.names[str(index)]
                weight, state = self.before["model"][name].clone(), self.state(self.before, index)
                if name in self.recorded["used"]:
                    grad = self.recorded["used"][name][0]
                    torch_step(rule, weight, grad, state, live_settings(rule, group, number), label=name)
                moved[name] = weight, state
        return moved

    def by_torch(self, cls: Any) -> dict[str, tuple[torch.Tensor, dict[str, Any]]]:
        weights = {name: torch.nn.Parameter(self.before["model"][name].clone()) for name in self.names.values()}
        groups = self.groups()
        optimizer = cls([{"params": [weights[self.names[str(i)]] for i in group["params"]]} for group in groups])
        switches = {"foreach": False, "fused": None}
        optimizer.load_state_dict(self.before["optimizer"] | {"param_groups": [group | switches for group in groups]})
        for name, grads in self.recorded["used"].items():
            weights[name].grad = grads[0].clone()
        optimizer.step()
        return {name: (weight.detach(), optimizer.state[weight]) for name, weight in weights.items()}

    def residual(self, moved: dict[str, tuple[torch.Tensor, dict[str, Any]]]) -> float:
        """Largest distance from the recorded weights, in units of ulp(θ) + 16·u·|Δθ|."""
        worst = 0.0
        for name, (weight, _) in moved.items():
            a, b = self.before["model"][name], self.after["model"][name]
            wide_a, wide_b = a.double(), b.double()
            largest = torch.maximum(wide_a.abs(), wide_b.abs())
            ulp = 2 * ROUNDOFF[b.dtype] * torch.exp2(torch.floor(torch.log2(largest.clamp(min=2.0**-126))))
            unit = ulp + 16 * ROUNDOFF[b.dtype] * (wide_b - wide_a).abs()
            units = (weight.double() - wide_b).abs() / unit
            worst = max(worst, float(units.nan_to_num(nan=float("inf")).max()))
        return worst


def torch_class(folder: Path) -> str | None:
    """Of a pair that torch.optim itself trained without a fault in the files."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    package, _, name = truth["optimizers"][0]["cls"].rpartition(".")
    whole = truth["fault"] in ("healthy", "lr_jump") and folder.name != SKIPPED
    return name if whole and package.startswith("torch.optim") and name in TORCH else None


@pytest.mark.parametrize("folder", [folder for folder in PAIRS if torch_class(folder)], ids=lambda folder: folder.name)
def test_a_recorded_step_is_torchs_to_the_bit(folder: Path) -> None:
    pair = Pair(folder)
    name, cls = TORCH[str(torch_class(folder))]
    ours, torchs = pair.by_rule(RULES[name]), pair.by_torch(cls)
    for parameter, (weight, state) in ours.items():
        assert same_bits(weight, torchs[parameter][0]), parameter
        assert same_state(state, torchs[parameter][1]), parameter
    assert pair.residual(ours) < UNITS
    for index, parameter in pair.names.items():
        assert same_state(ours[parameter][1], pair.state(pair.after, int(index))), parameter


@pytest.mark.parametrize("name", OTHERS)
def test_hand_written_optimizers_follow_their_own_rule_and_not_torchs(name: str) -> None:
    pair = Pair(Path(str(CORPUS), "pairs", name))
    own = pair.by_rule(RULES[OTHERS[name]])
    assert pair.residual(own) < UNITS
    for index, parameter in pair.names.items():
        assert same_state(own[parameter][1], pair.state(pair.after, int(index))), parameter
    assert pair.residual(pair.by_rule(RULES["adamw"])) > 10 * UNITS


def test_float32_moments_over_bfloat16_weights_land_on_the_recording() -> None:
    """Weights only: the recording optimizer averages in another order than torch's lerp."""
    pair = Pair(Path(str(CORPUS), "pairs", "adamw_fp32_moments_bf16"))
    for name, (weight, _) in pair.by_rule(RULES["adamw"]).items():
        assert same_bits(weight, pair.after["model"][name]), name
