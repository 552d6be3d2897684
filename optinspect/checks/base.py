"""What a rule is: facts are computed once, each rule says pass, skipped or what it found.

A rule is a function that yields Complaints; its docstring is its manual page. `requires` names the rules whose
findings explain its own: what one of them has condemned is not looked at again, so that one fault gives one finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import cleandoc

from optinspect.checkpoint import OptimizerState, ParamGroup
from optinspect.checks.facts import Facts
from optinspect.layouts.base import join
from optinspect.report import Place, Severity
from optinspect.subjects import Subject

MANY = 3
"""Parameters with the same fault that get a finding each; of more, one finding names the first and counts the rest."""
NAMED = 4

Spot = tuple[object, ...]
"""What a finding condemns: () everything, (optimizer,), (optimizer, "group", number), (optimizer, index)."""


class Skip(Exception):
    """Raised by a rule that has nothing to look at; the reason is reported."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a rule found, and where. `spots`: what rules that require this one leave out."""

    message: str
    route: str | None = None
    parameter: str | None = None
    spots: tuple[Spot, ...] = ((),)
    severity: Severity | None = None
    """None: the rule's own."""
    repair: str | None = None
    also: tuple[Place, ...] = ()
    """The other places, where one complaint is about many."""


Find = Callable[["Context"], Iterable[Complaint]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`find` yields complaints or raises Skip; `title` says the fault, `repair` what to do about it as a rule."""

    code: str
    severity: Severity
    title: str
    find: Find
    requires: tuple[str, ...] = ()
    repair: str | None = None

    @property
    def page(self) -> str:
        """The manual page."""
        return cleandoc(self.find.__doc__ or "")


def rule(
    code: str, severity: Severity, *, title: str, requires: tuple[str, ...] = (), repair: str | None = None
) -> Callable[[Find], Rule]:
    """Make a rule of a function."""
    return lambda find: Rule(code, severity, title, find, requires, repair)


@dataclass
class Context:
    """What a rule looks at: the facts less what its required rules have condemned."""

    facts: Facts
    condemned: frozenset[Spot] = frozenset()
    routes: tuple[str, ...] = ()
    """Where earlier rules have found something."""

    def sound(self, *spots: Spot) -> bool:
        """Whether none of these, nor what they are a part of, is condemned."""
        wider = {(), *spots, *((spot[0],) for spot in spots if spot)}
        return not wider & self.condemned

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        return tuple(each for each in self.facts.subjects if self.takes(each))

    def takes(self, subject: Subject) -> bool:
        return self.sound(subject.key, (subject.optimizer, "group", subject.group.number))

    @cached_property
    def optimizers(self) -> tuple[tuple[int, OptimizerState], ...]:
        every = enumerate(self.facts.checkpoint.optimizers)
        return tuple((number, each) for number, each in every if self.sound((number,)))

    @cached_property
    def groups(self) -> tuple[tuple[int, OptimizerState, ParamGroup], ...]:
        return tuple(
            (number, optimizer, group)
            for number, optimizer in self.optimizers
            for group in optimizer.groups
            if self.sound((number, "group", group.number))
        )

    def state_route(self, subject: Subject, slot: str | None = None) -> str:
        """ "optimizer.state[3].exp_avg"."""
        route = join(join(self.facts.checkpoint.optimizers[subject.optimizer].route, "state"), subject.state.key)
        return route if slot is None else f"{route}.{slot}"

    def group_route(self, optimizer: OptimizerState, group: ParamGroup, key: str | None = None) -> str:
        """ "optimizer.param_groups[0].lr"."""
        route = join(join(optimizer.route, "param_groups"), group.number)
        return route if key is None else join(route, key)

    def about(
        self, subject: Subject, message: str, slot: str | None = None, severity: Severity | None = None
    ) -> Complaint:
        """A complaint about one parameter, or one slot of it."""
        route = self.state_route(subject, slot)
        return Complaint(message, route, subject.named.name, (subject.key,), severity)

    def each(self, found: Sequence[tuple[Subject, str | None, str]], of: str = "") -> Iterator[Complaint]:
        """A complaint for each (subject, slot, message); where there are many, one that counts them all."""
        affected = list(dict.fromkeys(subject.key for subject, _, _ in found))
        if len(affected) <= MANY and len(found) > MANY * len(affected):  # LBFGS keeps a slot for each of its steps
            found = [_joined([one for one in found if one[0].key == key]) for key in affected]
        if len(affected) <= MANY:
            yield from (self.about(subject, message, slot) for subject, slot, message in found)
            return
        subject, slot, message = found[0]
        names = list(dict.fromkeys(each.label for each, _, _ in found))
        told = ", ".join(names[1:NAMED]) + (", …" if len(names) > NAMED else "")
        total = len(self.facts.subjects)
        whole = f"{message}; so it is in {len(affected):,} of {total:,} parameters{of} (also {told})"
        also = tuple((self.state_route(one, its), one.named.name) for one, its, _ in found[1:])
        yield Complaint(whole, self.state_route(subject, slot), subject.named.name, tuple(affected), also=also)

    def weights(self, found: Sequence[tuple[Subject, str]]) -> Iterator[Complaint]:
        """A complaint about the weight of each (subject, message); where there are many, one that counts them all."""
        places = []
        for subject, message in found:
            entry, number = subject.named.entry, subject.named.model
            if entry is not None and number is not None:
                route = join(self.facts.checkpoint.models[number].route, entry.key)
                places.append(Complaint(message, route, subject.named.name, (subject.key,)))
        if len(places) <= MANY:
            yield from places
            return
        also = ", ".join(each.parameter or "" for each in places[1:NAMED])
        more = ", …" if len(places) > NAMED else ""
        first = places[0]
        told = f"{first.message}; so it is with {len(places):,} weights (also {also}{more})"
        spots = tuple(spot for each in places for spot in each.spots)
        others = tuple((each.route, each.parameter) for each in places[1:])
        yield Complaint(told, first.route, first.parameter, spots, also=others)

    def alike(self, found: Sequence[tuple[int, OptimizerState, ParamGroup, str, str]]) -> Iterator[Complaint]:
        """A complaint for each (number, optimizer, group, key, message), equal messages told once."""
        by_message: dict[tuple[int, str, str], list[tuple[OptimizerState, ParamGroup]]] = {}
        for number, optimizer, group, key, message in found:
            by_message.setdefault((number, key, message), []).append((optimizer, group))
        for (number, key, message), places in by_message.items():
            numbers = [str(group.number) for _, group in places]
            several = f" (in groups {', '.join(numbers[:8])}{', …' if len(numbers) > 8 else ''})"
            spots: tuple[Spot, ...] = tuple((number, "group", group.number) for _, group in places)
            text = message + (several if len(numbers) > 1 else "")
            routes = [self.group_route(each, group, key or None) for each, group in places]
            yield Complaint(text, routes[0], None, spots, also=tuple((route, None) for route in routes[1:]))


def _joined(found: Sequence[tuple[Subject, str | None, str]]) -> tuple[Subject, str | None, str]:
    """One for all slots of a parameter."""
    subject, slot, message = found[0]
    more = len(found) - 1
    return subject, slot, f"{message}; and so in {more:,} more slots" if more else message
