"""A column of names as a tree: the lines that lead to each name, drawn from how deep the rows lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optinspect.render.base import Glyphs

DEPTH = "depth"
"""The key of a row that tells how deep it lies; None in a row that fills a gap."""


def branches(rows: Sequence[Mapping[str, Any]], glyphs: Glyphs) -> list[str]:
    """What stands before each row's name."""
    entry, last, passing = glyphs.branches
    blank = " " * len(passing)
    found: list[str] = []
    below: set[int] = set()
    """Depths at which another entry follows, before any shallower one."""
    for row in reversed(rows):
        depth = row[DEPTH]
        level = max(below, default=0) + 1 if depth is None else depth
        lines = "".join(passing if each in below else blank for each in range(1, level))
        if depth:
            lines += entry if depth in below else last
        if depth is not None:
            below = {each for each in below if each < depth} | ({depth} if depth else set())
        found.append(lines)
    return found[::-1]


def continued(lines: str, glyphs: Glyphs) -> str:
    """The same branches one line further down, where no entry begins."""
    entry, last, passing = glyphs.branches
    if lines.endswith(entry):
        return lines[: -len(entry)] + passing
    return lines[: -len(last)] + " " * len(last) if lines.endswith(last) else lines
