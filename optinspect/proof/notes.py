"""Notes on the groups' settings: what was changed by hand, and what has no effect. None of them refutes anything."""

from __future__ import annotations

from collections.abc import Iterator

from optinspect.checkpoint import ParamGroup
from optinspect.proof.candidates import Candidate
from optinspect.proof.case import Case
from optinspect.proof.findings import finding
from optinspect.proof.precision import PRECISIONS
from optinspect.proof.studied import GroupStudy
from optinspect.report import Finding


def settings(case: Case) -> None:
    """Notes on the groups' settings; none of them refutes anything."""
    for number in case.pair.groups:
        for found in _settings(case, number):
            case.findings.append(found)


def _settings(case: Case, number: int) -> Iterator[Finding]:
    before, after = case.pair.groups[number]
    group = case.study.groups.get(number) if case.study else None
    route = f"{case.pair.route}.param_groups[{number}]"
    old, new = before.number_of("lr"), after.number_of("lr")
    lead = group.fitting[0] if group and group.fitting else None
    if lead is not None and lead.source == "neither":
        yield finding(
            "OI613", f"group {number}: the step used lr {lead.settings.lr:g}; the files say {old:g} and {new:g}", route
        )
    elif old is not None and new is not None and _jumped(case, number, old, new):
        used = "" if lead is None else f"; the step used {lead.settings.lr:g}"
        yield finding("OI613", f"group {number}: lr {old:g} became {new:g} without a scheduler{used}", f"{route}.lr")
    for key in SETTINGS:
        x, y = before.hyperparameters.get(key), after.hyperparameters.get(key)
        if x is not None and y is not None and x != y and not _scheduled(case, key, after):
            yield finding("OI614", f"group {number}: {key} {x!s:.40} became {y!s:.40}", f"{route}.{key}")
    if lead is not None and group is not None and _inert(case, group, lead):
        s = lead.settings
        told = f"group {number}: lr·wd = {s.lr * s.weight_decay:.3g} is below what the weights' dtype can subtract"
        yield finding("OI612", told, f"{route}.weight_decay")


SETTINGS = ("weight_decay", "eps", "momentum", "amsgrad", "maximize")


def _scheduled(case: Case, key: str, group: ParamGroup) -> bool:
    """A scheduler may move it: OneCycle the momentum, others the decay."""
    return "max_momentum" in group.hyperparameters or (key == "weight_decay" and case.clocks.scheduled)


JUMP = 2.0
"""Factor between two stored lrs, with no scheduler in the files, from which it is worth a note."""


def _jumped(case: Case, number: int, old: float, new: float) -> bool:
    if case.clocks.scheduled or old <= 0 or new <= 0 or old == new:
        return False
    most = max((k for p in case.parameters if p.group == number and (k := case.steps[p.index]) is not None), default=0)
    return most <= 1 and not 1 / JUMP <= new / old <= JUMP


def _inert(case: Case, group: GroupStudy, lead: Candidate) -> bool:
    """1 − lr·wd rounds to 1: below half the distance from 1 to the number before it."""
    s = lead.settings
    if lead.l2 or not s.weight_decay or not s.lr or case.study is None:
        return False
    weights = [case.study.weights[p.index] for p in group.members if p.index in case.study.weights]
    least = min((PRECISIONS[w.a.dtype.name].roundoff for w in weights), default=0.0)
    return 0 < s.lr * s.weight_decay <= least / 2
