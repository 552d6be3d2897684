"""What a healthy checkpoint is, as the expectations of a policy that it passes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from glob import escape
from math import floor, isfinite

from optinspect.checkpoint import Companion, OptimizerState
from optinspect.checks.courses import numbers, pairs, state_of
from optinspect.checks.expectations import KEPT, dtype_name
from optinspect.checks.expected import ALL, Expected, Interval, Ranges
from optinspect.checks.facts import Facts
from optinspect.optimizers import OPTIMIZERS
from optinspect.policy.expectations import readable_dtype
from optinspect.policy.patterns import Row, described
from optinspect.subjects import Subject

SLOTS = 12
"""Slots that are told apart by their dtypes; of more, the dtypes are allowed to all."""

ROOM = 10
"""An lr that is set by hand (as in warm-ups without a scheduler), or is above its base already, may rise further:
nothing in the file says how far. A hundredfold one, which a wrong unit or a forgotten scaling gives, is still found."""
ROUNDED = 1e-6
"""Of an lr in a float32 tensor: 6e-8."""


def described_by(facts: Facts) -> tuple[Expected, ...]:
    """One Expected an optimizer, in the file's order; of optimizers under one route only what they share."""
    optimizers = facts.checkpoint.optimizers
    companions = tuple(kind for kind, there in KEPT if there(facts.checkpoint))
    if len({each.route for each in optimizers}) < len(optimizers):
        return (Expected(companions=companions),) if companions else ()
    several = len(optimizers) > 1
    return tuple(
        Expected(
            optimizer=optimizer.route if several else None,
            families=_families(optimizer),
            groups=len(optimizer.groups),
            lr=_lr(facts, number),
            weight_decay=_weight_decay(facts, number),
            min_step=_step(facts.steps[number]),
            moments=_moments(facts.of_optimizer[number]),
            companions=companions if number == 0 else (),
        )
        for number, optimizer in enumerate(optimizers)
    )


def _families(optimizer: OptimizerState) -> tuple[str, ...]:
    known = {each.name for each in OPTIMIZERS}
    return optimizer.families if known.issuperset(optimizer.families) else ()


def _step(step: float | None) -> float | None:
    return float(floor(step)) if step is not None and isfinite(step) and step >= 0 else None


def _lr(facts: Facts, number: int) -> Ranges:
    """From 0 to the largest that the schedule is to reach; where the file does not tell it, with ROOM above."""
    optimizer = facts.checkpoint.optimizers[number]
    held = [group.number_of("lr") for group in optimizer.groups]
    lrs = [lr for lr in held if lr is not None and isfinite(lr) and lr >= 0]
    if not lrs or len(lrs) != len(held):
        return ()
    end = _end([each for place, _, each in pairs(facts) if place == number], optimizer, lrs)
    return ((ALL, Interval(0.0, max(*lrs, end, 0.0))),) if end else ()


def _end(schedulers: Sequence[Companion], optimizer: OptimizerState, lrs: Sequence[float]) -> float:
    """The largest lr of the run: a stated one; the base of a schedule that has not left it upward; else a guess."""
    stated = [each for one in schedulers for each in _numbers(state_of(one).get("max_lrs"))]
    stated += _numbers([group.number_of("max_lr") for group in optimizer.groups])
    if stated:
        return max(stated)
    bases = [group.number_of("initial_lr") for group in optimizer.groups]
    if all(base is not None and lr <= base * (1 + ROUNDED) for lr, base in zip(lrs, bases, strict=True)):
        return max(_numbers(bases), default=0.0)
    if any(each.name == "ReduceLROnPlateau" for each in schedulers):
        return max(lrs)
    return min(float(f"{ROOM * max(lrs):.3g}"), sys.float_info.max)


def _numbers(values: object) -> list[float]:
    return [value for value in numbers(values) or () if value >= 0]


def _weight_decay(facts: Facts, number: int) -> Ranges:
    """One number of all groups, or a number a glob of names; nothing where names are missing or no globs tell them."""
    optimizer = facts.checkpoint.optimizers[number]
    held = [group.number_of("weight_decay") for group in optimizer.groups]
    values = {value for value in held if value is not None and isfinite(value) and value >= 0}
    if not values or any(value not in values for value in held):
        return ()
    if len(values) == 1:
        (value,) = values
        return ((ALL, Interval(value, value)),)
    rows = _rows(facts.of_optimizer[number])
    told = described(rows) if rows else None
    return tuple((glob, Interval(value, value)) for glob, value in told) if told and len(told) > 1 else ()


def _rows(subjects: Sequence[Subject]) -> list[Row]:
    """None of them where one has no name, or a name that is no text for a file."""
    rows = []
    for each in subjects:
        names, value = (each.named.name, *each.named.aliases), each.group.number_of("weight_decay")
        if value is None or each.named.name is None or not each.named.name.strip():
            return []
        rows.append(Row(tuple(name for name in names if name is not None), value))
    return rows


def _moments(subjects: Sequence[Subject]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    slots: dict[str, dict[str, None]] = {}
    for subject in subjects:
        for slot, tensor in subject.state.tensors:
            slots.setdefault(slot, {})[dtype_name(tensor)] = None
    every = tuple(dict.fromkeys(dtype for dtypes in slots.values() for dtype in dtypes))
    if not every or not all(map(readable_dtype, every)):
        return ()
    alike = len({frozenset(dtypes) for dtypes in slots.values()}) == 1
    if alike or len(slots) > SLOTS or not all(slot.strip() for slot in slots):
        return ((ALL, every),)
    return tuple((escape(slot), tuple(dtypes)) for slot, dtypes in slots.items())
