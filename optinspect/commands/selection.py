"""What of a report a user wants, and in which order: --group, --filter, --where, --sort, --limit, --columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from optinspect.errors import UsageError
from optinspect.report import Line, Table

if TYPE_CHECKING:  # what a run does not choose by is not loaded: reading conditions takes longer than a small file
    from optinspect.commands.conditions import Condition


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for; the default takes everything in the file's order.

    group    number of a parameter group, in every optimizer that has it
    filters  globs on names; one that begins with "!" leaves out what it matches
    sort     "column", "column:asc" or "column:desc"
    limit    rows a table
    where    conditions on cells: all must hold, in every table that has their columns
    columns  keys: only these columns, and only the tables that have them all
    table    the one table that is wanted, where one is
    """

    group: int | None = None
    filters: tuple[str, ...] = ()
    sort: str | None = None
    limit: int | None = None
    where: tuple[Condition, ...] = ()
    columns: tuple[str, ...] = ()
    table: str | None = None

    @property
    def narrows(self) -> bool:
        return self.group is not None or bool(self.filters)

    @property
    def names_columns(self) -> bool:
        """Whether there is something that may not exist."""
        return bool(self.sort or self.where or self.columns)

    def takes_group(self, group: int) -> bool:
        return self.group is None or self.group == group

    def takes_name(self, names: Iterable[str | None]) -> bool:
        """Whether something with these names (a name and its aliases) is wanted."""
        if not self.filters:
            return True
        known = [name for name in names if name is not None]
        wanted = [glob for glob in self.filters if not glob.startswith("!")]
        refused = [glob[1:] for glob in self.filters if glob.startswith("!")]
        if any(_like(name, glob) for glob in refused for name in known):
            return False
        return not wanted or any(_like(name, glob) for glob in wanted for name in known)

    def apply(self, tables: Sequence[Table], fold: Callable[[Table], Table] | None = None) -> tuple[Table, ...]:
        """Narrow, fold, sort, limit, choose columns. Raises UsageError when no table has what was named."""
        if self.where:
            from optinspect.commands.narrowing import narrowed  # noqa: PLC0415

            tables = narrowed(tables, self.where)
        if fold is not None:
            tables = [fold(table) for table in tables]
        if self.sort is not None:
            tables = _sorted(tables, self.sort)
        if self.limit is not None:
            tables = [_limited(table, self.limit) for table in tables]
        if self.columns:
            from optinspect.commands import columns  # noqa: PLC0415

            tables = columns.chosen(tables, self.columns, self.table)
        return tuple(tables)

    def remarks(self, tables: Iterable[Table]) -> tuple[Line, ...]:
        """What people must be told of the choice, beside what the tables say."""
        if not self.where:
            return ()
        from optinspect.commands.narrowing import remarks  # noqa: PLC0415

        return remarks(tables, self.where)


def _like(name: str, glob: str) -> bool:
    """As a glob; in one with braces, a list of numbers may stand as in a folded name."""
    if "{" not in glob:
        return fnmatchcase(name, glob)
    from optinspect.commands.folded_names import matcher  # noqa: PLC0415

    return matcher(glob)(name)


def _limited(table: Table, limit: int) -> Table:
    count = len(table.rows)
    return replace(table, rows=table.rows[:limit], total=table.total or count, limited=count > limit)


def _sorted(tables: Sequence[Table], order: str) -> list[Table]:
    from optinspect.commands import columns  # noqa: PLC0415

    column, colon, direction = order.rpartition(":")
    if not colon:
        column, direction = order, "asc"
    if direction not in ("asc", "desc"):
        raise UsageError(f"--sort {order}: expected COLUMN, COLUMN:asc or COLUMN:desc")
    having = [table for table, _ in columns.having(tables, column)]
    if not having:
        raise columns.unknown("--sort", column, tables)
    return [_in_order(table, column, direction == "desc") if table in having else table for table in tables]


def _in_order(table: Table, column: str, descending: bool) -> Table:
    """Rows without a value come last, whatever the direction; equal ones keep their order."""
    from optinspect.commands.ordering import absent, rank  # noqa: PLC0415

    valued = [row for row in table.rows if not absent(row[column])]
    without = [row for row in table.rows if absent(row[column])]
    return replace(table, rows=[*sorted(valued, key=lambda row: rank(row[column]), reverse=descending), *without])
