"""The hyperparameters of a parameter group as numbers that a rule can use, or one line saying why they are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from optinspect.errors import Undecidable


@dataclass(frozen=True, slots=True)
class Settings:
    """The hyperparameters a rule may use. Defaults are torch.optim's for keys that older versions do not write."""

    lr: float
    """A Python float; a 0-d tensor in a live optimizer that has one (torch then computes in the tensor's dtype)."""
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.0
    dampening: float = 0.0
    momentum_decay: float = 4e-3
    nesterov: bool = False
    amsgrad: bool = False
    maximize: bool = False
    decoupled: bool = False
    """NAdam: decay the weight instead of adding L2 to the gradient."""


def settings_of(hyperparameters: Mapping[str, Any], *, group: int, required: tuple[str, ...]) -> Settings:
    """Settings of a param_group: Python numbers, bools and a pair of betas.

    Raises Undecidable naming the group and the first key that is missing, no finite number, or out of the range
    in which the formulas mean something (0 ≤ β < 1, momentum_decay ≥ 0).
    """
    read = _Reader(hyperparameters, group)
    for key in required:
        if hyperparameters.get(key) is None:
            found = "is None" if key in hyperparameters else "is missing"
            raise Undecidable(f"group {group}: {key} {found} (this rule needs {', '.join(required)})")
    beta1, beta2 = read.betas()
    return Settings(
        lr=read.number("lr"),
        weight_decay=read.number("weight_decay", 0.0),
        beta1=beta1,
        beta2=beta2,
        eps=read.number("eps", 1e-8),
        momentum=read.number("momentum", 0.0),
        dampening=read.number("dampening", 0.0),
        momentum_decay=read.number("momentum_decay", 4e-3, low=0.0),
        nesterov=read.flag("nesterov"),
        amsgrad=read.flag("amsgrad"),
        maximize=read.flag("maximize"),
        decoupled=read.flag("decoupled_weight_decay"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """One group's values, checked as they are read."""

    values: Mapping[str, Any]
    group: int

    def number(self, key: str, default: float | None = None, *, low: float | None = None) -> float:
        value = finite(self.values.get(key, default))
        if value is None or (low is not None and value < low):
            expected = "a finite number" if low is None else f"a finite number ≥ {low:g}"
            raise self._wrong(key, self.values.get(key, default), expected)
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if value is not None and not isinstance(value, int):
            raise self._wrong(key, value, "True or False")
        return bool(value)

    def betas(self) -> tuple[float, float]:
        stored = self.values.get("betas", (0.9, 0.999))
        found = [finite(beta) for beta in stored] if isinstance(stored, list | tuple) else []
        if len(found) != 2 or found[0] is None or found[1] is None:
            raise self._wrong("betas", stored, "two finite numbers")
        beta1, beta2 = found[0], found[1]
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise self._wrong("betas", stored, "each ≥ 0 and < 1")
        return beta1, beta2

    def _wrong(self, key: str, value: object, expected: str) -> Undecidable:
        return Undecidable(f"group {self.group}: {key} is {value!r:.80} (expected {expected})")


def finite(value: object) -> float | None:
    """A finite Python number as a float; None for anything else, bools and integers beyond float among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None
