"""The tables of `show` before anything was read: a column that none of them has is refused at once.

So is one that another option keeps away: a condition that nothing can meet looks like an answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from optinspect.commands import show_statistics, show_tables
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError
from optinspect.report import Table

MEASURED = ("effective_step", "update_ratio")
"""Columns of the parameters that are empty without statistics."""


def check(selection: Selection, *, statistics: bool, dead: bool) -> None:
    """Raise UsageError for a column that no table will have, with the option that brings it or keeps it away."""
    there = _keys(outline(statistics=statistics, dead=dead)) - (set() if statistics else set(MEASURED))
    for option, key in _named(selection):
        if key not in there and not statistics and key in {*MEASURED, *_keys(outline(statistics=True, dead=False))}:
            raise UsageError(
                f"{option} {key}: needs statistics, which --no-stats leaves out", hint="leave out --no-stats"
            )
        if key not in there and not dead and key in _keys(outline(statistics=False, dead=True)):
            raise UsageError(f"{option} {key}: a column of the table dead", hint="add --dead")
    selection.apply(outline(statistics=statistics, dead=dead))


def _named(selection: Selection) -> Iterator[tuple[str, str]]:
    """Options with the columns that they name."""
    yield from (("--where", condition.column) for condition in selection.where)
    if selection.sort is not None:
        yield "--sort", selection.sort.partition(":")[0]
    yield from (("--columns", key) for key in selection.columns)


def _keys(tables: list[Table]) -> set[str]:
    return {column.key for table in tables for column in table.columns}


def outline(*, statistics: bool, dead: bool) -> list[Table]:
    """All tables, without rows."""
    columns = {
        "optimizers": show_tables.OPTIMIZERS,
        "groups": show_tables.GROUPS,
        "parameters": show_tables.PARAMETERS,
        "unoptimized": show_tables.UNOPTIMIZED,
    }
    if statistics:
        columns["statistics"] = show_statistics.COLUMNS
    if dead:
        from optinspect.commands import show_dead  # noqa: PLC0415  numpy comes with it

        columns["dead"] = show_dead.COLUMNS
    return [Table(key, key, each, []) for key, each in columns.items()]
