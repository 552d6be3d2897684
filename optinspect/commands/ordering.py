"""The order that rows are sorted by, and that texts are compared by."""

from __future__ import annotations

import re
from math import isnan
from typing import Any

from optinspect.report import Runs, Span

DIGITS = re.compile(r"(\d+)")
LONGEST = 1000
"""Digits that are counted as a number; more are text."""


def absent(value: Any) -> bool:
    """A cell that has no place in an order."""
    return value is None or (isinstance(value, float) and isnan(value))


def _counted(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdecimal() and len(part) <= LONGEST else (1, 0, part)


def rank(value: Any) -> tuple[Any, ...]:
    """A sort key for any plain value: numbers, then texts with their numbers counted ("h.2" before "h.10")."""
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        parts = DIGITS.split(value)
        return (1, *map(_counted, parts))
    if isinstance(value, Span | Runs):
        return rank(value.low if isinstance(value, Span) else value.pairs[0][0])
    if isinstance(value, list | tuple):
        return (2, *map(rank, value))
    return (3, str(value))
