"""What else counts in the two files: counters, schedulers, the GradScaler. It explains steps that did not happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Checkpoint, OptimizerState
from optinspect.optimizers.rules.settings import finite

MICROBATCHES = 1.5
"""Counts a step from which a counter is taken to count micro-batches."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """advances: B − A of what both files count by steps (epochs left out); shrank: the GradScaler's scale fell."""

    advances: tuple[float, ...]
    counts_a: tuple[float, ...]
    shrank: bool
    scheduled: bool

    @property
    def advanced(self) -> bool:
        return any(change > 0 for change in self.advances)

    @property
    def went_back(self) -> bool:
        return any(change < 0 for change in self.advances) and not self.advanced

    @property
    def by_one(self) -> bool:
        return any(change == 1 for change in self.advances)

    def accumulating(self, optimizer: OptimizerState) -> bool:
        """A counter runs ahead of the optimizer's steps, by more than what it advanced: micro-batches were added up."""
        steps = max(optimizer.steps, default=0.0)
        ahead = [count / steps for count in self.counts_a if steps > 0]
        most = max(self.advances, default=0.0)
        return any(ratio >= MICROBATCHES and most < ratio for ratio in ahead)


def clocks_of(a: Checkpoint, b: Checkpoint) -> Clocks:
    ours, theirs = _counters(a), _counters(b)
    common = [route for route in ours if route in theirs]
    return Clocks(
        tuple(theirs[route] - ours[route] for route in common),
        tuple(ours[route] for route in common if not route.startswith("scheduler ")),
        _shrank(a, b),
        bool(a.schedulers or b.schedulers),
    )


def _counters(checkpoint: Checkpoint) -> dict[str, float]:
    found = {
        route: float(count)
        for route, count in checkpoint.counters.items()
        if "epoch" not in route.rpartition(".")[2].lower() and finite(count) is not None
    }
    for companion in checkpoint.schedulers:
        last = finite(companion.value.get("last_epoch")) if isinstance(companion.value, Mapping) else None
        if last is not None:
            found[f"scheduler {companion.route}"] = last
    return found


def _shrank(a: Checkpoint, b: Checkpoint) -> bool:
    before = {each.route: _scale(each.value) for each in a.scalers}
    after = {each.route: _scale(each.value) for each in b.scalers}
    return any(
        new is not None and old is not None and new < old
        for route, new in after.items()
        for old in (before.get(route),)
    )


def _scale(value: Any) -> float | None:
    return finite(value.get("scale")) if isinstance(value, Mapping) else None
