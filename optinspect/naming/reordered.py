"""Names where the file's key order is not module order, or fits nothing: what the rebuilt order leaves certain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from optinspect.naming.arrangements import ascending
from optinspect.naming.conventions import BY_NAME, SORTINGS
from optinspect.naming.fits import Chosen, Fit, exact_fits, groups_of, selections
from optinspect.naming.lanes import lanes
from optinspect.naming.question import Pool, Question
from optinspect.naming.siblings import Budget, TooManyOrders, rebuild

ENOUGH_SHAPES = 0.5


@dataclass(frozen=True)
class Reordered:
    """The names that all rebuilt orders agree on; `solutions`: how many orders fit."""

    fit: Fit
    solutions: int


def reordered(question: Question, pool: Pool) -> Reordered | None:
    """What all module orders that fit agree on, over every choice of parameters and every split."""
    if sum(question.demand.values()) < ENOUGH_SHAPES * len(question.shapes):
        return None
    found: list[Reordered] = []
    budget = Budget()
    try:
        for choice in selections(question, pool):
            found += _reordered(question, pool, choice, budget)
    except TooManyOrders:
        return None
    if not found:
        return None
    by_name = [fit.positions for fit in exact_fits(question, pool, [s for s in SORTINGS if s.title == BY_NAME])]
    options = zip(*(one.fit.positions for one in found), *by_name, strict=True)
    agreed = [places[0] if len(set(places)) == 1 else None for places in options]
    return Reordered(replace(found[0].fit, positions=agreed), sum(one.solutions for one in found))


def _reordered(question: Question, pool: Pool, choice: Chosen, budget: Budget) -> Iterator[Reordered]:
    names = [pool.traits[place].name for place in choice.places]
    shapes = [pool.shapes[place] for place in choice.places]
    decided: set[str] = set()
    for laid in lanes(question, pool, choice.places):
        if laid.rule in decided and ascending(groups_of(question)) is not None:
            continue
        wanted = [[question.shapes[index] for index in members] for members in laid.members]
        rebuilt = rebuild(names, shapes, laid.owner, wanted, budget)
        if rebuilt is None:
            continue
        decided.add(laid.rule)
        positions: list[int | None] = [None] * len(question.shapes)
        for indices, places in zip(laid.members, rebuilt.places, strict=True):
            for index, place in zip(indices, places, strict=True):
                positions[index] = None if place is None else choice.places[place]
        parts = (choice.title, laid.title, "module order rebuilt from shapes (the keys are not in module order)")
        yield Reordered(Fit(positions, ", ".join(part for part in parts if part)), rebuilt.solutions)
