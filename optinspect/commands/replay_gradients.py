"""`--check-gradients K`: backpropagation against differences of the loss, as a table and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from optinspect.errors import UsageError
from optinspect.replaying.numeric_gradients import TOLERANCE, Coordinate, check_gradients
from optinspect.replaying.training import Live
from optinspect.report import Column, Line, Severity, Table, Unit

COLUMNS = (
    Column("name", "name", Unit.NAME, 0),
    Column("position", "element", Unit.LIST, 0),
    Column("analytic", "by backpropagation", Unit.REAL, 0),
    Column("numeric", "by differences", Unit.REAL, 0),
    Column("relative_error", "relative error", Unit.REAL, 0),
)
WORST = 5
"""Rows: the worst of each parameter are enough to look at."""


def checked(live: Live, batch: Any, count: int, seed: int) -> tuple[Coordinate, ...]:
    """Worst first. Raises UsageError for no coordinates."""
    if count < 1:
        raise UsageError("--check-gradients 0: expected one coordinate a parameter at least")
    found = check_gradients(live, batch, count, seed)
    return tuple(sorted(found, key=lambda each: -_error(each)))


def _error(each: Coordinate) -> float:
    return each.relative_error if each.relative_error == each.relative_error else float("inf")


def table(found: Sequence[Coordinate]) -> Table:
    rows = [
        {
            "name": each.name,
            "position": list(each.position),
            "analytic": each.analytic,
            "numeric": each.numeric,
            "relative_error": each.relative_error,
        }
        for each in found
    ]
    return Table("gradients", "Gradients checked, the worst first", COLUMNS, rows[:WORST], total=len(rows))


def summary(found: Sequence[Coordinate]) -> dict[str, Any]:
    """Nothing where nothing was checked."""
    if not found:
        return {}
    return {
        "gradients_checked": len(found),
        "gradients_worst_error": found[0].relative_error,
        "gradients_tolerance": TOLERANCE,
    }


def status(found: Sequence[Coordinate]) -> int:
    return int(any(not _error(each) <= TOLERANCE for each in found))


def lines(found: Sequence[Coordinate]) -> Iterator[Line]:
    if found:
        told = f"{len(found)} coordinates in float64, the worst relative error {found[0].relative_error:.2e}"
        verdict = "gradients are wrong" if status(found) else "gradients are right"
        severity = Severity.ERROR if status(found) else None
        yield Line("gradients", f"{verdict}: {told} (tolerance {TOLERANCE:g})", severity)
