"""Whole numbers as ranges: {0, 2, 5, 6, 7} is [[0, 0], [2, 2], [5, 7]], written "0,2,5..7".

a          is written for one number
a,b        for each of these
a..b       for every number from a to b
a..b..s    for every s-th number from a to b
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

Pairs = list[list[int]]
"""First and last of every run of consecutive numbers, ascending."""

NUMBER = "(?:0|[1-9][0-9]{0,17})"
"""As str(int) writes it; longer ones are taken for text."""
RANGE = rf"{NUMBER}(?:\.\.{NUMBER}(?:\.\.{NUMBER})?)?"
LIST = rf"{RANGE}(?:,{RANGE})*"

STRIDED = 4
"""So many numbers a constant distance apart are written as one range."""
MEMBERS = 4
"""So many names that differ in their last number are the members of a list."""
_MEMBER = re.compile(rf"(.+)\.({NUMBER})", re.ASCII | re.DOTALL)


def pairs(numbers: Iterable[int]) -> Pairs:
    """The runs of consecutive numbers; duplicates count once."""
    found: Pairs = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def count(runs: Iterable[Sequence[int]]) -> int:
    """How many numbers the runs hold."""
    return sum(last - first + 1 for first, last in runs)


def written(runs: Sequence[Sequence[int]]) -> str:
    """The numbers as text, all of them."""
    return ",".join(pieces(runs))


def pieces(runs: Sequence[Sequence[int]]) -> list[str]:
    """What `written` joins by commas."""
    found: list[str] = []
    at = 0
    while at < len(runs):
        alike = _strided(runs, at)
        if alike >= STRIDED:
            first, step = runs[at][0], runs[at + 1][0] - runs[at][0]
            found.append(f"{first}..{first + step * (alike - 1)}..{step}")
            at += alike
        else:
            found.append(_run(*runs[at]))
            at += 1
    return found


def _strided(runs: Sequence[Sequence[int]], at: int) -> int:
    """How many single numbers from `at` on lie a constant distance apart."""
    end = at
    while end < len(runs) and runs[end][0] == runs[end][1]:
        if end >= at + 2 and runs[end][0] - runs[end - 1][0] != runs[at + 1][0] - runs[at][0]:
            break
        end += 1
    return end - at


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}..{last}"


def spans(text: str) -> list[range]:
    """`written` read back, a range a piece. `text` has the form LIST; a step of 0 is one of 1."""
    return [_span(*map(int, piece[0].split(".."))) for piece in re.finditer(RANGE, text)]


def _span(first: int, last: int | None = None, step: int = 1) -> range:
    return range(first, (first if last is None else last) + 1, max(step, 1))


def lists(names: Iterable[Any]) -> dict[str, list[int]]:
    """The lists among names, at least MEMBERS long: "al.0", …, "al.9" are {"al": [0, …, 9]}."""
    found: dict[str, list[int]] = {}
    for name in names:
        match = _MEMBER.fullmatch(name) if isinstance(name, str) else None
        if match is not None:
            found.setdefault(match[1], []).append(int(match[2]))
    return {stem: numbers for stem, numbers in found.items() if len(numbers) >= MEMBERS}


def list_of(name: str) -> str | None:
    """The list that a name may be a member of: "al" of "al.3"."""
    match = _MEMBER.fullmatch(name)
    return match[1] if match is not None else None


def listed(items: Sequence[Any]) -> list[Any]:
    """The items, a list among them told by one: "al.{0..9}" in the place of its first member."""
    found = lists(items)
    told: dict[Any, Any] = {}
    for place, item in enumerate(items):
        stem = list_of(item) if found and isinstance(item, str) else None
        told.setdefault(*((stem, f"{stem}.{{{written(pairs(found[stem]))}}}") if stem in found else (place, item)))
    return list(told.values())
