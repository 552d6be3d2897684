"""k = 1: from residuals to findings. One cause, one finding: what it explains is not reported again."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from optinspect.proof import origin
from optinspect.proof.candidates import Candidate, mistaken
from optinspect.proof.case import Case, different
from optinspect.proof.changes import Changes
from optinspect.proof.findings import about, exchanged, finding, named, route_of
from optinspect.proof.pairing import Parameter
from optinspect.proof.precision import FITS, MOMENTS_FIT
from optinspect.proof.studied import GroupStudy, Study
from optinspect.proof.tallies import Stepping

LAGS = 0.3
"""Cosine between θ_B − predicted and the way back from which weights are taken for a lagging average or older copy."""


def one_step(case: Case, study: Study, stepped: Sequence[Parameter]) -> None:
    _moments(case, study, stepped)
    _exchanged(case, study)
    _betas(case, study)
    _rounded(case, study, stepped)
    _unwritten(case, study, stepped)
    _overwritten(case, study, stepped)
    _rules(case, study)
    _names(case, study)


def _moments(case: Case, study: Study, stepped: Sequence[Parameter]) -> None:
    """Moments in B that are not one step after those in A: frozen, begun anew, or of elsewhere."""
    broken = [p for p in stepped if p.index in study.broken or _moment(case, p) > MOMENTS_FIT]
    if not broken:
        return
    same = [p for p in broken if case.tallies[p.index].changes.state == 0]
    empty = [p for p in broken if case.tallies[p.index].changes.lasting == 0]
    rest = [p for p in broken if p not in same and p not in empty]
    where = case.pair.route + ".state"
    if same:
        case.refute(same, finding("OI609", f"step counts advanced, the moments did not, of {about(same)}", where))
    if empty:
        fresh = [p for p in empty if p not in same]
        if fresh:
            case.refute(fresh, finding("OI603", f"moments are zero after the step, of {about(fresh)}", where))
    if rest:
        far = max(_moment(case, p) for p in rest)
        told = f"{far:.3g} units between m and v (at most {MOMENTS_FIT:g}), {about(rest)}"
        case.refute(rest, finding("OI609", told, route_of(case.pair, rest[0]) if len(rest) == 1 else where))


def _moment(case: Case, p: Parameter) -> float:
    return case.tallies[p.index].moment


def _exchanged(case: Case, study: Study) -> None:
    moves = {p.index: study.after[p.index] for p in case.parameters if p.index in study.after}
    swapped = [p for p in case.parameters if p.index in moves and moves[p.index] is not p]
    if swapped:
        told = exchanged({p.label: moves[p.index].label for p in swapped})
        message = f"the state in the second file is of other parameters: {told}"
        case.refute(
            swapped, finding("OI604", message, route_of(case.pair, swapped[0]), parameter=swapped[0].named.name)
        )


def _betas(case: Case, study: Study) -> None:
    for number, group in study.groups.items():
        before, after = case.pair.groups[number]
        written = [_betas_of(each.hyperparameters) for each in (before, after)]
        if group.betas is None or "max_momentum" in after.hyperparameters:
            continue
        used = f"({group.betas[0]:g}, {group.betas[1]:g})"
        if not group.stored:
            told = f"group {number}: the moments were averaged with betas {used}, the files say {_pair(written[1])}"
        elif written[0] is not None and written[1] is not None and written[0] != written[1]:
            told = f"group {number}: betas {_pair(written[0])} became {_pair(written[1])}; the step used {used}"
        else:
            continue
        members = [p for p in group.members if p.index not in study.broken]
        case.refute(members, finding("OI608", told, f"{case.pair.route}.param_groups[{number}].betas"))


def _betas_of(hyperparameters: object) -> tuple[float, float] | None:
    found = hyperparameters.get("betas") if hasattr(hyperparameters, "get") else None
    if isinstance(found, list | tuple) and len(found) == 2:
        return float(found[0]), float(found[1])
    return None


def _pair(betas: tuple[float, float] | None) -> str:
    return "none" if betas is None else f"({betas[0]:g}, {betas[1]:g})"


def _rounded(case: Case, study: Study, stepped: Sequence[Parameter]) -> None:
    """Weights that bfloat16 holds exactly, where the step does not lead to them."""
    apart = [p for p in case.open(stepped) if p.index in study.weights and step_residual(case, p) > FITS]
    if is_rounded([case.tallies[p.index].changes for p in apart]):
        told = f"no weight in the second file has a bit that bfloat16 lacks, of {about(apart)}"
        case.refute(apart, finding("OI606", told, "model"))


def is_rounded(changes: Sequence[Changes]) -> bool:
    """Not one of many float32 values uses the 16 bits that bfloat16 lacks: by chance one in 65,536 each."""
    return sum(each.fine for each in changes) == 0 and sum(each.singles for each in changes) >= MANY


MANY = 16


def _unwritten(case: Case, study: Study, stepped: Sequence[Parameter]) -> None:
    """Moments advanced, weights are those of A to the bit, and no rule with a stored lr explains that."""
    known = [p for p in case.open(stepped) if p.index in study.weights and case.tallies[p.index].changes.elements]
    still = [p for p in known if case.tallies[p.index].changes.weights == 0 and step_residual(case, p) > FITS]
    still = [p for p in still if p.index not in study.broken]
    if not still:
        return
    if len(still) == len([p for p in known if p.index not in study.broken]):
        told = "step counts and moments advanced, no weight did: the model's half is of the step before"
        case.refute(case.open(still), finding("OI601", told, "model"))
    else:
        told = f"moments advanced, weights were not written, of {about(still)}"
        case.refute(case.open(still), finding("OI605", told, "model", parameter=still[0].named.name))


def _overwritten(case: Case, study: Study, stepped: Sequence[Parameter]) -> None:
    """Weights that no rule explains although the moments follow."""
    sound = [p for p in case.open(stepped) if p.index in study.weights]
    apart = [p for p in sound if step_residual(case, p) > FITS]
    if not apart:
        return
    copy = origin.averaged(case.files[1], [study.weights[p.index] for p in apart])
    if copy is not None:
        case.refute(
            apart, finding("OI605", f"weights are those of {copy}, not the raw ones, of {about(apart)}", "model")
        )
        return
    whole = 2 * len(apart) > len(sound)
    lag = _lag(case, apart)
    if whole and lag is not None and lag >= LAGS:
        told = f"weights lag behind the optimizer (cosine {lag:.2f} with the way back): an average, or an older copy"
        case.refute(apart, finding("OI605", told, "model"))
    elif whole and lag is not None and lag <= -LAGS:
        told = f"weights are ahead of the optimizer (cosine {-lag:.2f} with its direction): the model's half is newer"
        case.refute(apart, finding("OI601", told, "model"))
    else:
        far = max(step_residual(case, p) for p in apart)
        code = "OI611" if whole else "OI605"
        told = f"no known rule leads to these weights ({far:.3g} step units, at most {FITS:g}): {about(apart)}"
        case.refute(apart, finding(code, told, "model", parameter=apart[0].named.name if len(apart) == 1 else None))


def _lag(case: Case, members: Sequence[Parameter]) -> float | None:
    tallies = [case.tallies[p.index] for p in members]
    along = sum(t.lag for t in tallies)
    size = sqrt(sum(t.apart**2 for t in tallies)) * sqrt(sum(t.reach**2 for t in tallies))
    return along / size if size > 0 and np.isfinite(size) else None


def column(case: Case, study: Study, p: Parameter, each: Candidate) -> int | None:
    """Where a candidate's residual stands in the parameter's tally: of formulas that agree only one was evaluated."""
    work = case.works.get(p.index)
    if not isinstance(work, Stepping):
        return None
    for place, one in enumerate(work.candidates):
        if one is each:
            return place
    for place, one in enumerate(work.candidates):
        if len(different(study, p.group, [one, each])) == 1:
            return place
    return None


def step_residual(case: Case, p: Parameter) -> float:
    """Under the group's lead."""
    steps = case.tallies[p.index].steps
    return steps[0] if steps else 0.0 if case.tallies[p.index].changes.elements == 0 else float("inf")


def fitting(case: Case, study: Study, group: GroupStudy) -> list[Candidate]:
    """What fits every sound member in the full pass."""
    sound = [p for p in group.members if p.index not in study.broken and p.index in study.weights]
    found = []
    for each in group.fitting:
        place = column(case, study, sound[0], each) if sound else None
        known = [case.tallies[p.index].steps for p in sound if p.index not in study.unfit]
        if place is not None and all((steps[place : place + 1] or (0.0,))[0] <= FITS for steps in known):
            found.append(each)
    return found


def _rules(case: Case, study: Study) -> None:
    """A rule that fits, but is not the declared one, or is a known mistake."""
    wrong: dict[str, list[int]] = {}
    for number, group in study.groups.items():
        fits = fitting(case, study, group)
        declared = [r for r in case.pair.choices[number].candidates if not mistaken(r)]
        if fits and not any(each.rule in declared for each in fits):
            wrong.setdefault(fits[0].rule.title, []).append(number)
    for title, numbers in wrong.items():
        members = case.open([p for number in numbers for p in study.groups[number].members])
        allowed = case.pair.choices[numbers[0]].candidates
        said = allowed[0].title if len(allowed) == 1 else "AdamW or Adam"
        told = f"the weights moved as {title} moves them (expected {said}), of {about(members)}"
        case.refute(members, finding("OI607", told, f"{case.pair.route}.param_groups[{numbers[0]}]"))


def _names(case: Case, study: Study) -> None:
    """Names that the file records, and the step contradicts."""
    wrong = [p for p in case.parameters if p.index in study.renamed and p.named.evidence == "recorded"]
    wrong = case.open(wrong)
    if wrong:
        moves = {p.label: study.weights[p.index].name for p in wrong}
        told = f"the step of what the file names so moved other weights: {exchanged(moves) or named(moves)}"
        case.refute(wrong, finding("OI615", told, f"{case.pair.route}.param_groups", parameter=wrong[0].named.name))
