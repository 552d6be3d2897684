"""OI301 to OI306: can these numbers be what an optimizer computed?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf

from optinspect.checks.base import MANY, Complaint, Context, Rule, Skip, rule
from optinspect.containers.wording import counted
from optinspect.layouts.base import join
from optinspect.optimizers import Optimizer
from optinspect.report import Severity
from optinspect.statistics import Statistics
from optinspect.subjects import Subject

BYTES = ("OI101", "OI102", "OI103", "OI104")
"""A file whose bytes are wrong says nothing about the run."""
SQUARES = frozenset(
    {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf", "v", "exp_avg_sq_row", "exp_avg_sq_col"}
    | {"acc_delta", "row_var", "col_var", "variance"}
)
"""Slots that hold means or sums of squares, or absolute values, in every optimizer known."""
ADAM = ("exp_avg", "exp_avg_sq")
SMALL = ("float16", "float8_e4m3fn", "float8_e5m2")

Found = list[tuple[Subject, str | None, str]]


def wild(found: Statistics) -> str:
    """ "3 NaN and 1 Inf", or nothing."""
    counts = ((found.nans, "NaN"), (found.infs, "Inf"))
    return " and ".join(f"{count:,} {what}" for count, what in counts if count)


@rule(
    "OI301",
    Severity.ERROR,
    title="NaN or Inf in the optimizer's state",
    requires=BYTES,
    repair="take the last save without them: they do not go away",
)
def state_not_finite(context: Context) -> Iterable[Complaint]:
    """A moment holds NaN or Inf.

    Why a resume breaks: an average that holds NaN keeps it for ever: the parameter becomes NaN at the next step.
    Harmless when: never.
    Repair: take the last save without them; or delete the parameter's state, so that it starts again.
    Seen: fp16 overflow without a scaler (ultralytics#17282), NeMo-RL#3544, bitsandbytes#1382.
    """
    found: Found = []
    for subject in context.subjects:
        for slot, statistics in context.facts.statistics(subject).items():
            if wild(statistics):
                found.append((subject, slot, f"{wild(statistics)} of {counted(statistics.count, 'element')}"))
    return context.each(found)


@rule(
    "OI302",
    Severity.ERROR,
    title="NaN or Inf in the weights",
    requires=BYTES,
    repair="take the last save without them",
)
def weight_not_finite(context: Context) -> Iterable[Complaint]:
    """A weight that the optimizer steps holds NaN or Inf, or a frozen one NaN. NaN in a buffer or in an average of the
    weights is a warning; Inf is left alone there: masks and observers hold it by design.

    Why a resume breaks: one NaN spreads over the whole network in one forward pass.
    Harmless when: the tensor is a buffer (an attention mask).
    Repair: take the last save without them.
    Seen: DeepFilterNet#30, SiT#4; steps taken after an overflow.
    """
    facts = context.facts
    found = []
    for subject in context.subjects:
        statistics = facts.weight(subject)
        if statistics is not None and wild(statistics):
            found.append((subject, f"{wild(statistics)} of {counted(statistics.count, 'element')}"))
    yield from context.weights(found)
    if not found:
        loose = list(_loose(context))
        yield from loose[:MANY]
        if len(loose) > MANY:
            told = f"{loose[MANY].message}; and NaN in {len(loose) - MANY:,} tensors altogether beside the first {MANY}"
            yield replace(loose[MANY], message=told, spots=tuple(spot for one in loose[MANY:] for spot in one.spots))


def _loose(context: Context) -> Iterator[Complaint]:
    """NaN in tensors that no optimizer steps."""
    facts = context.facts
    for place, (number, entry) in enumerate(facts.loose):
        measured, model = facts.measured.get((None, place)), facts.checkpoint.models[number]
        averaged = model.role == "ema"
        if measured is None or measured.weight is None or not measured.weight.nans:
            continue
        if entry.key.rpartition(".")[2] in ("running_mean", "running_var") or model.role == "copy":
            continue
        severity = Severity.WARNING if averaged or entry.is_buffer or not facts.checkpoint.optimizers else None
        told = f"{wild(measured.weight)} of {counted(measured.weight.count, 'element')}"
        told += ", in an average of the weights" if averaged else ", in no group of the optimizer"
        yield Complaint(told, join(model.route, entry.key), entry.name, (("tensor", entry.name),), severity)


@rule("OI303", Severity.ERROR, title="values that a slot never has", requires=(*BYTES, "OI301"))
def out_of_range(context: Context) -> Iterable[Complaint]:
    """Elements of a second moment are below zero (−0.0 is zero); or another slot is outside of its range: Rprop's
    step_size is above 0, NAdam's mu_product between 0 and 1 (and 0 when it has faded), ASGD's eta not negative.

    Why a resume breaks: √v is NaN, and so is the parameter after the next step. A step size of 0 or a wrong product
    makes the next steps too small, too large, or turns them round.
    Harmless when: never: means of squares cannot be negative.
    Repair: take the save before this one.
    Seen: damaged tensors, wrong quantisation, custom kernels (tt-metal#46776, FlagGems#4988).
    """
    found: Found = []
    for subject in context.subjects:
        known = context.facts.description(subject)
        found += [(subject, slot, told) for slot, told in _outside(context, subject, known)]
        for slot, statistics in context.facts.statistics(subject).items():
            tensor = subject.tensors.get(slot)
            if known is not None and slot in known.signed:
                continue
            if slot in SQUARES and tensor is not None and tensor.dtype.kind == "float" and (statistics.min or 0) < 0:
                found.append((subject, slot, f"negative elements, the lowest {statistics.min:.3g}"))
    return context.each(found)


def _outside(context: Context, subject: Subject, known: Optimizer | None) -> Iterator[tuple[str, str]]:
    """Slots whose lowest or highest element is none that the optimizer leaves there after a step, and the element."""
    step, settings = subject.state.step or 0, subject.group.hyperparameters
    for slot, within in known.ranges.items() if known is not None and step >= 1 else ():
        statistics, stored = context.facts.statistics(subject).get(slot), subject.state.slots.get(slot)
        ends = (statistics.min, statistics.max) if statistics is not None else (stored,)
        numbers = (one for one in ends if isinstance(one, int | float))
        wrong = next((one for one in numbers if not within.takes(one, settings, step)), None)
        if wrong is not None:
            above = f"above {within.low:g}" if within.high == inf else f"between {within.low:g} and {within.high:g}"
            yield slot, f"{wrong:g} ({above} expected)"


@rule(
    "OI304",
    Severity.ERROR,
    title="moments that no gradients produce",
    requires=(*BYTES, "OI301", "OI303", "OI308", "OI310", "OI401", "OI403", "OI404", "OI502"),
)
def impossible_pair(context: Context) -> Iterable[Complaint]:
    """|exp_avg| exceeds what exp_avg_sq allows: m² ≤ C(t)·v holds for any gradients (Cauchy–Schwarz).

        C(t) = (1−β1)²/(1−β2) · (1−r^t)/(1−r),  r = β1²/β2;  for grad_avg and square_avg of RMSprop, C = 1

    Why a resume breaks: updates m̂/√v̂ are larger than Adam's bound: one of the two was scaled, flushed to zero, cut,
    or belongs to another parameter or other betas. RMSprop with centered=True takes √(square_avg − grad_avg²): NaN.
    Harmless when: β1 or β2 were changed by hand during the run (what OneCycle does to β1 is allowed for), or state was
    edited on purpose.
    Repair: take the save before this one, or set v to max(v, m²/C(t)), the smallest that is possible.
    Seen: v that vanished in float16 (ultralytics PR#24085), unscaled gradients in m, bit rot.
    """
    found: Found = []
    for subject in context.subjects:
        seen = context.facts.peculiar(subject.key)
        if seen.impossible:
            times = f"up to {seen.ratio:.3g} times" if seen.ratio < 1e18 else "far"
            known = context.facts.description(subject)
            mean, square = (known.centred if known is not None and known.centred else ADAM)[:2]
            told = f"{mean} is {times} beyond what {square} allows in {counted(seen.impossible, 'element')}"
            found.append((subject, mean, told))
    return context.each(found)


@rule("OI305", Severity.ERROR, title="AMSGrad's maximum is below its moment", requires=(*BYTES, "OI301", "OI303"))
def maximum_below(context: Context) -> Iterable[Complaint]:
    """max_exp_avg_sq is smaller than exp_avg_sq, of which it is the running maximum.

    Why a resume breaks: steps are divided by too little; the guarantee of AMSGrad is gone.
    Harmless when: never.
    Repair: set it to max(max_exp_avg_sq, exp_avg_sq).
    Seen: pytorch#78807: the foreach implementation did not update the maximum.
    """
    found: Found = []
    for subject in context.subjects:
        shrunk = context.facts.peculiar(subject.key).shrunk
        if shrunk:
            found.append((subject, "max_exp_avg_sq", f"below exp_avg_sq in {counted(shrunk, 'element')}"))
    return context.each(found)


@rule(
    "OI306",
    Severity.WARNING,
    title="second moments vanished in a small dtype",
    requires=(*BYTES, "OI301", "OI304", "OI308"),
)
def flushed(context: Context) -> Iterable[Complaint]:
    """exp_avg_sq is 0 where exp_avg is not, in a dtype whose smallest number is 6e-8: the squares were rounded to zero.

    Why a resume breaks: the update is divided by eps alone: loss explodes by a factor of a thousand.
    Harmless when: training runs with these very moments and has survived it so far.
    Repair: keep moments in float32; set v to max(v, m²/C(t)) before going on.
    Seen: ultralytics#24079 (a cast to half when saving), #17282.
    """
    found: Found = []
    small = False
    for subject in context.subjects:
        measured = context.facts.measured.get(subject.key)
        v = subject.tensors.get(measured.bundle.terms.v_slot) if measured and measured.bundle.terms else None
        if measured is None or measured.joint is None or v is None or v.dtype.name not in SMALL:
            continue
        small = True
        if measured.joint.lost_v:
            share = measured.joint.lost_v / max(v.numel, 1)
            slot = measured.bundle.terms.v_slot if measured.bundle.terms else None
            found.append((subject, slot, f"0 in {share:.1%} of elements"))
    if not small:
        raise Skip("no second moments in a small dtype")
    yield from context.each(found)


RULES: tuple[Rule, ...] = (state_not_finite, weight_not_finite, out_of_range)
BETWEEN: tuple[Rule, ...] = (impossible_pair, maximum_below, flushed)
"""On two slots beside each other: after what is wrong with one of them."""
