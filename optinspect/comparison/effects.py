"""What a changed hyperparameter does, in words. A key that EFFECTS does not have is shown without words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True, slots=True)
class Changed:
    """A hyperparameter's two values, the settings around each, and how many parameters it applies to."""

    old: Any
    new: Any
    settings_a: Mapping[str, Any]
    settings_b: Mapping[str, Any]
    parameters: int

    @property
    def numbers(self) -> tuple[float, float] | None:
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (self.old, self.new)):
            return None
        old, new = float(self.old), float(self.new)
        return (old, new) if isfinite(old) and isfinite(new) else None

    @property
    def many(self) -> str:
        return f"{self.parameters:,} parameter{'s' * (self.parameters != 1)}"


Words = Callable[[Changed], str | None]


def _switched(subject: str) -> Words:
    """For numbers that are off at 0: off, on, or how many times as strong."""

    def words(changed: Changed) -> str | None:
        if changed.numbers is None:
            return None
        old, new = changed.numbers
        if new == 0:
            return f"{subject} off for {changed.many}"
        if old == 0:
            return f"{subject} on for {changed.many}"
        return f"{subject} {_times(new / old)}"

    return words


def _lr(changed: Changed) -> str | None:
    if changed.numbers is None:
        return None
    old, new = changed.numbers
    if new == 0:
        return f"no updates any more for {changed.many}"
    if old == 0:
        return f"updates begin for {changed.many}"
    decays = any(_number(each.get("weight_decay")) for each in (changed.settings_a, changed.settings_b))
    return f"step size {_times(new / old)}" + (" (and lr·weight_decay with it)" if decays else "")


def _betas(changed: Changed) -> str | None:
    """1/(1 − β) steps carry most of the weight of an exponential average."""
    old, new = changed.old, changed.new
    if not (isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new)):
        return None
    names = ("momentum", "second moments")
    told = []
    for position, (one, two) in enumerate(zip(old, new, strict=True)):
        if one != two and position < len(names):
            told.append(f"β{position + 1} {one:g} → {two:g}: {_memory(names[position], one, two)}")
    return "; ".join(told) or None


def _memory(what: str, old: Any, new: Any) -> str:
    if not all(isinstance(x, int | float) and 0 <= x < 1 for x in (old, new)):
        return f"{what} averaged otherwise"
    return f"{what} averaged over about {1 / (1 - new):,.4g} steps instead of {1 / (1 - old):,.4g}"


def _momentum(changed: Changed) -> str | None:
    if changed.numbers is None:
        return None
    old, new = changed.numbers
    if new == 0 or old == 0:
        return f"momentum {'off' if new == 0 else 'on'} for {changed.many}"
    return _memory("momentum", old, new)


def _eps(changed: Changed) -> str | None:
    if changed.numbers is None:
        return None
    return (
        "smaller steps where √v is small"
        if changed.numbers[1] > changed.numbers[0]
        else "larger steps where √v is small"
    )


def _flag(on: str, off: str) -> Words:
    def words(changed: Changed) -> str | None:
        if not isinstance(changed.old or False, bool) or not isinstance(changed.new or False, bool):
            return None
        if bool(changed.old) == bool(changed.new):
            return None
        return on if changed.new else off

    return words


def _implementation(_: Changed) -> str:
    return "the same formula by another implementation: results may differ by rounding"


def _initial(_: Changed) -> str:
    return "schedulers count from this learning rate"


EFFECTS: Mapping[str, Words] = {
    "lr": _lr,
    "initial_lr": _initial,
    "weight_decay": _switched("decay"),
    "betas": _betas,
    "eps": _eps,
    "momentum": _momentum,
    "dampening": _switched("dampening"),
    "lr_decay": _switched("decay of the learning rate"),
    "momentum_decay": _switched("growth of the momentum"),
    "amsgrad": _flag("steps divide by the largest second moment so far", "steps divide by the current second moment"),
    "maximize": _flag(
        "the objective is now maximized: every step turns round",
        "the objective is now minimized: every step turns round",
    ),
    "nesterov": _flag("looks one step ahead (Nesterov)", "plain momentum"),
    "centered": _flag("variance in place of the second moment", "second moment in place of the variance"),
    "decoupled_weight_decay": _flag("decay decoupled from the gradient (AdamW)", "decay added to the gradient (L2)"),
    "foreach": _implementation,
    "fused": _implementation,
    "capturable": _implementation,
    "differentiable": _implementation,
}


def effect(
    key: str, old: Any, new: Any, settings_a: Mapping[str, Any], settings_b: Mapping[str, Any], parameters: int
) -> str | None:
    """What the change of `key` does; None where nothing is known of it."""
    words = EFFECTS.get(key)
    return words(Changed(old, new, settings_a, settings_b, parameters)) if words else None


def _times(ratio: float) -> str:
    if ratio < 0:
        return "of the other sign"
    return f"× {ratio:.4g}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
