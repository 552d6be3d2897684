"""One table as lines of text: which columns fit a width, how wide each is, where names wrap.

Written out here because a table may have 100,000 rows, and because Rich's own shortens cells, where this report leaves
out whole columns and says so (docs/decisions/0008-own-table-layout.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len, chop_cells

from optinspect.render.base import Glyphs, Screen
from optinspect.render.branches import branches, continued
from optinspect.render.quantities import FORMATTERS, LEFT, WRAPS
from optinspect.report import Column, Table, Unit

GAP = "  "
NAME_FLOOR = 44
"""A name column keeps this width (where it needs it) before other columns are given up."""
TEXT_FLOOR = 32
GLANCE_FLOOR = 16
FOLDED = 4
"""From this many rows on, what is the same in all of them is said once, above the table."""
WORDS = re.compile(r"\S*\s+|\S+")
"""Where text is broken: behind its blanks."""
NAME_PARTS = re.compile(r"[^._/]*[._/]+|[^._/]+")
"""Where a word too long for its line is broken: behind the separators of a name."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A column with its cells as text. `floor` is the least width it is usable at, `natural` the widest cell."""

    column: Column
    cells: list[str]
    natural: int
    floor: int
    lines: Sequence[str] = ()
    """Of a tree's column: the branches before each cell, which are part of it."""

    @property
    def left(self) -> bool:
        return self.column.unit in LEFT


@dataclass(frozen=True, slots=True)
class Laid:
    """A table on its way to the screen: its lines, header first.

    hidden  columns that did not fit
    common  (title, cell) of the columns that say the same in every row, and are not among the lines
    """

    lines: list[str]
    hidden: list[Column]
    common: list[tuple[str, str]]


def lay(table: Table, screen: Screen) -> Laid:
    """Columns without a single value are left out; see Laid for what else may be."""
    tree = any(column.unit is Unit.TREE for column in table.columns)
    absent = "" if tree else screen.glyphs.dash  # most rows of a tree lack most columns
    drawn = [_draw(column, table.rows, screen.glyphs, absent) for column in table.columns if not column.machine]
    drawn = [each for each in drawn if any(cell != absent for cell in each.cells)]
    folded = [each for each in drawn if _is_common(each)]
    kept, hidden = _fit([each for each in drawn if each not in folded], screen.width)
    widths = _widths(kept, screen.width)
    header = [_pad(each.column.title, width, each.left) for each, width in zip(kept, widths, strict=True)]
    rule = screen.style(GAP.join(screen.glyphs.rule * width for width in widths), "2")
    return Laid(
        [screen.style(GAP.join(header).rstrip(), "1"), rule, *_rows(kept, widths, screen.glyphs)],
        [each.column for each in hidden],
        [(each.column.title, each.cells[0]) for each in folded],
    )


def _is_common(drawn: Drawn) -> bool:
    """The same in every row, and not what rows are told apart by."""
    cells = drawn.cells
    return drawn.column.rank > 1 and len(cells) >= FOLDED and all(cell == cells[0] for cell in cells)


def _draw(column: Column, rows: Sequence[Mapping[str, Any]], glyphs: Glyphs, absent: str) -> Drawn:
    form, key = FORMATTERS[column.unit], column.key
    values = [row[key] for row in rows]
    cells = [absent if value is None else form(value, glyphs) for value in values]
    lines = branches(rows, glyphs) if column.unit is Unit.TREE else []
    if lines:
        cells = [line + cell for line, cell in zip(lines, cells, strict=True)]
    natural = max(len(column.title), max(map(_cells, cells), default=0))
    if column.unit is Unit.GLANCE:
        return Drawn(column, cells, natural, min(natural, max(GLANCE_FLOOR, len(column.title))))
    if column.unit not in WRAPS:
        return Drawn(column, cells, natural, natural)
    limit = NAME_FLOOR if column.unit in (Unit.NAME, Unit.TREE) else TEXT_FLOOR
    return Drawn(column, cells, natural, min(natural, max(limit, len(column.title))), lines)


def _fit(drawn: list[Drawn], width: int | None) -> tuple[list[Drawn], list[Drawn]]:
    """Leave out columns, highest rank first and rightmost first among equals, until the floors fit.

    Of rank 0 only what does not fit even where names have given way, and never the first.
    """
    kept, hidden = list(drawn), list[Drawn]()
    if width is None:
        return kept, hidden
    while _total([each.floor for each in kept]) > width:
        candidates = [each for each in kept if each.column.rank > 0]
        if not candidates and _total([_least(each) for each in kept]) > width:
            candidates = kept[1:]
        if not candidates:
            break
        last = max(candidates, key=lambda each: (each.column.rank, kept.index(each)))
        kept.remove(last)
        hidden.insert(0, last)
    return kept, [each for each in drawn if each in hidden]


def _least(drawn: Drawn) -> int:
    """What a column can give way down to: a name to its title, a number not at all."""
    least = max(len(drawn.column.title), 8) if drawn.column.unit in WRAPS else drawn.floor
    return min(least, drawn.floor)


def _widths(kept: list[Drawn], width: int | None) -> list[int]:
    """Floors first; what is left over goes to the columns that want more, the first ones first.

    Where not even the floors fit, names give way down to their titles; numbers never do.
    """
    if width is None:
        return [each.natural for each in kept]
    widths = [each.floor for each in kept]
    spare = width - _total(widths)
    for position, each in enumerate(kept):
        wanted = (each.natural if spare > 0 else _least(each)) - widths[position]
        more = min(spare, wanted) if spare > 0 else max(spare, wanted)
        widths[position] += more
        spare -= more
    return widths


def _rows(kept: list[Drawn], widths: list[int], glyphs: Glyphs) -> Iterator[str]:
    columns: list[list[str]] = []
    wrapped = False
    for each, width in zip(kept, widths, strict=True):
        if each.natural <= width or each.column.unit is Unit.GLANCE:
            columns.append([_pad(_cut(cell, width), width, each.left) for cell in each.cells])
        else:
            wrapped = True
            columns.append(each.cells)
    if not wrapped:
        return (GAP.join(cells).rstrip() for cells in zip(*columns, strict=True))
    rows = enumerate(zip(*columns, strict=True))
    return (line for number, cells in rows for line in _wrapped_row(number, cells, kept, widths, glyphs))


def _wrapped_row(
    number: int, cells: Sequence[str], kept: list[Drawn], widths: list[int], glyphs: Glyphs
) -> Iterator[str]:
    """A row in as many lines as its longest cell takes; a tree's branches go on through all of them."""
    before = [each.lines[number] if each.lines else "" for each in kept]
    parts = [
        wrap(cell[len(lines) :], max(width - len(lines), 8)) if lines else wrap(cell, width)
        for cell, width, lines in zip(cells, widths, before, strict=True)
    ]
    height = max(map(len, parts))
    behind = [_behind(lines, part, height, glyphs) for part, lines in zip(parts, before, strict=True)]
    for line in zip_longest(*behind, fillvalue=""):
        yield GAP.join(
            _pad(cell, width, each.left) for cell, width, each in zip(line, widths, kept, strict=True)
        ).rstrip()


def _behind(lines: str, part: list[str], height: int, glyphs: Glyphs) -> list[str]:
    """A cell's lines behind the branches, if there are any, of a row that takes `height` lines."""
    if not lines:
        return part
    texts = part + [""] * (height - len(part))
    return [(continued(lines, glyphs) if number else lines) + text for number, text in enumerate(texts)]


def wrap(text: str, width: int, indent: str = "  ") -> list[str]:
    """`text` in lines of at most `width` cells; nothing is lost but blanks at the ends of lines."""
    if _cells(text) <= width:
        return [text]
    lines, current = list[str](), ""
    for piece in (part for word in WORDS.findall(text) for part in _parts(word, width - len(indent))):
        if current.strip() and _cells(current + piece.rstrip()) > width:
            lines.append(current)
            current = indent
        current += piece
    return [line.rstrip() for line in (*lines, current) if line.strip()]


def _parts(word: str, width: int) -> list[str]:
    """A word that has no line of its own breaks behind separators, a part without any where it must."""
    if _cells(word.rstrip()) <= width:
        return [word]
    return [part for piece in NAME_PARTS.findall(word) for part in _chopped(piece, width)]


def _chopped(chunk: str, width: int) -> list[str]:
    return [chunk] if _cells(chunk) <= width else chop_cells(chunk, max(width, 1))


def _cut(text: str, width: int) -> str:
    """What fits, the rest told by dots."""
    return text if _cells(text) <= width else chop_cells(text, max(width - 1, 1))[0] + "…"


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - _cells(text))
    return text + space if left else space + text


def _total(widths: list[int]) -> int:
    return sum(widths) + len(GAP) * max(0, len(widths) - 1)
