"""Which rows of a report a user wants, and in which order: --group, --filter, --sort, --limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isnan
from typing import Any

from optinspect.errors import UsageError
from optinspect.report import Table

DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for; the default takes everything in the file's order.

    group    number of a parameter group, in every optimizer that has it
    filters  globs on names; one that begins with "!" leaves out what it matches
    sort     "column", "column:asc" or "column:desc"
    limit    rows a table
    """

    group: int | None = None
    filters: tuple[str, ...] = ()
    sort: str | None = None
    limit: int | None = None

    @property
    def narrows(self) -> bool:
        return self.group is not None or bool(self.filters)

    def takes_group(self, group: int) -> bool:
        return self.group is None or self.group == group

    def takes_name(self, names: Iterable[str | None]) -> bool:
        """Whether something with these names (a name and its aliases) is wanted."""
        if not self.filters:
            return True
        known = [name for name in names if name is not None]
        wanted = [glob for glob in self.filters if not glob.startswith("!")]
        refused = [glob[1:] for glob in self.filters if glob.startswith("!")]
        if any(fnmatchcase(name, glob) for glob in refused for name in known):
            return False
        return not wanted or any(fnmatchcase(name, glob) for glob in wanted for name in known)

    def apply(self, tables: Sequence[Table]) -> tuple[Table, ...]:
        """Sort and limit. Raises UsageError when no table has the column."""
        if self.sort is not None:
            tables = _sorted(tables, self.sort)
        if self.limit is None:
            return tuple(tables)
        return tuple(
            replace(table, rows=table.rows[: self.limit], total=table.total or len(table.rows)) for table in tables
        )


def _sorted(tables: Sequence[Table], order: str) -> list[Table]:
    column, colon, direction = order.rpartition(":")
    if not colon:
        column, direction = order, "asc"
    if direction not in ("asc", "desc"):
        raise UsageError(f"--sort {order}: expected COLUMN, COLUMN:asc or COLUMN:desc")
    having = [table for table in tables if any(each.key == column for each in table.columns)]
    if not having:
        keys = dict.fromkeys(each.key for table in tables for each in table.columns)
        raise UsageError(f"--sort {column}: no such column", hint=f"columns: {', '.join(keys)}")
    return [_in_order(table, column, direction == "desc") if table in having else table for table in tables]


def _in_order(table: Table, column: str, descending: bool) -> Table:
    """Rows without a value come last, whatever the direction; equal ones keep their order."""
    valued = [row for row in table.rows if not _absent(row[column])]
    absent = [row for row in table.rows if _absent(row[column])]
    return replace(table, rows=[*sorted(valued, key=lambda row: rank(row[column]), reverse=descending), *absent])


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def rank(value: Any) -> tuple[Any, ...]:
    """A sort key for any plain value: numbers, then texts with their numbers counted ("h.2" before "h.10")."""
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        parts = DIGITS.split(value)
        return (1, *((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts))
    if isinstance(value, list | tuple):
        return (2, *map(rank, value))
    return (3, str(value))
