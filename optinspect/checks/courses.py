"""Schedulers beside the optimizers they belong to, and whether their learning rates agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose, isfinite
from typing import Any

from optinspect.checkpoint import Companion, OptimizerState
from optinspect.checks.facts import Facts

SAME = 1e-6
"""Relative: a learning rate kept in a float32 tensor is off by 6e-8, one by 1e-9 where torch recomputes it."""


def state_of(companion: Companion) -> Mapping[Any, Any]:
    return companion.value if isinstance(companion.value, Mapping) else {}


def last_epoch(companion: Companion) -> int | None:
    value = state_of(companion).get("last_epoch")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def numbers(value: Any) -> list[float] | None:
    """A list of finite numbers; None for anything else."""
    if not isinstance(value, list | tuple) or not value:
        return None
    plain = [x for x in value if isinstance(x, int | float) and not isinstance(x, bool) and isfinite(x)]
    return [float(x) for x in plain] if len(plain) == len(value) else None


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


def same(a: float, b: float, tolerance: float = SAME) -> bool:
    return isclose(a, b, rel_tol=tolerance, abs_tol=1e-30)


def unlike(optimizer: OptimizerState, companion: Companion) -> tuple[int, float, float] | None:
    """The first group whose lr is not the scheduler's last: group, lr, _last_lr."""
    held, told = lrs(optimizer), numbers(state_of(companion).get("_last_lr"))
    if held is None or told is None or len(held) != len(told):
        return None
    return next(((n, a, b) for n, (a, b) in enumerate(zip(held, told, strict=True)) if not same(a, b)), None)


def disagreeing(facts: Facts) -> bool:
    """Whether no scheduler of some optimizer gave it the lr that it has."""
    return any(True for _ in disagreements(facts))


def disagreements(facts: Facts) -> Iterator[tuple[int, OptimizerState, Companion, tuple[int, float, float]]]:
    """Of several schedulers on one optimizer, one that agrees is enough."""
    by_optimizer: dict[int, list[tuple[OptimizerState, Companion]]] = {}
    for number, optimizer, companion in pairs(facts):
        if numbers(state_of(companion).get("_last_lr")) is not None:
            by_optimizer.setdefault(number, []).append((optimizer, companion))
    for number, held in by_optimizer.items():
        wrong = [unlike(optimizer, companion) for optimizer, companion in held]
        if all(wrong) and wrong[0] is not None:
            yield number, *held[0], wrong[0]
