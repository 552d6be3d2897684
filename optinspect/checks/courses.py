"""Schedulers beside the optimizers they belong to, and whether their learning rates agree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from math import cos, floor, isclose, isfinite, pi
from typing import Any

from optinspect.checkpoint import Companion, OptimizerState
from optinspect.checks.facts import Facts
from optinspect.explain_lr import FORMS
from optinspect.layouts.base import Problems
from optinspect.layouts.values import scalar
from optinspect.plain import plain
from optinspect.tensors import TensorRef

RESTARTING = "CosineAnnealingWarmRestarts"
"""Keeps its place in T_cur; it never counts in _step_count (torch 2.13)."""


def _polynomial(s: Mapping[str, Any], base: float, e: int) -> float:
    return float(base * (1 - min(e, s["total_iters"]) / s["total_iters"]) ** s["power"])


def _constant(s: Mapping[str, Any], base: float, e: int) -> float:
    return float(base * s["factor"] if e < s["total_iters"] else base)


def _restarting(s: Mapping[str, Any], base: float, _: int) -> float:
    return float(s["eta_min"] + (base - s["eta_min"]) * (1 + cos(pi * s["T_cur"] / s["T_i"])) / 2)


BEGINNING = 1e-4
"""Relative: as far as torch's recurrences are ever from their closed forms, and more."""
COURSES: Mapping[str, Callable[[Mapping[str, Any], float, int], float]] = {
    **FORMS,
    "PolynomialLR": _polynomial,
    "ConstantLR": _constant,
    RESTARTING: _restarting,
}
"""Class → lr from the state, base_lr and last_epoch: the closed forms of torch's documentation."""


def astray(companion: Companion, epoch: int) -> str | None:
    """How the parts of a scheduler contradict its last_epoch; None where they agree, or where it has none."""
    state = state_of(companion)
    try:
        if companion.name == RESTARTING:
            place, due = floor(state["T_cur"]), _place(epoch, state["T_0"], state["T_mult"])
            return None if place == due else f"last_epoch is {epoch}, but T_cur is {state['T_cur']:g} ({due} expected)"
        if companion.name == "SequentialLR":
            return _astray_inside(state, epoch)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        pass
    return None


def _place(epoch: int, length: int, factor: int) -> int:
    """Steps since the last restart."""
    if factor == 1:
        return epoch % length
    start = 0
    while epoch - start >= length > 0 and factor > 1:
        start, length = start + length, length * factor
    return epoch - start


def _astray_inside(state: Mapping[str, Any], epoch: int) -> str | None:
    milestones = list(state["_milestones"])
    active = bisect_right(milestones, epoch)
    due = epoch - (milestones[active - 1] if active else 0)
    place = state["_schedulers"][active]["last_epoch"]
    if abs(place - due) <= 1:
        return None
    return f"last_epoch is {epoch}, but the scheduler inside that is due is at {place} ({due} expected)"


def moved(optimizer: OptimizerState, companion: Companion) -> bool:
    """Whether the optimizer's lr is none that the scheduler begins with."""
    form, state = COURSES.get(companion.name or ""), state_of(companion)
    held, base = lrs(optimizer), numbers(state.get("base_lrs"))
    if form is None or held is None or base is None or len(held) != len(base):
        return False
    try:
        return any(not same(a, form(state, b, 0), BEGINNING) for a, b in zip(held, base, strict=True))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False


def wrong_number(value: Any) -> str | None:
    """What in a list is no learning rate; None where all are, or where it is neither list nor text."""
    if isinstance(value, str) or (isinstance(value, list | tuple) and not value):
        return "a text" if value else "no numbers"
    for one in map(_read, value) if isinstance(value, list | tuple) else ():
        if isinstance(one, bool) or one is None or isinstance(one, str):
            return f"{one!r}"[:40]
        if isinstance(one, int | float) and not (isfinite(one) and one >= 0):
            return f"{one:g}"
    return None


DIVISORS: Mapping[str, tuple[str, ...]] = {
    "CosineAnnealingLR": ("T_max",),
    "StepLR": ("step_size",),
    "CyclicLR": ("total_size",),
    RESTARTING: ("T_i",),
}
"""Lengths that the next step divides by. The other schedulers of torch take a length of 0 (measured on 2.13)."""


def no_length(companion: Companion) -> Iterator[tuple[str, str]]:
    """Key and value of a length that is 0, or of a text or None in its place."""
    state = state_of(companion)
    for key in DIVISORS.get(companion.name or "", ()):
        if key in state and (state[key] is None or isinstance(state[key], str) or not _read(state[key])):
            yield key, f"{state[key]!r} (a number that is not 0 expected)"[:60]


def wrong_place(companion: Companion) -> Iterator[tuple[str, str]]:
    """`last_epoch` and what it is, where the next step cannot add 1 to it, or it lies before the first step."""
    state = state_of(companion)
    epoch = state.get("last_epoch", 0)
    if isinstance(epoch, int | float):
        if not epoch >= -1:
            yield "last_epoch", f"{epoch:g}"
    elif isinstance(epoch, str | list | tuple | dict) or (epoch is None and companion.name is not None):
        yield "last_epoch", f"{plain(epoch, nodes=8)!r}"[:40] + " (a number expected)"


def state_of(companion: Companion) -> Mapping[Any, Any]:
    return companion.value if isinstance(companion.value, Mapping) else {}


def last_epoch(companion: Companion) -> int | None:
    value = state_of(companion).get("last_epoch")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def numbers(value: Any) -> list[float] | None:
    """A list of finite numbers; None for anything else."""
    if not isinstance(value, list | tuple) or not value:
        return None
    read = [_read(x) for x in value]
    plain = [x for x in read if isinstance(x, int | float) and not isinstance(x, bool) and isfinite(x)]
    return [float(x) for x in plain] if len(plain) == len(value) else None


def _read(value: Any) -> Any:
    """A tensor of one element as its number: schedulers of an optimizer whose lr is a tensor keep copies of it."""
    return scalar(value, Problems(), "") if isinstance(value, TensorRef) and value.numel == 1 else value


def lrs(optimizer: OptimizerState) -> list[float] | None:
    """Of each group; None where one is no finite number."""
    return numbers([group.number_of("lr") for group in optimizer.groups])


def pairs(facts: Facts) -> Iterator[tuple[int, OptimizerState, Companion]]:
    """Each scheduler with its optimizer: the only one, or the one at the same place among as many."""
    optimizers, schedulers = facts.checkpoint.optimizers, facts.checkpoint.schedulers
    if len(optimizers) == 1:
        yield from ((0, optimizers[0], each) for each in schedulers)
    elif len(optimizers) == len(schedulers):
        yield from ((n, one, each) for n, (one, each) in enumerate(zip(optimizers, schedulers, strict=True)))


def same(a: float, b: float, tolerance: float) -> bool:
    return isclose(a, b, rel_tol=tolerance, abs_tol=1e-30)


def unlike(optimizer: OptimizerState, companion: Companion, tolerance: float) -> tuple[int, float, float] | None:
    """The first group whose lr is not the scheduler's last: group, lr, _last_lr."""
    held, told = lrs(optimizer), numbers(state_of(companion).get("_last_lr"))
    if held is None or told is None or len(held) != len(told):
        return None
    return next(((n, a, b) for n, (a, b) in enumerate(zip(held, told, strict=True)) if not same(a, b, tolerance)), None)


def disagreeing(facts: Facts) -> bool:
    """Whether no scheduler of some optimizer gave it the lr that it has."""
    return any(True for _ in disagreements(facts))


def disagreements(facts: Facts) -> Iterator[tuple[int, OptimizerState, Companion, tuple[int, float, float]]]:
    """Of several schedulers on one optimizer, one that agrees is enough."""
    by_optimizer: dict[int, list[tuple[OptimizerState, Companion]]] = {}
    for number, optimizer, companion in pairs(facts):
        if numbers(state_of(companion).get("_last_lr")) is not None:
            by_optimizer.setdefault(number, []).append((optimizer, companion))
    tolerance = facts.terms.thresholds.lr_tolerance
    for number, held in by_optimizer.items():
        wrong = [unlike(optimizer, companion, tolerance) for optimizer, companion in held]
        if all(wrong) and wrong[0] is not None:
            yield number, *held[0], wrong[0]
