"""Names that differ in their numbers, told by one: "h.0.ln.weight", …, "h.11.ln.weight" are "h.{0..11}.ln.weight".

Only whole parts of a name fold ("h.0", not "conv1"): what ModuleList and Sequential count is repeated, while fc1 and
fc2 are two things. The folding is exact: every name is told once, and nothing else is. In a folded name a brace of the
name itself is doubled, as in a format string.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from optinspect import ranges
from optinspect.errors import UsageError

NUMBERS = re.compile(rf"(?<![^./])({ranges.NUMBER})(?![^./])", re.ASCII)
GROUP = re.compile(rf"(?<![^./])\{{({ranges.LIST})\}}(?![^./])", re.ASCII)
LONGEST = 160
"""Characters of a folded name: numbers without any order are told by several names rather than by an endless one."""
MOST_PLACES = 8
"""Names that hold more numbers, or are longer than LONGEST, are no module's: they are told one by one."""

Template = tuple[str, ...] | None
"""The text around the numbers of a name; None for what has no name."""

Box = tuple[tuple[int, ...], ...]
"""A set of numbers for every place; it stands for all their combinations."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A folded name (None for what has none) and the positions, in the sequence given, of what it stands for."""

    name: str | None
    members: tuple[int, ...]


def fold(names: Sequence[str | None], alike: Sequence[Hashable]) -> list[Fold]:
    """Fold the names among which `alike` is the same, in the order of their first members.

    What has no name is folded together. A name that occurs twice is told twice.
    """
    families: dict[tuple[Template, Hashable, int], dict[tuple[int, ...], int]] = {}
    seen: Counter[Hashable] = Counter()
    for position, (name, key) in enumerate(zip(names, alike, strict=True)):
        template, numbers = _parsed(name, position)
        families.setdefault((template, key, seen[template, numbers, key]), {})[numbers] = position
        seen[template, numbers, key] += 1
    found = [each for (template, *_), members in families.items() for each in _folded(template, members)]
    return sorted(found, key=lambda each: each.members[0])


def _parsed(name: str | None, position: int) -> tuple[Template, tuple[int, ...]]:
    """The text around the numbers, and the numbers."""
    if name is None:
        return None, (position,)
    parts = NUMBERS.split(name) if len(name) <= LONGEST else [name]
    if len(parts) // 2 > MOST_PLACES:
        return (name,), ()
    return tuple(parts[::2]), tuple(map(int, parts[1::2]))


def _folded(template: Template, members: dict[tuple[int, ...], int]) -> Iterator[Fold]:
    if template is None:
        yield Fold(None, tuple(sorted(members.values())))
        return
    for box in boxes(list(members)):
        for part in _bearable(template, box):
            yield Fold(_written(template, part), tuple(sorted(members[each] for each in _points(part))))


def boxes(points: Sequence[tuple[int, ...]]) -> list[Box]:
    """Disjoint boxes whose points together are exactly `points` (all of one length).

    From the last place to the first, boxes that differ in that place alone become one.
    """
    found: list[Box] = [tuple((number,) for number in point) for point in points]
    for place in reversed(range(len(points[0]) if points else 0)):
        merged: dict[Box, list[int]] = {}
        for box in found:
            merged.setdefault((*box[:place], *box[place + 1 :]), []).extend(box[place])
        found = [(*rest[:place], tuple(sorted(numbers)), *rest[place:]) for rest, numbers in merged.items()]
    return found


def _points(box: Box) -> Iterator[tuple[int, ...]]:
    if not box:
        yield ()
        return
    for first in box[0]:
        for rest in _points(box[1:]):
            yield (first, *rest)


def _bearable(template: tuple[str, ...], box: Box) -> Iterator[Box]:
    """The box, cut at its longest list of numbers until its name is of a bearable length."""
    texts = [ranges.written(ranges.pairs(numbers)) for numbers in box]
    longest = max(range(len(box)), key=lambda place: len(texts[place]), default=0)
    room = max(LONGEST - sum(map(len, template)), LONGEST // 4)
    if not box or sum(map(len, texts)) <= room or len(box[longest]) == 1:
        yield box
        return
    numbers = box[longest]
    for part in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
        yield from _bearable(template, (*box[:longest], part, *box[longest + 1 :]))


def _written(template: tuple[str, ...], box: Box) -> str:
    pieces = [_doubled(template[0])]
    for numbers, text in zip(box, template[1:], strict=True):
        told = ranges.written(ranges.pairs(numbers))
        pieces += [told if len(numbers) == 1 else f"{{{told}}}", _doubled(text)]
    return "".join(pieces)


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@lru_cache
def matcher(glob: str) -> Callable[[str], bool]:
    """Whether a name is like `glob`, in which a list of numbers may stand as in a folded name. Raises UsageError."""
    parts = GROUP.split(glob)
    if len(parts) == 1:
        return lambda name: fnmatchcase(name, glob)
    try:
        pieces = (_NUMBERED if place % 2 else _regex(part) for place, part in enumerate(parts))
        pattern = re.compile("".join(pieces), re.DOTALL)
    except re.error:
        raise UsageError(f"{glob:.100}: not a glob (expected as in h.{{0..3}}.attn*)") from None
    lists = [ranges.spans(part) for part in parts[1::2]]

    def matches(name: str) -> bool:
        found = pattern.fullmatch(name)
        return found is not None and all(
            any(int(number) in span for span in spans) for number, spans in zip(found.groups(), lists, strict=True)
        )

    return matches


_NUMBERED = f"({ranges.NUMBER})"
_TOKENS = re.compile(r"(\{\{|\}\}|\*+|\?|\[!?\]?[^\]]*\])")


def _regex(part: str) -> str:
    """A glob as a regular expression without groups; a doubled brace is one."""
    return "".join(_token(each) for each in _TOKENS.split(part))


def _token(text: str) -> str:
    if text.startswith("*"):
        return ".*"
    if text in ("?", "{{", "}}"):
        return "." if text == "?" else re.escape(text[0])
    if len(text) > 2 and text[0] == "[" and text[-1] == "]":
        refused = text[1] == "!"
        inside = text[1 + refused : -1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
        return f"[{'^' * refused}{inside}]"
    return re.escape(text)
