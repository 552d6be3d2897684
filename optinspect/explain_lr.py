"""The lr of the last step. torch's schedulers set the next one's before a checkpoint is written, so the stored lr is
often not the one that was used; where the scheduler's state is in the file and a formula gives the stored lr from it,
the same formula gives the one before.

Sources of the formulas: the closed forms in the documentation of torch.optim.lr_scheduler. e counts scheduler steps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, isclose, pi
from typing import Any

from optinspect.checkpoint import Companion, ParamGroup
from optinspect.optimizers.rules.settings import finite

State = Mapping[str, Any]
SAME = 1e-6
"""Relative. torch's own recurrences leave their closed forms by 1e-12 after thousands of steps; a schedule that was
restarted or an lr set by hand leaves them by much more."""


def _step_lr(s: State, base: float, e: int) -> float:
    return float(base * s["gamma"] ** (e // s["step_size"]))


def _multi_step_lr(s: State, base: float, e: int) -> float:
    milestones = sorted(one for one, times in dict(s["milestones"]).items() for _ in range(times))
    return float(base * s["gamma"] ** bisect_right(milestones, e))


def _exponential_lr(s: State, base: float, e: int) -> float:
    return float(base * s["gamma"] ** e)


def _cosine_lr(s: State, base: float, e: int) -> float:
    return float(s["eta_min"] + (base - s["eta_min"]) * (1 + cos(pi * e / s["T_max"])) / 2)


def _linear_lr(s: State, base: float, e: int) -> float:
    done = min(e, s["total_iters"]) / s["total_iters"]
    return float(base * (s["start_factor"] + (s["end_factor"] - s["start_factor"]) * done))


FORMS: Mapping[str, Callable[[State, float, int], float]] = {
    "StepLR": _step_lr,
    "MultiStepLR": _multi_step_lr,
    "ExponentialLR": _exponential_lr,
    "CosineAnnealingLR": _cosine_lr,
    "LinearLR": _linear_lr,
}


@dataclass(frozen=True, slots=True)
class LastLr:
    """The lr taken for the last step. origin: "group" (as stored) or "scheduler"; note: what was assumed."""

    value: float
    origin: str
    note: str


def last_lr(group: ParamGroup, schedulers: tuple[Companion, ...], step: float) -> LastLr | None:
    """The lr of the step that ended at `step` updates; None where the group has none that is a number."""
    stored = group.number_of("lr")
    if stored is None:
        return None
    if not schedulers:
        return LastLr(
            stored,
            "group",
            f"lr {stored:g} is the one in the file; if it was changed after the step, Δθ scales with it",
        )
    names = " and ".join(one.name or "a scheduler" for one in schedulers)
    before = _before(group.number, stored, schedulers[0], step) if len(schedulers) == 1 else None
    if before is not None:
        told = f"lr {before:.7g} of the last step follows from {names}; the {stored:.7g} in the file is the next step's"
        return LastLr(before, "scheduler", told)
    told = (
        f"lr {stored:.7g} is the one in the file, assumed for the last step; {names} may have set it for the next one"
    )
    return LastLr(stored, "group", told)


def _before(group: int, stored: float, scheduler: Companion, step: float) -> float | None:
    """None where the scheduler's class, its count or its own lr do not show that it has moved on by one step."""
    form, state = FORMS.get(scheduler.name or ""), scheduler.value
    if form is None or not isinstance(state, Mapping) or state.get("last_epoch") != step:
        return None
    try:
        base = finite(state["base_lrs"][group])
        if base is None or not isclose(form(state, base, int(step)), stored, rel_tol=SAME, abs_tol=1e-30):
            return None
        return finite(form(state, base, int(step) - 1))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
