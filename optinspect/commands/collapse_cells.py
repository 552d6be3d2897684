"""One cell for several: what the cells of rows that are folded into one say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

from optinspect.ranges import pairs
from optinspect.report import Runs, Span

Merge = Callable[[Sequence[Any]], Any]
"""The cells of one column, at least two, as one; None is a cell without a value."""


def nothing(_: Sequence[Any]) -> None:
    """For columns that say nothing of several rows together."""
    return


def span(values: Sequence[Any]) -> Any:
    """The one value, or the least and the greatest; texts and lists are listed."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return listed(known)
    if not known or any(isnan(value) for value in known):  # NaN has no place among the others
        return listed(known)
    low, high = min(known), max(known)
    return low if low == high else Span(low, high)


def total(values: Sequence[Any]) -> Any:
    """The sum; None where one of them is not known."""
    return None if any(value is None for value in values) else sum(values)


def listed(values: Sequence[Any]) -> Any:
    """The one value, or all that occur, as text."""
    found = {repr(value): value for value in values if value is not None}
    if len(found) < 2:
        return next(iter(found.values()), None)
    return ", ".join(map(str, found.values()))


def joined(values: Sequence[Any]) -> list[Any] | None:
    """All items of the lists, each once."""
    return list(dict.fromkeys(item for value in values for item in value or ())) or None


def numbers(values: Sequence[Any]) -> Any:
    """The one number, or all as ranges."""
    known = {value for value in values if value is not None}
    return Runs(pairs(known)) if len(known) > 1 else next(iter(known), None)


def runs(values: Sequence[Any]) -> list[list[int]] | None:
    """Ranges of whole numbers, all together."""
    return pairs(number for value in values for first, last in value or () for number in range(first, last + 1)) or None


def settings(values: Sequence[Any]) -> dict[str, Any] | None:
    """Key by key."""
    mappings = [value for value in values if isinstance(value, Mapping)]
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return {key: span([mapping.get(key) for mapping in mappings]) for key in keys} or None
