"""How rules are run: in their order, each without what those that it requires have condemned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from optinspect.checks.base import Complaint, Context, Rule, Skip, Spot
from optinspect.checks.facts import Facts
from optinspect.checks.waivers import apart
from optinspect.report import Finding, Location, Skipped


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
    waived: tuple[Finding, ...] = ()
    """Findings on parameters for which a policy accepts them."""


@dataclass
class _Run:
    facts: Facts
    findings: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    waived: list[Finding] = field(default_factory=list)
    condemned: dict[str, set[Spot]] = field(default_factory=dict)

    def run(self, one: Rule) -> None:
        causes = [code for code in one.requires if self.condemned.get(code)]
        spots = frozenset(spot for code in causes for spot in self.condemned[code])
        said = (*self.findings, *self.waived)
        routes = (route for each in said for route in (each.where.route, *(place[0] for place in each.also)))
        context = Context(self.facts, spots, tuple(filter(None, routes)))
        if not context.sound():
            self.skipped.append(Skipped(one.code, f"{causes[0]} names the cause"))
            return
        try:
            complaints = list(one.find(context))
        except Skip as reason:
            self.skipped.append(Skipped(one.code, str(reason)))
            return
        self.condemned[one.code] = {spot for each in complaints for spot in each.spots}
        counting, waived = apart(one.code, complaints, partial(_without_skip, one), context)
        self.findings += [_finding(one, each) for each in counting]
        self.waived += [_finding(one, each) for each in waived]
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
        waived=tuple(under_way.waived),
        records=facts.integrity.records,
        tensors=tensors,
        read=tensors - sum(len(each.problems) for each in every),
    )


def _without_skip(one: Rule, context: Context) -> list[Complaint]:
    try:
        return list(one.find(context))
    except Skip:
        return []


def _finding(one: Rule, said: Complaint) -> Finding:
    where = Location("checkpoint", said.route or None, said.parameter)
    severity, repair = said.severity or one.severity, said.repair or one.repair
    return Finding(one.code, one.title, severity, said.message, where, repair, said.also)
