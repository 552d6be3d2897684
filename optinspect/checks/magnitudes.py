"""OI313 to OI318: numbers that are possible, but that a running training hardly leaves behind."""

from __future__ import annotations

from collections.abc import Iterable
from math import frexp

from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.values import BYTES, Found
from optinspect.layouts.base import join
from optinspect.report import Severity
from optinspect.statistics import Statistics
from optinspect.subjects import Subject

SOUND = (*BYTES, "OI301", "OI302", "OI303", "OI307", "OI308", "OI310", "OI311")
BEGUN = 5
"""Steps after which a gradient has come everywhere: behind a weight that starts at 0 (LoRA's B, a last norm's scale)
it comes with the second step, and two steps later where a warm-up begins with lr 0."""
ROUNDED = 64
"""Elements with a fraction that must all end in 16 zero bits: by chance 2^-1024."""


def _zero(found: Statistics | None) -> bool:
    return found is not None and found.count > 0 and found.zeros == found.count


def _moments(context: Context, subject: Subject) -> tuple[Statistics, Statistics] | None:
    """Of m and v, for an Adam-like optimizer that is known."""
    description = context.facts.description(subject)
    statistics = context.facts.statistics(subject)
    if description is None or description.m_slot not in statistics or description.v_slot not in statistics:
        return None
    return statistics[description.m_slot or ""], statistics[description.v_slot or ""]


@rule("OI313", Severity.WARNING, title="all moments are zero", requires=(*SOUND, "OI401", "OI403"))
def dead(context: Context) -> Iterable[Complaint]:
    """Both moments of a parameter are zero everywhere, though steps were taken. An error where all parameters are so,
    of any of torch's optimizers.

    Why a resume breaks: the state was wiped, or a cold optimizer was saved with an old step count: the bias correction
    is for a running average that is not there, and first updates are up to ten times too large.
    Harmless when: no gradient ever reached the parameter, but zeros did (dead units, experts that were never chosen).
    Repair: find out which; take the save before this one.
    Seen: DCP and FSDP loads that filled nothing (KempnerForge#115), OLMo#245, SAE#115.
    """
    found: Found = []
    for number, optimizer in context.optimizers:
        members = [each for each in context.subjects if each.optimizer == number and _kept(context, each)]
        if len(members) > 1 and all(_zero(one) for each in members for one in _kept(context, each)):
            told = f"all state of all {len(members):,} parameters is 0"
            route, spots = join(optimizer.route, "state"), tuple(each.key for each in members)
            yield Complaint(told, route, None, spots, Severity.ERROR)
            continue
        for subject in members:
            pair = _moments(context, subject)
            if pair is not None and (subject.state.step or 0) >= BEGUN and _zero(pair[0]) and _zero(pair[1]):
                found.append((subject, "exp_avg", f"all moments are 0 after {subject.state.step:g} steps"))
    yield from context.each(found)


def _kept(context: Context, subject: Subject) -> list[Statistics]:
    """Of the slots in the parameter's shape, for one of torch's optimizers; none before the first step."""
    description = context.facts.description(subject)
    if description is None or description.source != "torch.optim" or subject.state.step == 0:
        return []
    every = context.facts.statistics(subject)
    return [one for slot, one in every.items() if description.kind(slot) == "parameter" and one.count]


@rule("OI314", Severity.WARNING, title="the first moment is zero, the second is not", requires=(*SOUND, "OI313"))
def momentum_wiped(context: Context) -> Iterable[Complaint]:
    """exp_avg is exactly 0 everywhere while exp_avg_sq is not.

    Why a resume breaks: momentum was wiped: the next updates are too small and noisy.
    Harmless when: the gradient has been exactly 0 for a thousand steps, so that m faded below the smallest number.
    Repair: take the save before this one.
    Seen: state that was rebuilt from one of its two halves; quantised moments that rounded to zero.
    """
    found: Found = []
    for subject in context.subjects:
        pair = _moments(context, subject)
        if pair is not None and _zero(pair[0]) and not _zero(pair[1]) and pair[1].count:
            found.append((subject, "exp_avg", f"0 in all {pair[0].count:,} elements, while exp_avg_sq is not"))
    return context.each(found)


@rule("OI315", Severity.ERROR, title="a weight is zero everywhere", requires=(*SOUND, "OI313", "OI314"))
def weight_lost(context: Context) -> Iterable[Complaint]:
    """All elements of a weight are 0, though its moments say that it is being moved.

    Why a resume breaks: the weight was lost or never written; training goes on from nothing there.
    Harmless when: it starts at 0 and its learning rate has been 0 so far (not looked at: fewer than 3 steps, lr 0).
    Repair: take the weight from the save before this one.
    Seen: sharded saves with a missing part; files filled up with zeros after a full disk.
    """
    found = []
    for subject in context.subjects:
        pair, weight = _moments(context, subject), context.facts.weight(subject)
        if pair is None or not subject.group.number_of("lr") or (subject.state.step or 0) < 3:
            continue
        if _zero(weight) and weight is not None and weight.count > 1 and not _zero(pair[0]):
            found.append((subject, f"all {weight.count:,} elements are 0, while its moments are not"))
    return context.weights(found)


def _outlier(found: Statistics | None, least: float, gap: float) -> float | None:
    """The largest magnitude where at most 3 elements (or 1 in 1,000) lie `gap` binary exponents above all others."""
    top = found.abs_max if found is not None else None
    if found is None or top is None or top < least or found.count < 4:
        return None
    exponent = frexp(top)[1] - 1
    rest = [e for e in found.log2_histogram if e <= exponent - gap]
    near = sum(count for e, count in found.log2_histogram.items() if exponent - gap < e)
    return top if rest and near <= max(3, found.histogram_sample // 1000) else None


@rule("OI316", Severity.WARNING, title="an element is out of all proportion", requires=(*SOUND, "OI304", "OI305"))
def outlier(context: Context) -> Iterable[Complaint]:
    """Very few elements are a million times larger than all others of their tensor.

    Why a resume breaks: one such weight saturates what it feeds; one such v freezes its weight for thousands of steps.
    Harmless when: the value is meant (a mask stored as a parameter).
    Repair: compare with the save before this one: a flipped exponent bit looks like this.
    Seen: bit flips in memory before saving, which no checksum shows; overflow in one row.
    """
    found: Found = []
    weights = []
    limits = context.facts.terms.thresholds
    told = f"one element is {{:.3g}}, others are 2^{limits.outlier_gap:g} times smaller"
    for subject in context.subjects:
        for slot, statistics in context.facts.statistics(subject).items():
            tensor = subject.tensors.get(slot)
            plain = tensor is not None and tensor.dtype.kind == "float"
            top = _outlier(statistics, limits.outlier_state, limits.outlier_gap) if plain else None
            if top is not None:
                found.append((subject, slot, told.format(top)))
        top = _outlier(context.facts.weight(subject), limits.outlier_weight, limits.outlier_gap)
        if top is not None:
            weights.append((subject, told.format(top)))
    yield from context.weights(weights)
    yield from context.each(found)


@rule("OI317", Severity.WARNING, title="float32 values that were rounded to bfloat16", requires=SOUND)
def rounded(context: Context) -> Iterable[Complaint]:
    """All float32 weights, or all float32 tensors of a slot, end in 16 zero bits: they were bfloat16 for a while.

    Why a resume breaks: a training in float32 leaves digits in these bits; they were lost on the way to the file, and
    the resumed run differs from the one that went on.
    Harmless when: no step was taken since the weights were loaded from a bfloat16 file (not looked at).
    Repair: save before the cast; keep the float32 master weights.
    Seen: torchtitan#4615, fairscale#50; conversion scripts that pass through bfloat16.
    """
    for number, optimizer in context.optimizers:
        subjects = [each for each in context.subjects if each.optimizer == number and (each.state.step or 0) > 0]
        slots = dict.fromkeys(slot for each in subjects for slot in (None, *each.tensors))
        for slot in slots:
            seen = [(each, context.facts.peculiar(each.key)) for each in subjects]
            held = [(each, one) for each, one in seen if one.rough.get(slot) or one.fine.get(slot)]
            total = sum(one.rough.get(slot, 0) for _, one in held)
            if total < ROUNDED or any(one.fine.get(slot) for _, one in held):
                continue
            model = next((each.named.model for each, _ in held if each.named.model is not None), None)
            route = join(optimizer.route, "state") if slot is not None or model is None else None
            route = route or context.facts.checkpoint.models[model or 0].route
            what = f"{slot} of all" if slot is not None else "the weights of all"
            told = f"{what} {len(held):,} float32 parameters end in 16 zero bits: they were rounded to bfloat16"
            yield Complaint(told, route, None, ((number, "rounded", slot),))


@rule("OI318", Severity.NOTE, title="updates too small to move the weights", requires=(*SOUND, "OI304"))
def still(context: Context) -> Iterable[Complaint]:
    """Most updates of a bfloat16 or float16 weight are less than half of its last digit: they round to nothing.

    Why it matters: training stands still there, whatever the loss says: lr·|m̂|/(√v̂+eps) < |θ|·2⁻⁹ (bfloat16).
    Harmless when: float32 master weights, stochastic rounding or Kahan summation are used outside of this file.
    Repair: keep float32 master weights, or raise the learning rate.
    Seen: torchtune#2254, OneTrainer#996, torchao PR#1124.
    """
    still_, movable, first = 0, 0, None
    limit = context.facts.terms.thresholds.inert_updates
    for subject in context.subjects:
        seen = context.facts.peculiar(subject.key)
        still_, movable = still_ + seen.still, movable + seen.movable
        first = first or (subject if seen.movable and seen.still > seen.movable * limit else None)
    if not movable:
        raise Skip("no weights in bfloat16 or float16 with an Adam-like state")
    if first is not None and still_ > movable * limit:
        share = still_ / movable
        yield context.about(first, f"{share:.0%} of all updates round to nothing in the weights' dtype")


RULES: tuple[Rule, ...] = (dead, momentum_wiped, weight_lost, outlier, rounded, still)
