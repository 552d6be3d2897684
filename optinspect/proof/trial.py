"""One optimizer: sort its parameters by their own k, look at samples, pass over everything, reach a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optinspect.checkpoint import Checkpoint, ParamGroup
from optinspect.errors import Undecidable
from optinspect.optimizers.rules.settings import settings_of
from optinspect.proof import diagnosis, diagnosis_far, diagnosis_still, notes
from optinspect.proof.candidates import candidates
from optinspect.proof.case import Case, stepping
from optinspect.proof.clocks import Clocks
from optinspect.proof.drift import Drifting, capacity
from optinspect.proof.findings import about, finding
from optinspect.proof.pairing import Pair, Parameter
from optinspect.proof.precision import precision_of
from optinspect.proof.recovery import Moments
from optinspect.proof.studied import Study
from optinspect.proof.study import study
from optinspect.proof.tallies import Still

BOUNDED = ("adamw", "adam", "course-adamw")
"""Rules whose step is lr·m̂/√v̂ at most."""

UNDERFLOWS = 1e-20
"""Smallest subnormal of v from which squares vanish, and with them the bound on m/√v: float16."""

MOST_STEPS = 1_000_000
"""Steps of which the update bound is summed one by one."""


def tried(
    pair: Pair,
    clocks: Clocks,
    files: tuple[Checkpoint, Checkpoint],
    threads: int | None,
    progress: Callable[[int], None] | None,
) -> Case:
    """Raises Undecidable where B is the earlier file."""
    case = Case(pair, clocks, files, {p.index: p.steps for p in pair.parameters})
    _refuse_swapped(case)
    diagnosis_still.reordered(case)
    lost = [p for p in pair.parameters if p.b.missing and not p.a.missing]
    if lost:
        case.refute(lost, finding("OI603", f"no state in the second file for {about(lost)}", f"{pair.route}.state"))
    diagnosis_still.reshaped(case)
    stepped = [p for p in case.open(pair.parameters) if _once(case, p) and _readable(case, p)]
    if stepped:
        case.study = study(pair, stepped)
        stepped = _counted(case, case.study, stepped)
        case.works.update(stepping(case.study, stepped))
    far = [p for p in case.open(pair.parameters) if (case.steps[p.index] or 0) > 1 and _readable(case, p)]
    for p in far:
        drifting = _drifting(case, p)
        case.works[p.index] = drifting if drifting is not None else Still(p, p.weight)
    for p in pair.parameters:
        if p.index not in case.works and p.shape is not None:
            case.works[p.index] = Still(p, p.weight)
        if case.steps[p.index] is None and p not in stepped:
            case.reasons.setdefault(p.index, "its steps are not counted in both files")
    case.run(threads, progress)
    _diagnose(case, stepped, far)
    return case


def _refuse_swapped(case: Case) -> None:
    """k < 0 everywhere, and nothing says that time went on: the files are the wrong way round."""
    counted = {p.index: k for p in case.parameters if (k := case.steps[p.index]) is not None and not p.b.missing}
    back = [p for p in case.parameters if counted.get(p.index, 0) < 0]
    if not back:
        return
    forward = any(k > 0 for k in counted.values())
    if len(back) == len(counted) and not forward and (case.clocks.went_back or not case.clocks.advances):
        first = back[0]
        raise Undecidable(
            f"the second file is the earlier one: step {first.b.counts[0]:g} after {first.a.counts[0]:g}",
            hint="swap the two files",
        )
    a, b = back[0].a.counts[0], back[0].b.counts[0]
    route = f"{case.pair.route}.state"
    reset = any(p.b.counts[0] <= max(1.0, *case.clocks.advances, 1.0) for p in back)
    if reset or len(back) < len(counted):
        told = f"step counts fell, {about(back)}: from {a:g} to {b:g}"
        case.refute(back, finding("OI603", told, route))
    else:
        told = f"the optimizer's half is older: its step fell from {a:g} to {b:g} while the file's counters did not"
        case.refute(back, finding("OI601", told, route))


def _once(case: Case, p: Parameter) -> bool:
    """One step lies between, or may: SGD with momentum does not count."""
    k = case.steps[p.index]
    if k is not None:
        return k == 1
    return "momentum_buffer" in p.b.slots and (case.clocks.by_one or not case.clocks.advances)


def _counted(case: Case, found: Study, stepped: Sequence[Parameter]) -> list[Parameter]:
    """Without those that nothing counts, where the weights do not show one step either."""
    unknown = [p for p in stepped if case.steps[p.index] is None and not found.groups[p.group].fitting]
    if case.clocks.by_one:
        return list(stepped)
    case.reasons.update((p.index, "nothing counts its steps, and it is not one step") for p in unknown)
    return [p for p in stepped if p not in unknown]


def _readable(case: Case, p: Parameter) -> bool:
    choice = case.pair.choices[p.group]
    reason = p.b.problem or p.a.problem
    if reason is None and not choice.candidates:
        reason = choice.reason or "no step rule is known"
    if reason is None and p.shape is None:
        reason = "its shape is not known"
    if reason is None and not next(candidates(case.pair, p.group, [p]), None):
        reason = "its state or its group lacks what the rule needs"
    if reason is not None:
        case.reasons[p.index] = reason
    return reason is None


def _drifting(case: Case, p: Parameter) -> Drifting | None:
    """None where its moments are not Adam's or β moves."""
    before, after = case.pair.groups[p.group]
    moments = Moments.of(p.b)
    if moments is None or p.shape is None:
        case.reasons[p.index] = "no law of its state is known for several steps"
        return None
    try:
        s, last = (settings_of(g.hyperparameters, group=g.number, required=()) for g in (before, after))
    except Undecidable as problem:
        case.reasons[p.index] = problem.message
        return None
    if (s.beta1, s.beta2) != (last.beta1, last.beta2) and "max_momentum" in after.hyperparameters:
        case.reasons[p.index] = "its betas move with the schedule"
        return None
    t_a, t_b = p.a.counts[0] if p.a.counts else 0.0, p.b.counts[0]
    rule = case.pair.choices[p.group].candidates[0]
    decoupled = rule.name not in ("adam", "sgd", "nadam")
    reach, shrink, lr = None, 0.0, largest_lr(before, after)
    coarse = max(moments.first.roundoff, moments.second.roundoff)
    if rule.name in BOUNDED and lr is not None and moments.second.smallest < UNDERFLOWS:
        bound = _reach(lr, s.beta1, s.beta2, t_a, t_b)
        reach = None if bound is None else bound * (1 + 32 * coarse)
        shrink = 1 - max(1 - lr * s.weight_decay, 0.0) ** (t_b - t_a) if decoupled else 0.0
    own = precision_of(p.weight.b.dtype) if p.weight is not None else None
    blur = 2.0**-20 + 4 * (t_b - t_a) * (own.roundoff if own is not None else 0.0)
    return Drifting(p, p.weight, s, moments, t_a, t_b, reach, shrink, blur, min(s.lr, last.lr), decoupled)


def largest_lr(before: ParamGroup, after: ParamGroup) -> float | None:
    """Of the steps between, as the schedule says; None where nothing bounds it."""
    known = [group.number_of(key) for group in (before, after) for key in ("lr", "initial_lr", "max_lr")]
    lrs = [before.number_of("lr"), after.number_of("lr")]
    bounded = lrs[0] == lrs[1] or before.number_of("initial_lr") is not None
    return max((lr for lr in known if lr is not None), default=None) if bounded and None not in lrs else None


def _reach(lr: float, beta1: float, beta2: float, t_a: float, t_b: float) -> float | None:
    """Σ over the steps between of the largest |Δθ| without decay."""
    if t_b - t_a > MOST_STEPS or beta2 == 0:
        return None
    total = 0.0
    for number in range(int(t_a) + 1, int(t_b) + 1):
        total += lr * (capacity(beta1, beta2, number) * (1 - beta2**number)) ** 0.5 / (1 - beta1**number)
    return total * 1.01


def _diagnose(case: Case, stepped: Sequence[Parameter], far: Sequence[Parameter]) -> None:
    """Causes before their consequences: what is settled is not looked at again."""
    if stepped and case.study is not None:
        diagnosis.one_step(case, case.study, stepped)
    if far:
        diagnosis_far.several_steps(case)
    handled = {p.index for p in (*stepped, *far)}
    diagnosis_still.no_step(case, [p for p in case.parameters if p.index not in handled])
    notes.settings(case)
