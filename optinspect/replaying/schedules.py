"""The learning rates of the next steps, as the checkpoint's own scheduler would set them.

Each rule is a recurrence: the lr after a step from the one before, as torch.optim.lr_scheduler computes it, so that
the values agree to the last bit with a run that went on. e counts scheduler steps, 1 for the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.errors import Undecidable
from optinspect.optimizers.rules.settings import finite

State = Mapping[str, Any]
Rule = Callable[[State, int, float, float], float]
"""(the scheduler's state, e after the step, lr before, base lr) → lr after."""


def _step(state: State, e: int, lr: float, _base: float) -> float:
    """StepLR: lr·γ every step_size steps."""
    return lr * state["gamma"] if e % state["step_size"] == 0 else lr


def _multi_step(state: State, e: int, lr: float, _base: float) -> float:
    """MultiStepLR: lr·γ^n where e stands n times among the milestones."""
    times = dict(state["milestones"]).get(e, 0)
    return lr * float(state["gamma"]) ** times if times else lr


def _exponential(state: State, _e: int, lr: float, _base: float) -> float:
    """ExponentialLR: lr·γ."""
    return lr * float(state["gamma"])


def _cosine(state: State, e: int, lr: float, base: float) -> float:
    """CosineAnnealingLR: the ratio of 1 + cos(πe/T) to its value before; from the valley, where that is 0, upwards."""
    period, low = state["T_max"], state["eta_min"]
    if (e - 1 - period) % (2 * period) == 0:
        return float(lr + (base - low) * (1 - cos(pi / period)) / 2)
    return float((1 + cos(pi * e / period)) / (1 + cos(pi * (e - 1) / period)) * (lr - low) + low)


def _linear(state: State, e: int, lr: float, _base: float) -> float:
    """LinearLR: from start_factor to end_factor over total_iters steps, then constant."""
    first, last, count = state["start_factor"], state["end_factor"], state["total_iters"]
    if e > count:
        return lr
    return float(lr * (1.0 + (last - first) / (count * first + (e - 1) * (last - first))))


@dataclass(frozen=True)
class Schedule:
    """A class of torch.optim.lr_scheduler: its rule, and the numbers that its state must hold."""

    name: str
    rule: Rule
    numbers: tuple[str, ...]


SCHEDULES: tuple[Schedule, ...] = (
    Schedule("StepLR", _step, ("step_size", "gamma")),
    Schedule("MultiStepLR", _multi_step, ("gamma",)),
    Schedule("ExponentialLR", _exponential, ("gamma",)),
    Schedule("CosineAnnealingLR", _cosine, ("T_max", "eta_min")),
    Schedule("LinearLR", _linear, ("start_factor", "end_factor", "total_iters")),
)

_REASONS: Mapping[str, str] = {
    "LambdaLR": "its function is not in the file",
    "MultiplicativeLR": "its function is not in the file",
    "ReduceLROnPlateau": "it waits for losses that are not in the file",
    "OneCycleLR": "it moves the betas too",
    "CyclicLR": "it moves the momentum too",
    "SequentialLR": "it is made of several",
    "ChainedScheduler": "it is made of several",
}


def continued(checkpoint: Checkpoint, lrs: tuple[float, ...], done: int, steps: int) -> list[tuple[float, ...]]:
    """The lr of each group in each of the next `steps` steps; the first are `lrs`, which the groups hold now.

    done  updates so far, to see that the scheduler counts updates and not epochs
    Raises Undecidable where there is no scheduler, several, one of another class, or one whose state is not whole.
    """
    name, state = _the_scheduler(checkpoint)
    schedule = next((each for each in SCHEDULES if each.name == name), None)
    if schedule is None:
        known = ", ".join(each.name for each in SCHEDULES)
        why = f"{name} cannot be continued: {_REASONS.get(name, 'no rule for it')} (expected {known})"
        raise Undecidable(f"scheduler: {why}", hint="without --scheduler the lr stays as it is")
    epoch, bases = _checked(schedule, state, lrs, done)
    rows = [lrs]
    for e in range(epoch + 1, epoch + steps):
        try:
            rows.append(tuple(schedule.rule(state, e, lr, base) for lr, base in zip(rows[-1], bases, strict=True)))
        except (ArithmeticError, TypeError, ValueError) as problem:
            raise Undecidable(f"scheduler: {name} gives no lr after {e} steps: {problem}") from problem
    return rows


def _the_scheduler(checkpoint: Checkpoint) -> tuple[str, State]:
    found = checkpoint.schedulers
    if len(found) != 1:
        what = f"{len(found)} schedulers in this file" if found else "no scheduler in this file"
        raise Undecidable(f"{what} (expected one)", hint="without --scheduler the lr stays as it is")
    state = found[0].value
    return found[0].name or "a scheduler of an unknown class", state if isinstance(state, Mapping) else {}


def _checked(schedule: Schedule, state: State, lrs: tuple[float, ...], done: int) -> tuple[int, list[float]]:
    """last_epoch and the base lrs, after a look at everything that the rule needs."""
    for key in schedule.numbers:
        if finite(state.get(key)) is None:
            raise Undecidable(f"scheduler: {schedule.name} without a finite {key}")
    for key in ("step_size", "T_max"):
        if key in schedule.numbers and not state[key] > 0:
            raise Undecidable(f"scheduler: {schedule.name} with {key} {state[key]} (expected > 0)")
    if schedule.name == "MultiStepLR" and not isinstance(state.get("milestones"), Mapping):
        raise Undecidable("scheduler: MultiStepLR without milestones")
    epoch, bases = state.get("last_epoch"), [finite(lr) for lr in state.get("base_lrs") or ()]
    if not isinstance(epoch, int) or epoch < 0 or len(bases) != len(lrs) or None in bases:
        raise Undecidable(f"scheduler: its last_epoch and base_lrs do not fit {len(lrs)} parameter groups")
    if abs(epoch - done) > max(2, done // 20):
        raise Undecidable(
            f"scheduler: it has counted {epoch} where the optimizer has made {done} steps: not a schedule by steps",
            hint="without --scheduler the lr stays as it is",
        )
    return epoch, [base for base in bases if base is not None]
