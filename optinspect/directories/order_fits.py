"""Whether a module order can be the one that an optimizer was filled in, by the shapes that its state shows.

Groups keep module order, whatever was put into which: so the shapes of each are found in the model's one after the
other. Where they are not, another order may be meant: that of another version, or one whose top modules stand in
another order (a head that is created before the encoder).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations

Shape = tuple[int, ...]
Stepped = Sequence[Sequence[Shape | None]]
"""The shapes of every group's parameters, of all optimizers; None where the state shows none."""

MAX_TOPS = 4
"""So many top modules at most are put in every order."""

MAX_WORK = 20_000_000
"""Groups times tensors beyond which no order is questioned; 10 million take half a second."""


def kept(shapes: Sequence[Shape], stepped: Stepped) -> int:
    """How many groups find their shapes among `shapes` one after the other."""
    if len(stepped) * len(shapes) > MAX_WORK:
        return len(stepped)
    return sum(_within(group, shapes) for group in stepped)


def _within(group: Sequence[Shape | None], shapes: Sequence[Shape]) -> bool:
    left = iter(shapes)
    return all(any(wanted is None or wanted == shape for shape in left) for wanted in group)


def rearranged(names: Sequence[str], order: Sequence[int]) -> Iterator[list[int]]:
    """`order` with the top modules of the names in every other order: [places of names]. None where they are many."""
    depth = _shared(names)
    tops = list(dict.fromkeys(_top(names[place], depth) for place in order))
    for chosen in permutations(tops) if len(tops) <= MAX_TOPS else ():
        if list(chosen) != tops:
            ranks = {top: rank for rank, top in enumerate(chosen)}
            yield sorted(order, key=lambda place: ranks[_top(names[place], depth)])


def _shared(names: Iterable[str]) -> int:
    """How many parts all names begin with."""
    paths = [name.split(".") for name in names]
    depth = 0
    while paths and all(len(path) > depth + 1 and path[depth] == paths[0][depth] for path in paths):
        depth += 1
    return depth


def _top(name: str, depth: int) -> str:
    return name.split(".")[depth]
