"""Which conventions fit an optimizer and a pool: the search over selections, sortings and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from optinspect.naming.arrangements import Arrangement, Groups, arrangements, differences, repaired
from optinspect.naming.conventions import ALL, SELECTIONS, SORTINGS, SPLITS, Sorting, Split, sort
from optinspect.naming.question import Pool, Question
from optinspect.naming.runs import moved
from optinspect.naming.words import affinity

TOLERATED = 0.2
"""Share of known shapes that may differ from a convention that still is the best reading (altered, unusual state)."""

A_PAIR = 2
"""Two parameters whose state was exchanged: tolerated where more known shapes agree than these two."""


@dataclass(frozen=True)
class Fit:
    """positions: per index the place in the pool, None where the rule gives none; wrong: indices of another shape."""

    positions: Sequence[int | None]
    title: str
    wrong: tuple[int, ...] = ()
    penalty: int = 0


@dataclass(frozen=True)
class Chosen:
    """A set of the pool's places that may be what the optimizer got."""

    title: str
    places: Sequence[int]


def groups_of(question: Question) -> Groups:
    shapes = [[question.shapes[index] for index in group] for group in question.groups]
    by_number = {group.number: group for group in question.optimizer.groups}
    return Groups(shapes, [by_number[number] for number in question.group_numbers])


def exact_fits(question: Question, pool: Pool, sortings: Sequence[Sorting]) -> Iterator[Fit]:
    """Conventions under which every known shape agrees, by sorting; without penalty before those with one."""
    groups = groups_of(question)
    choices = list(selections(question, pool))
    for sorting in sortings:
        found = [fit for choice in choices for fit in _fits(question, pool, groups, choice, sorting, tolerated=0)]
        yield from sorted(found, key=lambda fit: fit.penalty)


def nearest_fit(question: Question, pool: Pool) -> Fit | None:
    """The convention in module order with the fewest differing shapes, if they are few of those that are known.

    None where all known shapes agree with modules listed in another order: then nothing need be wrong.
    """
    if len(question.shapes) != len(pool.candidates):
        return None
    known = sum(question.demand.values())
    tolerated = max(int(TOLERATED * known), A_PAIR if known > 2 * A_PAIR else 0)
    everything = Chosen("", range(len(pool.candidates)))
    near = _fits(question, pool, groups_of(question), everything, SORTINGS[0], tolerated)
    found = [fit for fit in near if _altered_or_exchanged(question, pool, fit)]
    if any(fit.wrong and _rearranged(question, pool, fit) for fit in found):
        return None
    return min(found, key=lambda fit: (len(fit.wrong), fit.penalty), default=None)


def _altered_or_exchanged(question: Question, pool: Pool, fit: Fit) -> bool:
    """Whether each differing shape is one that the model has too few of, or that is due at another differing index.

    One that belongs to a parameter without state speaks for another order: that parameter is the one it is of.
    """
    own = Counter(shape for index in fit.wrong if (shape := question.shapes[index]) is not None)
    due = Counter(pool.shapes[place] for index in fit.wrong if (place := fit.positions[index]) is not None)
    return all(count <= due[shape] or question.demand[shape] > pool.supply[shape] for shape, count in own.items())


def _rearranged(question: Question, pool: Pool, fit: Fit) -> bool:
    """Whether runs of modules listed elsewhere account for all that differs, or cannot be ruled out."""
    wrong = frozenset(fit.wrong)
    for indices in question.groups:
        if wrong.isdisjoint(indices):
            continue
        places = [place for index in indices if (place := fit.positions[index]) is not None]
        due, parents = [pool.shapes[place] for place in places], [pool.traits[place].parent for place in places]
        if moved([question.shapes[index] for index in indices], due, parents) is None:
            return False
    return True


def moved_fit(question: Question, pool: Pool) -> Fit | None:
    """Module order of a lone group but for one run of modules listed earlier or later, all known shapes agreeing."""
    if len(question.groups) != 1 or len(question.shapes) != len(pool.candidates) or not question.demand:
        return None
    shapes = [question.shapes[index] for index in question.groups[0]]
    found = moved(shapes, pool.shapes, [traits.parent for traits in pool.traits], limit=1)
    if found is None or not found.settled:
        return None
    positions: list[int | None] = [None] * len(question.shapes)
    for index, place in zip(question.groups[0], found.order, strict=True):
        positions[index] = place
    return Fit(positions, "one group, some modules listed before others")


def selections(question: Question, pool: Pool) -> Iterator[Chosen]:
    """The pool as a whole when the counts agree; else the submodules and kinds that have as many parameters."""
    wanted, offered = len(question.shapes), len(pool.candidates)
    if wanted == offered:
        yield Chosen("", range(offered))
    if wanted >= offered or 2 * sum(question.demand.values()) < wanted:
        return
    inside = _inside(pool)
    exact = [(module, places) for module, places in inside.items() if len(places) == wanted]
    for module, places in sorted(exact, key=lambda item: _likelihood(question, *item)):
        yield Chosen(f"{module}.* only", places)
    for selection in SELECTIONS:
        chosen = [place for place, traits in enumerate(pool.traits) if selection.chosen(traits)]
        if len(chosen) == wanted:
            yield Chosen(selection.title, chosen)
    for module, places in inside.items():
        if len(places) == offered - wanted:
            without = frozenset(places)
            yield Chosen(f"all but {module}.*", [p for p in range(offered) if p not in without])


def _inside(pool: Pool) -> dict[str, list[int]]:
    """module → places of all parameters below it."""
    inside: dict[str, list[int]] = {}
    for place, traits in enumerate(pool.traits):
        parts = traits.parent.split(".") if traits.parent else []
        for depth in range(1, len(parts) + 1):
            inside.setdefault(".".join(parts[:depth]), []).append(place)
    return inside


def _likelihood(question: Question, module: str, places: Sequence[int]) -> tuple[int, ...]:
    """Sorts submodules: called like the optimizer; then the last for a lone optimizer (a head), else the first."""
    return (-affinity(question.optimizer.route, module), -places[0] if question.alone else places[0])


def _fits(
    question: Question, pool: Pool, groups: Groups, choice: Chosen, sorting: Sorting, tolerated: int
) -> Iterator[Fit]:
    order = sort(sorting, choice.places, lambda: pool.traits)
    splits = (ALL, *SPLITS) if len(groups) > 1 else (ALL,)
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for split in splits:
        classes = _classes(split, order, pool)
        key = tuple(tuple(places) for places in classes.values())
        if key in seen:
            continue
        seen.add(key)
        for arrangement in arrangements(classes, split.decays, groups, pool.shapes):
            settled = arrangement if tolerated else repaired(arrangement, groups, pool.shapes)
            wrong = sum(map(differences, groups.shapes, settled.groups, repeat(pool.shapes)))
            if wrong <= tolerated:
                penalty = _penalty(split, settled, pool, groups) + (settled is not arrangement)
                yield _fit(question, pool, settled, _title(choice, sorting, split, settled, groups), penalty)


def _classes(split: Split, order: list[int], pool: Pool) -> dict[Hashable, list[int]]:
    if split is ALL:
        return {None: order}
    classes: dict[Hashable, list[int]] = {}
    for place in order:
        classes.setdefault(split.label(pool.traits[place]), []).append(place)
    return classes


def _fit(question: Question, pool: Pool, arrangement: Arrangement, title: str, penalty: int) -> Fit:
    positions: list[int | None] = [None] * len(question.shapes)
    wrong: list[int] = []
    for indices, places in zip(question.groups, arrangement.groups, strict=True):
        for index, place in zip(indices, places, strict=True):
            positions[index] = place
            shape = question.shapes[index]
            if shape is not None and shape != pool.shapes[place]:
                wrong.append(index)
    return Fit(positions, title, tuple(wrong), penalty)


def _penalty(split: Split, arrangement: Arrangement, pool: Pool, groups: Groups) -> int:
    """−1 when the groups are called so, 0 when their weight decays agree, 1 when these say nothing, 2 the opposite."""
    decays = [group.number_of("weight_decay") or 0.0 for group in groups.written]
    if arrangement.called:
        return -1
    if not split.decays:
        shapes = [shape for group in groups.shapes for shape in group]
        return int(len({decay > 0 for decay in decays}) > 1 and 2 * shapes.count(None) > len(shapes))
    verdicts: set[bool] = set()
    if len(set(decays)) == 1:
        return 1
    for decay, places in zip(decays, arrangement.groups, strict=True):
        if places:
            verdicts.add((decay > 0) == (split.label(pool.traits[places[0]]) in split.decays))
    return 0 if verdicts == {True} else 2


def _title(choice: Chosen, sorting: Sorting, split: Split, arrangement: Arrangement, groups: Groups) -> str:
    everything = "one group" if len(groups) == 1 else "groups one after another"
    what = everything if split is ALL else split.title
    return ", ".join(part for part in (choice.title, what, arrangement.how, sorting.title) if part)
