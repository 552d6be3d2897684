"""Another order than the model's that people write by hand: whole modules listed earlier or later (the head first).

Such an order is one or a few exchanges of neighbouring runs, A B → B A, cut between modules. Where it accounts for
every known shape, one that differs from module order is no sign of a fault: nothing may be said to be misplaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from optinspect.naming.question import Shape

MOVES = 3
"""Runs moved that are still an order somebody wrote; with more, nearly every list could be had from every other."""

STEPS = 200_000
"""Comparisons before giving up: 0.1 s in CPython 3.11. A list of 1,000 takes some thousands, measured."""


@dataclass(frozen=True)
class Moved:
    """order: for each member the position in the module order it was taken from; runs: how often runs were moved.

    settled  False where the search gave up: another order can then not be ruled out, and `order` is the module order
    """

    order: Sequence[int]
    runs: int
    settled: bool = True


def moved(
    shapes: Sequence[Shape | None], due: Sequence[Shape], parents: Sequence[str], limit: int = MOVES
) -> Moved | None:
    """The order with the fewest runs moved under which all known shapes agree; None where `limit` runs do not do.

    shapes   of the members, in their order; None where a member has no state
    due      the shapes in module order, as many; parents: the module that each of these belongs to
    """
    search = _Search(shapes, due, cuts(parents))
    for runs in range(1, limit + 1):
        order = search.from_place(0, list(range(len(due))), runs)
        if order is not None:
            return Moved(order, runs)
    return None if search.steps > 0 else Moved(range(len(due)), 0, settled=False)


def cuts(parents: Sequence[str]) -> frozenset[int]:
    """Where a list may be cut: between two modules, and between the own parameters of one that has submodules.

    Weight and bias of a layer are not cut apart: nobody lists them so, and their states exchanged are a fault. Nor is
    the inside of a numbered block: its order is that of its class, the same in every block.
    """
    paths = [parent.split(".") if parent else [] for parent in parents]
    inner = {tuple(path[:depth]) for path in paths for depth in range(len(path))}
    between = (
        n
        for n in range(1, len(paths))
        if (paths[n - 1] != paths[n] or tuple(paths[n]) in inner) and not _numbered(paths[n - 1], paths[n])
    )
    return frozenset((0, *between, len(parents)))


def _numbered(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether both lie in the same numbered module."""
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    return any(part.isdigit() for part, _ in shared)


@dataclass
class _Search:
    shapes: Sequence[Shape | None]
    due: Sequence[Shape]
    cuts: frozenset[int]
    steps: int = STEPS
    places: dict[Shape, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, shape in enumerate(self.due):
            self.places.setdefault(shape, []).append(place)

    def from_place(self, start: int, order: list[int], runs: int) -> list[int] | None:
        """The order with at most `runs` runs moved from `start` on, as far as something differs there."""
        first = next((n for n in range(start, len(order)) if not self._agrees(n, n)), None)
        if first is None:
            return order
        if not runs:
            return None
        begins = [first] if first in self.cuts else []
        begins += [n for n in range(first - 1, start - 1, -1) if n in self.cuts]
        for begin in begins:
            for middle, end in self._turns(begin, first):
                if {middle, end} <= self.cuts and begin < middle < end and self._turned(begin, middle, end):
                    turned = [*order[:begin], *order[middle:end], *order[begin:middle], *order[end:]]
                    found = self.from_place(end, turned, runs - 1)
                    if found is not None:
                        return found
        return None

    def _turns(self, begin: int, first: int) -> Iterator[tuple[int, int]]:
        """(middle, end) of the neighbouring runs from `begin` on whose exchange puts `first` right."""
        shape = self.shapes[first]
        for place in self.places.get(shape, ()) if shape is not None else ():
            middle = begin + place - first  # `first` lies in the run that comes forward
            if place > first and middle in self.cuts:
                for end in range(place + 1, middle + self._run(begin, middle) + 1):
                    yield middle, end
            elif begin <= place < first:  # or in the one that goes back
                for middle in range(place + 1, len(self.due) + place - first + 1):
                    yield middle, middle + first - place

    def _turned(self, begin: int, middle: int, end: int) -> bool:
        return self._fits(begin + end - middle, begin, middle) and self._fits(begin, middle, end)

    def _run(self, at: int, place: int) -> int:
        """How many members from `at` on agree with as many from `place` on."""
        longest = len(self.due) - place
        return next((n for n in range(longest) if not self._agrees(at + n, place + n)), longest)

    def _fits(self, at: int, begin: int, end: int) -> bool:
        return all(self._agrees(at + n, begin + n) for n in range(end - begin))

    def _agrees(self, at: int, place: int) -> bool:
        self.steps -= 1
        if self.steps < 0:
            return False
        shape = self.shapes[at]
        return shape is None or shape == self.due[place]
