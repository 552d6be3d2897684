"""Each rule's formula, written here from its docstring in plain numpy, against both backends and torch in float64."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from optinspect.optimizers.arithmetic import Float64Arithmetic
from optinspect.optimizers.rules import STEP_RULES, Settings, StepRule, begun
from optinspect.optimizers.stepping import torch_step

RULES = {rule.name: rule for rule in STEP_RULES}
S = Settings(lr=3e-3, weight_decay=0.2, beta1=0.85, beta2=0.97, eps=1e-3, momentum=0.8, dampening=0.25)
STEPS = 30

CLOSE = 1e-14
"""Relative to the largest weight. Measured over all rules and both backends: at most 3e-16 after 30 steps."""


class Adam:
    """p and the moments of AdamW under the formulas of one docstring."""

    def __init__(self, p: np.ndarray) -> None:
        self.p, self.m, self.v, self.b, self.product = p.copy(), 0 * p, 0 * p, None, 1.0

    def average(self, g: np.ndarray) -> None:
        self.m = self.m + (1 - S.beta1) * (g - self.m)
        self.v = S.beta2 * self.v + (1 - S.beta2) * g * g

    def adamw(self, g: np.ndarray, t: int) -> None:
        self.p = self.p * (1 - S.lr * S.weight_decay)
        self.average(g)
        self.adam_move(t)

    def adam_move(self, t: int) -> None:
        root = np.sqrt(self.v) / np.sqrt(1 - S.beta2**t)
        self.p = self.p - S.lr / (1 - S.beta1**t) * self.m / (root + S.eps)

    def adam(self, g: np.ndarray, t: int) -> None:
        self.average(g + S.weight_decay * self.p)
        self.adam_move(t)

    def nadam(self, g: np.ndarray, t: int) -> None:
        psi = S.momentum_decay
        mu, mu_next = (S.beta1 * (1 - 0.5 * 0.96 ** (n * psi)) for n in (t, t + 1))
        self.product *= mu
        g = g + S.weight_decay * self.p
        self.average(g)
        d = np.sqrt(self.v / (1 - S.beta2**t)) + S.eps
        self.p = (
            self.p
            - S.lr * (1 - mu) / (1 - self.product) * g / d
            - S.lr * mu_next / (1 - self.product * mu_next) * self.m / d
        )

    def sgd(self, g: np.ndarray, t: int) -> None:
        g = g + S.weight_decay * self.p
        self.b = g if self.b is None else S.momentum * self.b + (1 - S.dampening) * g
        self.p = self.p - S.lr * self.b

    def course(self, g: np.ndarray, t: int) -> None:
        self.m = S.beta1 * self.m + (1 - S.beta1) * g
        self.v = S.beta2 * self.v + (1 - S.beta2) * g * g
        lr_t = S.lr * np.sqrt(1 - S.beta2**t) / (1 - S.beta1**t)
        self.p = self.p - lr_t * self.m / (np.sqrt(self.v) + S.eps)
        self.p = self.p - S.lr * S.weight_decay * self.p

    def no_bias_correction(self, g: np.ndarray, t: int) -> None:
        self.average(g)
        self.p = self.p * (1 - S.lr * S.weight_decay)
        self.p = self.p - S.lr * self.m / (np.sqrt(self.v) + S.eps)

    def eps_inside(self, g: np.ndarray, t: int) -> None:
        self.average(g)
        self.p = self.p * (1 - S.lr * S.weight_decay)
        self.p = self.p - S.lr / (1 - S.beta1**t) * self.m / np.sqrt(self.v / (1 - S.beta2**t) + S.eps)

    def decay_after(self, g: np.ndarray, t: int) -> None:
        self.average(g)
        self.adam_move(t)
        self.p = self.p * (1 - S.lr * S.weight_decay)

    def decay_without_lr(self, g: np.ndarray, t: int) -> None:
        self.average(g)
        self.p = self.p * (1 - S.weight_decay)
        self.adam_move(t)


MOMENTS = "m ← m + (1−β1)(g − m);  v ← β2·v + (1−β2)·g·g"
ADAM_LINE = "p ← p − lr/(1−β1^t) · m / (√v/√(1−β2^t) + eps)"
FORMULAS: dict[str, tuple[Callable[[Adam, np.ndarray, int], None], str]] = {
    "adamw": (Adam.adamw, f"p ← p·(1 − lr·wd);  {MOMENTS}\n{ADAM_LINE}"),
    "adam": (Adam.adam, f"g ← g + wd·p;  {MOMENTS}\n{ADAM_LINE}"),
    "nadam": (
        Adam.nadam,
        "μ_t = β1·(1 − ½·0.96^(t·ψ));  Π ← Π·μ_t\n"
        "p ← p·(1 − lr·wd) where decoupled, else g ← g + wd·p\n"
        f"{MOMENTS};  d = √(v/(1−β2^t)) + eps\n"
        "p ← p − lr·(1−μ_t)/(1−Π) · g/d − lr·μ_{t+1}/(1−Π·μ_{t+1}) · m/d",
    ),
    "sgd": (
        Adam.sgd,
        "g ← g + wd·p;  b ← μ·b + (1−τ)·g  (first step: b ← g);  d = g + μ·b if nesterov else b\n"
        "p ← p − lr·d;  without momentum d = g",
    ),
    "course-adamw": (
        Adam.course,
        "m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g·g;  lr_t = lr·√(1−β2^t)/(1−β1^t)\n"
        "p ← p − lr_t·m/(√v + eps);  p ← p − lr·wd·p",
    ),
    "adamw-no-bias-correction": (Adam.no_bias_correction, "p ← p·(1 − lr·wd);  p ← p − lr·m/(√v + eps)"),
    "adamw-eps-inside-root": (
        Adam.eps_inside,
        "p ← p·(1 − lr·wd);  p ← p − lr/(1−β1^t) · m/√(v/(1−β2^t) + eps)",
    ),
    "adamw-decay-after": (
        Adam.decay_after,
        "p ← p − lr/(1−β1^t) · m/(√v/√(1−β2^t) + eps);  p ← p·(1 − lr·wd)",
    ),
    "adamw-decay-without-lr": (
        Adam.decay_without_lr,
        "p ← p·(1 − wd);  p ← p − lr/(1−β1^t) · m/(√v/√(1−β2^t) + eps)",
    ),
}
TORCH: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"betas": (S.beta1, S.beta2), "eps": S.eps}),
    "adam": (torch.optim.Adam, {"betas": (S.beta1, S.beta2), "eps": S.eps}),
    "nadam": (torch.optim.NAdam, {"betas": (S.beta1, S.beta2), "eps": S.eps}),
    "sgd": (torch.optim.SGD, {"momentum": S.momentum, "dampening": S.dampening}),
}


def run() -> tuple[np.ndarray, list[np.ndarray]]:
    source = np.random.default_rng(0)
    return source.normal(size=(6, 5)), [
        source.normal(size=(6, 5)) * 10.0 ** source.uniform(-3, 0) for _ in range(STEPS)
    ]


def by_formula(name: str) -> np.ndarray:
    p, gradients = run()
    state = Adam(p)
    for t, g in enumerate(gradients, start=1):
        FORMULAS[name][0](state, g, t)
    return state.p


def by_numpy(rule: StepRule) -> np.ndarray:
    p, gradients = run()
    ops = Float64Arithmetic()
    slots = begun(rule, ops, p, S)
    for t, g in enumerate(gradients, start=1):
        rule.move(ops, p, rule.accumulate(ops, p, g, slots, S, t), slots, S, t)
    return p


def by_torch(rule: StepRule) -> np.ndarray:
    p, gradients = run()
    weight, state = torch.from_numpy(p), {}
    for g in gradients:
        torch_step(rule, weight, torch.from_numpy(g), state, S)
    return p


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.fixture(autouse=True)
def mu_product_in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_rule_has_its_formula_here() -> None:
    assert FORMULAS.keys() == RULES.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_the_formula_is_the_docstrings(name: str) -> None:
    lines = [line.strip() for line in (type(RULES[name]).__doc__ or "").splitlines()]
    for line in FORMULAS[name][1].splitlines():
        assert line in lines


@pytest.mark.parametrize("name", FORMULAS)
def test_both_backends_do_what_the_formula_says(name: str) -> None:
    expected = by_formula(name)
    assert distance(by_numpy(RULES[name]), expected) < CLOSE
    assert distance(by_torch(RULES[name]), expected) < CLOSE


@pytest.mark.parametrize("name", TORCH)
def test_torch_does_what_the_formula_says(name: str) -> None:
    p, gradients = run()
    weight = torch.nn.Parameter(torch.from_numpy(p))
    cls, options = TORCH[name]
    optimizer = cls([weight], lr=S.lr, weight_decay=S.weight_decay, foreach=False, **options)  # type: ignore[call-arg]
    for g in gradients:
        weight.grad = torch.from_numpy(g)
        optimizer.step()
    assert distance(p, by_formula(name)) < CLOSE


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("adamw", "sgd")])
def test_other_rules_are_far_from_adamw(name: str) -> None:
    """At the settings above: at least 1e-5 of the largest weight (decay after) in 30 steps."""
    assert distance(by_torch(RULES[name]), by_torch(RULES["adamw"])) > 3e-6


@pytest.mark.parametrize("name", ["adamw", "adam", "nadam", "course-adamw"])
@pytest.mark.parametrize("changed", [{"amsgrad": True}, {"maximize": True}, {"decoupled": True}, {"weight_decay": 0.0}])
def test_options_do_the_same_in_both_backends(name: str, changed: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules[__name__], "S", Settings(**{**_fields(S), **changed}))
    assert distance(by_numpy(RULES[name]), by_torch(RULES[name])) < CLOSE


@pytest.mark.parametrize("changed", [{"nesterov": True}, {"momentum": 0.0}, {"maximize": True}])
def test_options_of_sgd_do_the_same_in_both_backends(changed: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules[__name__], "S", Settings(**{**_fields(S), **changed}))
    assert distance(by_numpy(RULES["sgd"]), by_torch(RULES["sgd"])) < CLOSE


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in Settings.__dataclass_fields__}


@pytest.mark.parametrize("name", RULES)
def test_a_0d_weight_moves_like_a_vector_of_one(name: str) -> None:
    """numpy gives plain numbers for 0-d results; changing one in place changes nothing."""
    ops, rule = Float64Arithmetic(), RULES[name]
    weights = np.array(0.7), np.array([0.7])
    for p in weights:
        slots = begun(rule, ops, p, S)
        for t in (1, 2, 3):
            rule.move(ops, p, rule.accumulate(ops, p, np.full_like(p, 0.3), slots, S, t), slots, S, t)
    assert weights[0] == weights[1][0] != 0.7


def test_overflow_and_division_by_zero_are_silent_as_in_torch() -> None:
    ops = Float64Arithmetic()
    x, zero = np.array([1.0, 0.0, 1e308]), np.zeros(3)
    ops.addcdiv_(x, np.array([1.0, 0.0, 1.0]), zero, 1.0)
    assert np.isinf(x[0])
    assert np.isnan(x[1])
    ops.scale_(x, 1e10)
    assert np.isnan(ops.sqrt(np.array([-1.0]))[0])


@pytest.mark.parametrize("name", RULES)
def test_move_needs_only_what_accumulate_left(name: str) -> None:
    """A proof calls `move` alone: it must leave the slots and the gradient as they are."""
    ops, rule = Float64Arithmetic(), RULES[name]
    p, (g, *_) = run()
    slots = begun(rule, ops, p, S)
    effective = rule.accumulate(ops, p, g, slots, S, 1)
    before = {slot: array.copy() for slot, array in slots.items()} | {"g": effective.copy()}
    rule.move(ops, p, effective, slots, S, 1)
    for slot, array in {**slots, "g": effective}.items():
        assert np.array_equal(array, before[slot])


def test_listing_the_rules_loads_neither_torch_nor_numpy() -> None:
    code = "import sys; import optinspect.optimizers.rules.choice; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
