"""What a rule is, and how rules are run: facts are computed once, each rule says pass, skipped or what it found.

A rule is a function that yields Complaints; its docstring is its manual page. `requires` names the rules whose
findings explain its own: what one of them has condemned is not looked at again, so that one fault gives one finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import cleandoc

from optinspect.checkpoint import OptimizerState, ParamGroup
from optinspect.checks.facts import Facts
from optinspect.layouts.base import join
from optinspect.report import Finding, Location, Severity, Skipped
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
        if len(affected) <= MANY:
            yield from (self.about(subject, message, slot) for subject, slot, message in found)
            return
        subject, slot, message = found[0]
        names = list(dict.fromkeys(each.label for each, _, _ in found))
        told = ", ".join(names[1:NAMED]) + (", …" if len(names) > NAMED else "")
        total = len(self.facts.subjects)
        whole = f"{message}; so it is in {len(affected):,} of {total:,} parameters{of} (also {told})"
        yield Complaint(whole, self.state_route(subject, slot), subject.named.name, tuple(affected))

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
        yield Complaint(told, first.route, first.parameter, tuple(spot for each in places for spot in each.spots))

    def alike(self, found: Sequence[tuple[int, OptimizerState, ParamGroup, str, str]]) -> Iterator[Complaint]:
        """A complaint for each (number, optimizer, group, key, message), equal messages told once."""
        by_message: dict[tuple[int, str, str], list[tuple[OptimizerState, ParamGroup]]] = {}
        for number, optimizer, group, key, message in found:
            by_message.setdefault((number, key, message), []).append((optimizer, group))
        for (number, key, message), places in by_message.items():
            optimizer, first = places[0]
            numbers = [str(group.number) for _, group in places]
            several = f" (in groups {', '.join(numbers[:8])}{', …' if len(numbers) > 8 else ''})"
            spots: tuple[Spot, ...] = tuple((number, "group", group.number) for _, group in places)
            text = message + (several if len(numbers) > 1 else "")
            yield Complaint(text, self.group_route(optimizer, first, key or None), None, spots)


@dataclass(frozen=True)
class Outcome:
    """Of one run: findings in the order of the rules, rules that were skipped, and those that found nothing."""

    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    passed: tuple[str, ...]
    records: int = 0
    """Checksums that were compared."""
    tensors: int = 0
    read: int = 0
    """How many of the tensors were measured, every element."""


@dataclass
class _Run:
    facts: Facts
    findings: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    condemned: dict[str, set[Spot]] = field(default_factory=dict)

    def run(self, one: Rule) -> None:
        causes = [code for code in one.requires if self.condemned.get(code)]
        spots = frozenset(spot for code in causes for spot in self.condemned[code])
        context = Context(self.facts, spots, tuple(each.where.route for each in self.findings if each.where.route))
        if not context.sound():
            self.skipped.append(Skipped(one.code, f"{causes[0]} names the cause"))
            return
        try:
            complaints = list(one.find(context))
        except Skip as reason:
            self.skipped.append(Skipped(one.code, str(reason)))
            return
        self.condemned[one.code] = {spot for each in complaints for spot in each.spots}
        self.findings += [_finding(one, each) for each in complaints]
        if not complaints:
            self.passed.append(one.code)


def run(rules: Iterable[Rule], facts: Facts) -> Outcome:
    """Run rules in their order; what a rule requires comes before it."""
    under_way = _Run(facts)
    for one in rules:
        under_way.run(one)
    every = facts.measured.values()
    tensors = sum(len(each.bundle.slots) + (each.bundle.weight is not None) for each in every)
    return Outcome(
        findings=tuple(under_way.findings),
        skipped=tuple(under_way.skipped),
        passed=tuple(under_way.passed),
        records=facts.integrity.records,
        tensors=tensors,
        read=tensors - sum(len(each.problems) for each in every),
    )


def _finding(one: Rule, said: Complaint) -> Finding:
    where = Location("checkpoint", said.route or None, said.parameter)
    return Finding(one.code, one.title, said.severity or one.severity, said.message, where, said.repair or one.repair)
