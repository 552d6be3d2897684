"""Lining up an optimizer and a model of which one lacks a few parameters, and everything else is in order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from optinspect.naming.conventions import ALL, SPLITS, Split
from optinspect.naming.fits import TOLERATED, Fit, groups_of
from optinspect.naming.question import Pool, Question, Shape


def gapped_fit(question: Question, pool: Pool) -> Fit | None:
    """The split under which beginnings and ends of the groups agree best, if all but a few members are in them."""
    groups = groups_of(question)
    known = sum(question.demand.values())
    best: Fit | None = None
    for split in (ALL,) if len(groups) == 1 else SPLITS:
        positions = _lined_up(question, pool, split)
        missing = tuple(index for index, place in enumerate(positions) if place is None)
        if len(missing) <= TOLERATED * known and (best is None or len(missing) < len(best.wrong)):
            rule = "one group" if split is ALL else split.title
            where = "with a gap" if missing else "the first or last ones left out"
            best = Fit(positions, f"{rule}, module order, {where}", missing)
    return best


def _lined_up(question: Question, pool: Pool, split: Split) -> list[int | None]:
    positions: list[int | None] = [None] * len(question.shapes)
    classes: dict[Hashable, list[int]] = {}
    for place, traits in enumerate(pool.traits):
        classes.setdefault(split.label(traits), []).append(place)
    if len(classes) != len(question.groups):
        return positions
    left = list(classes.values())
    for indices in question.groups:
        shapes = [question.shapes[index] for index in indices]
        lines = [(line_up(shapes, places, pool.shapes), places) for places in left]
        line, used = max(lines, key=lambda item: sum(place is not None for place in item[0]))
        left.remove(used)
        for index, at in zip(indices, line, strict=True):
            positions[index] = at
    return positions


def line_up(shapes: Sequence[Shape | None], places: Sequence[int], supply: Sequence[Shape]) -> list[int | None]:
    """Members matched from both ends as far as the shapes agree; what could be either side of the gap is left out."""

    def agrees(index: int, at: int) -> bool:
        return shapes[index] is None or shapes[index] == supply[places[at]]

    longest = min(len(shapes), len(places))
    head = next((n for n in range(longest) if not agrees(n, n)), longest)
    tail = next((n for n in range(longest) if not agrees(-1 - n, -1 - n)), longest)
    overlap = max(0, head + tail - longest)
    line: list[int | None] = [None] * len(shapes)
    if len(shapes) == len(places):
        overlap = 0
    for n in range(head - overlap):
        line[n] = places[n]
    for n in range(1, tail - overlap + 1):
        line[-n] = places[-n]
    return line
