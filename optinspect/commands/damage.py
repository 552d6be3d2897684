"""What is broken in a file, as findings: the problems that the reader met and went on after."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optinspect.checkpoint import Problem
from optinspect.commands.facts import Facts
from optinspect.report import Finding, Location, Severity
from optinspect.tensors import TensorRef

STATE = re.compile(r"(?P<optimizer>.*)\.state\[(?P<key>[^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of damage by its rule's number."""

    rule: str
    title: str
    severity: Severity
    repair: str | None = None


CUT = "take the save before this one; copy the file again if it was copied"
KINDS: Mapping[str, Kind] = {
    "truncated": Kind("OI101", "the file ends too early", Severity.ERROR, CUT),
    "missing": Kind("OI102", "bytes that the file names are not in it", Severity.ERROR, CUT),
    "geometry": Kind("OI103", "a tensor reaches outside of its storage", Severity.ERROR),
    "integrity": Kind("OI104", "the bytes are not those that were written", Severity.ERROR, CUT),
    "structure": Kind("OI105", "the structure is not as torch writes it", Severity.WARNING),
}


def findings(facts: Facts) -> tuple[Finding, ...]:
    """One finding a problem, in the file's order; then the tensors whose values failed to be read.

    In a file that was cut short, oddities of the structure are left out: they follow from the cut.
    """
    problems = facts.checkpoint.problems
    if any(problem.kind == "truncated" for problem in problems):
        problems = tuple(problem for problem in problems if problem.kind != "structure")
    names = {
        (facts.checkpoint.optimizers[subject.optimizer].route, str(subject.state.key)): subject.named.name
        for subject in facts.everything
        if problems
    }
    known = [_finding(problem, names) for problem in problems]
    return (*known, *_unreadable(facts))


def _finding(problem: Problem, names: Mapping[tuple[str, str], str | None]) -> Finding:
    kind = KINDS[problem.kind]
    match = STATE.match(problem.route)
    parameter = names.get((match["optimizer"], match["key"].strip("'\""))) if match else None
    where = Location("checkpoint", problem.route or None, parameter)
    return Finding(kind.rule, kind.title, kind.severity, problem.message, where, kind.repair)


def _unreadable(facts: Facts) -> Iterator[Finding]:
    """Values that turned out unreadable only while they were read: a deflated record that breaks off."""
    kind = KINDS["integrity"]
    for subject in facts.subjects:
        measured = facts.measured.get(subject.key) if facts.measured else None
        tensors: dict[str | None, TensorRef | None] = {None: subject.weight}
        tensors.update(subject.tensors)
        for slot, reason in (measured.problems if measured else {}).items():
            tensor = tensors[slot]
            if tensor is not None and not (tensor.problem or tensor.storage.problem or tensor.is_expanded):
                route = f"{facts.checkpoint.optimizers[subject.optimizer].route}.state[{subject.state.key}].{slot}"
                where = Location("checkpoint", route if slot else None, subject.named.name)
                yield Finding(kind.rule, kind.title, kind.severity, reason, where, kind.repair)


def status(found: tuple[Finding, ...]) -> int:
    """1 where a finding is an error: what is shown is then not all that was saved."""
    return int(any(finding.severity is Severity.ERROR for finding in found))
