"""What is broken in a file, as findings: the problems that the reader met and went on after. For `show` and `check`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint, Problem
from optinspect.layouts.base import join
from optinspect.report import Finding, Location, Severity
from optinspect.subjects import Subject
from optinspect.tensors import TensorRef

if TYPE_CHECKING:
    from optinspect.measurement import Measured

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
    "refused": Kind("OI106", "torch.load refuses the file", Severity.ERROR, "save it again with torch.save"),
}

Unreadable = tuple[Subject, str | None, str]
"""Whose values, the slot (None: the weight), and why they could not be read."""


def problems(checkpoint: Checkpoint) -> tuple[Problem, ...]:
    """All of them; in a file that was cut short without oddities of the structure: they follow from the cut."""
    every = checkpoint.problems
    if any(problem.kind == "truncated" for problem in every):
        return tuple(problem for problem in every if problem.kind != "structure")
    return every


def owners(checkpoint: Checkpoint, subjects: Iterable[Subject]) -> Mapping[tuple[str, str], Subject]:
    """(optimizer's route, key as routes write it) → the parameter; ("", route of its weight) likewise."""
    found: dict[tuple[str, str], Subject] = {}
    for one in subjects:
        found[checkpoint.optimizers[one.optimizer].route, str(one.state.key)] = one
        weight = _weight_route(checkpoint, one)
        if weight is not None:
            found["", weight] = one
    return found


def _weight_route(checkpoint: Checkpoint, subject: Subject) -> str | None:
    named = subject.named
    if named.entry is None or named.model is None:
        return None
    return join(checkpoint.models[named.model].route, named.entry.key)


def owner(problem: Problem, known: Mapping[tuple[str, str], Subject]) -> Subject | None:
    """Whose state or weight the problem lies in."""
    match = STATE.match(problem.route)
    key = (match["optimizer"], match["key"].strip("'\"")) if match else ("", problem.route)
    return known.get(key)


def unreadable(subjects: Iterable[Subject], measured: Mapping[Any, Measured]) -> Iterator[Unreadable]:
    """Values that turned out unreadable only while they were read: a deflated record that breaks off."""
    for subject in subjects:
        found = measured.get(subject.key)
        if found is None or not found.problems:
            continue
        tensors: dict[str | None, TensorRef | None] = {None: subject.weight}
        tensors.update(subject.tensors)
        for slot, reason in found.problems.items():
            tensor = tensors[slot]
            if tensor is not None and not (tensor.problem or tensor.storage.problem or tensor.is_expanded):
                yield subject, slot, reason


def findings(
    checkpoint: Checkpoint, subjects: Sequence[Subject], measured: Mapping[Any, Measured]
) -> tuple[Finding, ...]:
    """One finding a problem, in the file's order; then the tensors whose values failed to be read."""
    found = problems(checkpoint)
    known = owners(checkpoint, subjects) if found else {}
    told = [_finding(problem, owner(problem, known)) for problem in found]
    return (*told, *_unreadable(checkpoint, unreadable(subjects, measured)))


def _finding(problem: Problem, whose: Subject | None) -> Finding:
    kind = KINDS[problem.kind]
    where = Location("checkpoint", problem.route or None, whose.named.name if whose else None)
    return Finding(kind.rule, kind.title, kind.severity, problem.message, where, kind.repair)


def _unreadable(checkpoint: Checkpoint, found: Iterable[Unreadable]) -> Iterator[Finding]:
    kind = KINDS["integrity"]
    for subject, slot, reason in found:
        state = join(join(checkpoint.optimizers[subject.optimizer].route, "state"), subject.state.key)
        route = f"{state}.{slot}" if slot else _weight_route(checkpoint, subject)
        where = Location("checkpoint", route, subject.named.name)
        yield Finding(kind.rule, kind.title, kind.severity, reason, where, kind.repair)


def status(found: tuple[Finding, ...]) -> int:
    """1 where a finding is an error: what is shown is then not all that was saved."""
    return int(any(finding.severity is Severity.ERROR for finding in found))
