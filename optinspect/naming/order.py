"""Names from the order: what the conventions of filling param_groups, and order-keeping alone, leave open.

Never certain: a convention that fits may not be the one that was used. The row says which one was taken, how many
order-keeping assignments there are, and which other names have the same shape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from optinspect.naming.base import NamedParameter
from optinspect.naming.compact import compact_fit
from optinspect.naming.conventions import SORTINGS
from optinspect.naming.fits import Fit, exact_fits, groups_of, moved_fit, nearest_fit
from optinspect.naming.gaps import gapped_fit
from optinspect.naming.matching import Matches, matches
from optinspect.naming.question import MAX_RIVALS, Pool, Proposal, Question
from optinspect.naming.reordered import reordered

LARGE = 20_000
"""Beyond this many parameters the first convention that fits is taken without looking for others beside it."""


@dataclass(frozen=True)
class Case:
    """An optimizer against one pool."""

    question: Question
    pool: Pool

    @cached_property
    def counted(self) -> Matches | None:
        """The order-keeping assignments of the groups in the pool; one group of all parameters needs no walk."""
        shapes, supply = self.question.shapes, self.pool.shapes
        groups = groups_of(self.question)
        if len(groups) == 1 and len(shapes) == len(supply):
            fits = all(a is None or a == b for a, b in zip(shapes, supply, strict=True))
            return Matches(int(fits), ())
        return matches(groups.shapes, supply)


@dataclass(frozen=True)
class Reading:
    """The chosen fit in its pool, with what else was found."""

    pool: Pool
    fit: Fit
    others: tuple[Fit, ...]
    counted: Matches | None
    solutions: int | None = None


def propose(question: Question, known: Mapping[int, NamedParameter]) -> Proposal:
    """An `order` name for each index that the best convention places, with the rivals it leaves."""
    pools = [pool for pool in question.pools if pool.candidates]
    orders = [question, replace(question, by_key=True)] if question.keys_out_of_order else [question]
    for asked in orders:
        cases = [Case(asked, pool) for pool in pools]
        for rule, needs_order in RULES:
            for case in cases:
                reading = rule(case) if case.pool.ordered or not needs_order else None
                if reading is not None:
                    return _proposal(asked, reading, known)
    return Proposal()


def _proposal(question: Question, reading: Reading, known: Mapping[int, NamedParameter]) -> Proposal:
    return Proposal(dict(_rows(question, reading)), withheld=_withheld(reading, known), notes=tuple(_notes(reading)))


def _in_module_order(case: Case) -> Reading | None:
    fits = _some(exact_fits(case.question, case.pool, SORTINGS[:1]), len(case.pool.candidates))
    return Reading(case.pool, fits[0], tuple(fits[1:]), case.counted) if fits else None


def _only_assignment(case: Case) -> Reading | None:
    found = case.counted
    if found is None or found.solutions != 1:
        return None
    fit = Fit(_agreed(case.question, found), "groups keep module order, the only such assignment")
    return Reading(case.pool, fit, (), found)


def _least_cut(case: Case) -> Reading | None:
    fit = compact_fit(case.question, case.pool)
    return None if fit is None else Reading(case.pool, fit, (), case.counted)


def _in_another_order(case: Case) -> Reading | None:
    fits = _some(exact_fits(case.question, case.pool, SORTINGS[1:]), len(case.pool.candidates))
    return Reading(case.pool, fits[0], tuple(fits[1:]), None) if fits else None


def _common_ground(case: Case) -> Reading | None:
    found = case.counted
    if found is None or not found.solutions or not case.question.demand:
        return None
    return Reading(
        case.pool, Fit(_agreed(case.question, found), "groups keep module order, no convention fits"), (), found
    )


def _run_moved(case: Case) -> Reading | None:
    fit = moved_fit(case.question, case.pool)
    return None if fit is None else Reading(case.pool, fit, (), None)


def _nearly(case: Case) -> Reading | None:
    fit = nearest_fit(case.question, case.pool) or gapped_fit(case.question, case.pool)
    return None if fit is None else Reading(case.pool, fit, (), None)


def _rebuilt(case: Case) -> Reading | None:
    found = reordered(case.question, case.pool)
    return None if found is None else Reading(case.pool, found.fit, (), None, found.solutions)


RULES: tuple[tuple[Callable[[Case], Reading | None], bool], ...] = (
    (_in_module_order, True),
    (_only_assignment, True),
    (_least_cut, True),
    (_in_another_order, True),
    (_run_moved, True),
    (_nearly, True),
    (_common_ground, True),
    (_rebuilt, False),
)
"""(rule, whether it needs the keys to be in module order). Tried in this order, each on every pool: a convention that
fits in full goes before one that nearly fits."""


def _some(fits: Iterable[Fit], size: int) -> list[Fit]:
    found: list[Fit] = []
    for fit in fits:
        found.append(fit)
        if size > LARGE or len(found) == MAX_RIVALS:
            break
    return found


def _agreed(question: Question, found: Matches) -> list[int | None]:
    """What all order-keeping assignments have in common."""
    positions: list[int | None] = [None] * len(question.shapes)
    for indices, members in zip(question.groups, found.chances, strict=True):
        for index, chances in zip(indices, members, strict=True):
            if len(chances) == 1:
                positions[index] = next(iter(chances))
    return positions


def _rows(question: Question, reading: Reading) -> Iterable[tuple[int, NamedParameter]]:
    solutions = reading.solutions if reading.counted is None else reading.counted.solutions
    rivals = _Rivals(question, reading)
    convention = _convention(reading)
    for index, position in enumerate(reading.fit.positions):
        if position is not None:
            candidate = reading.pool.candidates[position]
            yield (
                index,
                question.named(
                    index, candidate, "order", convention, solutions or None, rivals.of(index, candidate.name)
                ),
            )


def _convention(reading: Reading) -> str:
    """The rule that was taken, and whose module order it is where the file itself keeps none."""
    source = reading.pool.order_from
    return f"{reading.fit.title.removesuffix(', module order')}, {source}" if source else reading.fit.title


class _Rivals:
    """Other names for an index: of the order-keeping assignments, of other conventions, of the same shape."""

    def __init__(self, question: Question, reading: Reading) -> None:
        self.question, self.reading = question, reading
        self.chances: dict[int, Mapping[int, float]] = {}
        if reading.counted is not None and reading.counted.solutions > 1:
            for indices, members in zip(question.groups, reading.counted.chances, strict=True):
                self.chances.update(zip(indices, members, strict=True))

    def of(self, index: int, name: str) -> tuple[str, ...]:
        candidates, shape = self.reading.pool.candidates, self.question.shapes[index]
        own = self.reading.fit.positions[index] or 0
        alike = neighbours(self.reading.pool.by_shape.get(shape, ()), own) if shape is not None else ()
        if not self.chances and not self.reading.others:  # as a rule: 100,000 parameters should take a second
            return tuple([candidates[place].name for place in alike if place != own])
        chances = self.chances.get(index, {})
        places = sorted(chances, key=lambda place: (-chances[place], place))
        places += [place for other in self.reading.others if (place := other.positions[index]) is not None]
        names = {candidates[place].name: None for place in (*places, *alike)}
        names.pop(name, None)
        return tuple(islice(names, MAX_RIVALS))


def neighbours(places: Sequence[int], around: int) -> Sequence[int]:
    """The nearest places (ascending) from `around` on, then the nearest before it; as many as there may be rivals."""
    middle = bisect_left(places, around)
    half = MAX_RIVALS // 2
    return [*places[middle : middle + half + 1], *places[max(0, middle - half) : middle][::-1]]


def _withheld(reading: Reading, known: Mapping[int, NamedParameter]) -> frozenset[int]:
    """Forced names that a nearly perfect convention contradicts: state moved between indices looks like this."""
    names = {
        i: reading.pool.candidates[place].name
        for i in reading.fit.wrong
        if (place := reading.fit.positions[i]) is not None
    }
    return frozenset(
        i for i, name in names.items() if i in known and known[i].evidence == "forced" and known[i].name != name
    )


def _notes(reading: Reading) -> Iterable[str]:
    if reading.fit.wrong:
        yield f"{len(reading.fit.wrong)} shapes differ from what {reading.fit.title!r} would give"
