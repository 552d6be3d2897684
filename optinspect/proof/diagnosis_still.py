"""k = 0: no step lies between. Then nothing may have moved, and somebody must have saved for a reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optinspect.proof import origin
from optinspect.proof.case import Case
from optinspect.proof.diagnosis import is_rounded
from optinspect.proof.findings import about, exchanged, finding, route_of
from optinspect.proof.pairing import Parameter
from optinspect.proof.sampling import Samples

STATELESS = "the rule keeps no state by which its steps could be followed"


def reordered(case: Case) -> None:
    """Integer keys in another order: torch numbers them as the groups list them, and loads them by position."""
    moved = [p for p in case.parameters if p.index != p.index_b and p.key == p.key_b and isinstance(p.key, int)]
    if moved:
        places = {p.index_b: p for p in case.parameters}
        told = exchanged({p.label: places[p.index].label for p in moved if p.index in places})
        message = f"the second file's groups list other parameters in these places: {told}"
        case.refute(moved, finding("OI604", message, f"{case.pair.route}.param_groups", parameter=moved[0].named.name))


def reshaped(case: Case) -> None:
    """State that lost a slot, or is of another shape, between the files."""
    other = [p for p in case.open(case.parameters) if p.a.shape and p.b.shape and p.a.shape != p.b.shape]
    route = f"{case.pair.route}.state"
    if other:
        same = sorted(p.a.shape or () for p in other) == sorted(p.b.shape or () for p in other)
        told = f"the state has another shape than in the first file: {about(other)}"
        kind = "OI604" if same and len(other) > 1 else "OI609"
        case.refute(other, finding(kind, told, route_of(case.pair, other[0]) if len(other) == 1 else route))
    lost = [p for p in case.open(case.parameters) if not p.b.missing and set(p.a.slots) - set(p.b.slots)]
    if lost:
        names = sorted({name for p in lost for name in set(p.a.slots) - set(p.b.slots)})
        told = f"no {' and '.join(names)} of the parameter's shape any more: {about(lost)}"
        case.refute(lost, finding("OI609", told, route_of(case.pair, lost[0]) if len(lost) == 1 else route))


def no_step(case: Case, members: Sequence[Parameter]) -> None:
    known = [p for p in members if p.index in case.tallies and case.steps[p.index] == 0]
    known = [p for p in case.open(known) if p.index not in case.reasons]
    stateless = [p for p in known if p.a.missing and p.b.missing and _keeps_none(case, p)]
    case.reasons.update((p.index, STATELESS) for p in stateless)
    known = [p for p in known if p not in stateless]
    altered = [p for p in known if case.tallies[p.index].changes.state]
    if altered:
        _altered(case, altered)
    moved = [p for p in case.open(known) if case.tallies[p.index].changes.weights]
    if moved:
        _moved(case, moved, known)
    everything = len(known) == len(case.parameters)
    if everything and known and not altered and not moved:
        _nothing(case, known)


def _keeps_none(case: Case, p: Parameter) -> bool:
    rules = case.pair.choices[p.group].candidates
    group = case.pair.groups[p.group][0]
    return not rules or (rules[0].name == "sgd" and not group.number_of("momentum"))


def _altered(case: Case, altered: Sequence[Parameter]) -> None:
    """State that changed though no step was counted: exchanged, emptied, or something else."""
    route = f"{case.pair.route}.state"
    samples = Samples(altered, {})
    moves: dict[int, Parameter] = {}
    for p in altered:
        same = [q for q in altered if q.shape == p.shape and _equal(samples, p, q)]
        if len(same) == 1 and same[0] is not p:
            moves[p.index] = same[0]
    swapped = [p for p in altered if p.index in moves]
    if swapped:
        told = exchanged({p.label: moves[p.index].label for p in swapped})
        message = f"the state in the second file is of other parameters: {told}"
        case.refute(
            swapped, finding("OI604", message, route_of(case.pair, swapped[0]), parameter=swapped[0].named.name)
        )
    empty = [p for p in case.open(altered) if case.tallies[p.index].changes.lasting == 0]
    if empty:
        case.refute(empty, finding("OI603", f"moments were set to zero, of {about(empty)}", route))
    rest = case.open(altered)
    if rest:
        told = f"moments changed while no step was counted, of {about(rest)}"
        case.refute(rest, finding("OI609", told, route_of(case.pair, rest[0]) if len(rest) == 1 else route))


def _equal(samples: Samples, before: Parameter, after: Parameter) -> bool:
    """Whether the state of one in A is, on the sample, that of the other in B."""
    old, new = samples.states[before.index].before, samples.states[after.index].after
    names = [name for name in old if name in new]
    return bool(names) and all(np.array_equal(old[name], new[name], equal_nan=True) for name in names)


def _moved(case: Case, moved: Sequence[Parameter], known: Sequence[Parameter]) -> None:
    weights = [p.weight for p in moved if p.weight is not None]
    copy = origin.averaged(case.files[1], weights)
    stepped = any((k or 0) > 0 for k in case.steps.values())
    if is_rounded([case.tallies[p.index].changes for p in moved]):
        told = f"no weight in the second file has a bit that bfloat16 lacks, of {about(moved)}"
        case.refute(moved, finding("OI606", told, "model"))
    elif copy is not None:
        case.refute(
            moved, finding("OI605", f"weights are those of {copy}, not the raw ones, of {about(moved)}", "model")
        )
    elif stepped:
        told = f"no step was counted, yet the weights moved, of {about(moved)}"
        case.refute(moved, finding("OI610", told, "model", parameter=moved[0].named.name))
    elif case.clocks.advanced and 2 * len(moved) >= len(known):
        told = "weights and counters advanced, the optimizer's state did not: its half is of the step before"
        case.refute(moved, finding("OI601", told, f"{case.pair.route}.state"))
    else:
        told = f"the weights changed while nothing counted a step, of {about(moved)}"
        case.refute(moved, finding("OI605", told, "model", parameter=moved[0].named.name if len(moved) == 1 else None))


def _nothing(case: Case, known: Sequence[Parameter]) -> None:
    clocks = case.clocks
    if clocks.shrank:
        case.notes.append("a skipped step: the GradScaler's scale fell, and nothing moved")
    elif not clocks.advanced:
        case.notes.append("the same state in both files: no step lies between them")
    elif clocks.accumulating(case.pair.a):
        case.notes.append("no step lies between: the counter counts micro-batches")
    else:
        told = "a counter advanced, but weights and optimizer state are the same to the bit"
        case.refute(known, finding("OI602", told))
