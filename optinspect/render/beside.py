"""Two tables beside each other, row by row, where the screen is wide enough; else each as it would be alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from rich.cells import cell_len

from optinspect.render.base import Screen
from optinspect.render.branches import DEPTH
from optinspect.render.layout import lay
from optinspect.report import Column, Table

BETWEEN = " │ "
SPARED = (9, 4, 3, 2, 1)
"""What is tried: columns of all ranks up to this one."""


def beside(left: Table, right: Table, screen: Screen) -> list[str] | None:
    """The lines of both, titles first; None where they do not fit."""
    for rank in SPARED:
        lines = _joined(_only(left, right.beside or (), rank), _only(right, right.beside or (), rank), screen)
        if screen.width is None or max(map(_cells, lines)) <= screen.width:
            return [_styled(line, number, screen) for number, line in enumerate(lines)]
    return None


def _only(table: Table, redundant: Sequence[str], rank: int) -> Table:
    columns = tuple(_spare(each, redundant, rank) for each in table.columns)
    return replace(table, columns=columns)


def _spare(column: Column, redundant: Sequence[str], rank: int) -> Column:
    return replace(column, machine=True) if column.key in redundant or column.rank > rank else column


def _joined(left: Table, right: Table, screen: Screen) -> list[str]:
    unbounded = Screen(None, False, screen.encoding)
    one, other = ([table.title, *lay(table, unbounded).lines] for table in (left, right))
    width = max(map(_cells, one))
    return [f"{a}{' ' * (width - _cells(a))}{BETWEEN}{b}".rstrip() for a, b in zip_longest(one, other, fillvalue="")]


def _styled(line: str, number: int, screen: Screen) -> str:
    """Titles, the names of the columns, and the rule below them, as a table alone has them."""
    return screen.style(line, ("1", "1", "2")[number]) if number < 3 else line


def without_gaps(table: Table) -> Table:
    """The table alone: without the rows that only keep it level with the other."""
    if not any(column.key == DEPTH for column in table.columns):
        return table
    return replace(table, rows=[row for row in table.rows if row[DEPTH] is not None])


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
