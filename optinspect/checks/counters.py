"""OI4xx: how many steps were taken, and do all who count agree?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import isfinite

from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.courses import disagreeing, last_epoch
from optinspect.checks.facts import Facts
from optinspect.checks.skipped_steps import explained
from optinspect.checks.values import BYTES, Found
from optinspect.layouts.base import join, last
from optinspect.plain import plain
from optinspect.report import Severity
from optinspect.subjects import Subject
from optinspect.tensors import CompositeRef, TensorRef

LIMITS = {"float32": 2**24, "float16": 2**11, "bfloat16": 2**8}
"""The count from which one more is lost in rounding."""
COUNTER = re.compile(
    r"(?:(?:global|current|cur|train|optimizer|opt|total|completed|n|num)_)*"
    r"(?:steps?|it|iters?|iterations?|iter_num|updates?)(?:_num|_count|_completed)?",
    re.IGNORECASE,
)
MOST_BATCHES = 128
"""A counter further ahead does not count batches of one step: the optimizer was begun anew."""
COUNTS = ("OI401", "OI402", "OI403")


@rule("OI401", Severity.ERROR, title="a step count is no count", requires=BYTES)
def no_count(context: Context) -> Iterable[Complaint]:
    """`step` is NaN, infinite, negative or not a whole number; or a text, a list, a tensor of several elements.

    Why a resume breaks: bias corrections 1 − β^t become NaN or change their sign: one update destroys the weights. What
    is no number raises ValueError when it is loaded, or RuntimeError in the step.
    Harmless when: never.
    Repair: set every step to the number of updates that were done.
    Seen: counters that were averaged over ranks, initialised to −1, or cast with the rest of the state.
    """
    found: Found = []
    for subject in context.subjects:
        step = subject.state.step
        if step is not None and (not isfinite(step) or step < 0 or step != int(step)):
            found.append((subject, "step", f"step is {step:g}"))
        elif step is None and subject.state.slots.get("step") is not None and _counts(context, subject):
            found.append((subject, "step", f"step is {_no_number(subject.state.slots['step'])} (one number expected)"))
    return context.each(found)


def _counts(context: Context, subject: Subject) -> bool:
    """Whether its optimizer is known to keep one number as `step`, and this is none that could not be read."""
    description, stored = context.facts.description(subject), subject.state.slots["step"]
    readable = not isinstance(stored, TensorRef | CompositeRef) or stored.numel != 1
    return readable and description is not None and description.kind("step") == "scalar"


def _no_number(stored: object) -> str:
    if isinstance(stored, TensorRef | CompositeRef):
        return f"of shape {list(stored.shape)}"
    return f"{plain(stored, nodes=8)!r}"[:40]


@rule("OI402", Severity.ERROR, title="a step count that cannot grow", requires=(*BYTES, "OI401"))
def saturated(context: Context) -> Iterable[Complaint]:
    """`step` has reached the count from which its dtype cannot add 1: 256 in bfloat16, 2048 in float16, 2²⁴ in float32.
    A warning where one of torch's own optimizers is on its way there in bfloat16 or float16.

    Why a resume breaks: the bias correction stays where it is: with bfloat16 √(1 − 0.999^256) = 0.475, so that updates
    stay twice too small for ever.
    Harmless when: the count is so large that the corrections are 1 anyway (float32), and nothing else reads it.
    Repair: keep `step` in float32 (torch's default); set it to the number of updates.
    Seen: torchao PR#4915, DeepSpeed PR#8496: a whole optimizer cast to bfloat16.
    """
    found: Found = []
    coming: Found = []
    for subject in context.subjects:
        stored, step = subject.state.slots.get("step"), subject.state.step
        limit = LIMITS.get(stored.dtype.name) if isinstance(stored, TensorRef) else None
        if limit is not None and step is not None and step >= limit and isinstance(stored, TensorRef):
            found.append((subject, "step", f"step is {step:g}: one more is lost in {stored.dtype.name}"))
        elif limit in HALVES and isinstance(stored, TensorRef) and _torchs(context, subject):
            coming.append((subject, "step", f"{stored.dtype.name} counts to {limit} and stops there"))
    yield from context.each(found)
    for each in context.each(coming):
        yield replace(each, severity=Severity.WARNING)


HALVES = (LIMITS["float16"], LIMITS["bfloat16"])


def _torchs(context: Context, subject: Subject) -> bool:
    description = context.facts.description(subject)
    return description is not None and description.source == "torch.optim"


@rule("OI403", Severity.ERROR, title="step 0 with moments", requires=(*BYTES, "OI401"))
def reset(context: Context) -> Iterable[Complaint]:
    """`step` is 0, but the moments are not zero.

    Why a resume breaks: the bias correction starts again on full averages: the next updates are up to 1/(1 − β1) times
    too large, or √(1/(1 − β2)) times too small.
    Harmless when: the counter was reset on purpose together with the schedule; then reset the moments as well.
    Repair: set step to the number of updates that were done.
    Seen: gaussian_splatting#32, DeepSpeed#562 ("Optimizer lost track of step count!").
    """
    found: Found = []
    for subject in context.subjects:
        description = context.facts.description(subject)
        m_slot = description.m_slot if description is not None and description.source == "torch.optim" else None
        statistics = context.facts.statistics(subject).get(m_slot or "")
        if subject.state.step == 0 and statistics is not None and statistics.norm:
            found.append((subject, "step", "step is 0, while the moments are not"))
    return context.each(found)


@rule("OI404", Severity.WARNING, title="step counts differ", requires=(*BYTES, "OI203", "OI208", "OI210", *COUNTS))
def differ(context: Context) -> Iterable[Complaint]:
    """Some parameters have taken another number of steps. A warning where others of the same module have not.

    Why a resume breaks: their bias corrections are those of another moment; they were reset, or their state is of
    another save.
    Harmless when: whole modules were frozen, used later, or not routed to (experts): then it is only noted.
    Repair: compare with the save before this one.
    Seen: prime-rl#3399, torchtitan#4474, EasyR1#275; states that were merged.
    """
    for number, _ in context.optimizers:
        subjects = [each for each in context.subjects if each.optimizer == number and each.state.step is not None]
        usual = Counter(each.state.step for each in subjects).most_common(1)[0][0] if subjects else None
        odd = [each for each in subjects if each.state.step != usual]
        alone = [each for each in odd if any(one.state.step == usual for one in context.facts.beside(each))]
        told = "step {:g}, while others of its module are at {:g}"
        yield from context.each([(each, "step", told.format(each.state.step, usual)) for each in alone])
        rest = [each for each in odd if each not in alone]
        if rest:
            yield replace(
                context.about(rest[0], _ranges(rest, usual), "step", Severity.NOTE), spots=((number, "steps"),)
            )


def _ranges(subjects: list[Subject], usual: float | None) -> str:
    steps = sorted({each.state.step for each in subjects if each.state.step is not None})
    span = f"{steps[0]:g}" if len(steps) == 1 else f"{steps[0]:g} to {steps[-1]:g}"
    return f"{len(subjects):,} parameters are at step {span}, the others at {usual:g}"


@dataclass(frozen=True, slots=True)
class Witness:
    """Something beside the optimizer that counts: `ahead` steps of it."""

    route: str
    count: float
    scheduler: bool


def _witnesses(facts: Facts) -> Iterator[Witness]:
    for route, value in facts.checkpoint.counters.items():
        if COUNTER.fullmatch(last(route)) and value > 0:
            yield Witness(route, value, False)
    for each in facts.checkpoint.schedulers:
        count = last_epoch(each)
        if count is not None and count > 0:
            yield Witness(f"{each.route}.last_epoch", count, True)


def multiple(count: float, step: float, late: int = 1) -> int | None:
    """k ≥ 2 with count = k·step, `late` less, or up to k − 1 batches more that made no step yet; None without one."""
    for batches in (count, count + late) if step >= 1 else ():
        ratio = int(batches // step)
        if 2 <= ratio <= MOST_BATCHES and count - ratio * step <= ratio - 1:
            return ratio
    return None


@rule(
    "OI405",
    Severity.WARNING,
    title="the optimizer's step is not the run's",
    requires=(*BYTES, "OI203", "OI206", "OI207", "OI215", "OI501", "OI401", "OI402", "OI403", "OI404"),
)
def stale(context: Context) -> Iterable[Complaint]:
    """The step count of the state disagrees with the run's counter and the scheduler's position.

    Why a resume breaks: files or parts of different moments were put together: weights of step 20 with the moments of
    step 5, or a schedule that is ahead of the optimizer.
    Harmless when: a counter counts batches and several of them make a step (a note where the ratio is whole), a
    GradScaler skipped some steps, or the counter starts again each epoch.
    Repair: use a model, an optimizer and a scheduler that were saved together.
    Seen: adaptdl#81 (killed between two files), DeepSpeed#7405, LlamaFactory#655, torchtitan#930.
    """
    facts = context.facts
    known = Counter(each.state.step for each in context.subjects if each.state.step is not None)
    if len(facts.checkpoint.optimizers) != 1 or not context.optimizers or not known:
        raise Skip("no single optimizer that counts its steps")
    witnesses = list(_witnesses(facts))
    if not witnesses:
        raise Skip("nothing else in the file counts steps")
    limits = facts.terms.thresholds
    furthest = facts.furthest[0]
    near = furthest is not None and any(abs(each.count - furthest) <= limits.step_slack for each in witnesses)
    step = furthest if near and furthest is not None else max(known)  # who is seldom used (an expert) has taken fewer
    odd = [each for each in witnesses if abs(each.count - step) > limits.step_slack]
    counters = [each for each in odd if not each.scheduler]
    agreeing = [each for each in odd if each.scheduler and _near(each, counters, limits.step_slack)]
    route = join(facts.checkpoint.optimizers[0].route, "state")
    skips = bool(facts.checkpoint.scalers)
    skipped = skips and bool(agreeing) and explained(facts, step, agreeing[0].count)
    if agreeing and not (skipped and not disagreeing(facts)):
        both = f"{counters[0].route} and {agreeing[0].route} are at {counters[0].count:g}"
        told = f"the state is at step {step:g}, but {both}"
        yield Complaint(told, route, spots=((0,),))
        return
    for each in counters[:1]:
        ratio = multiple(each.count, step)
        told = f"the state is at step {step:g}, {each.route} at {each.count:g}"
        note = ((0, "note"),)
        if ratio is not None:
            yield Complaint(f"{told}: {ratio} batches a step?", each.route, None, note, Severity.NOTE)
        elif each.count < step or (skips and explained(facts, step, each.count)):
            why = "a counter that starts again?" if each.count < step else "steps that the scaler skipped?"
            yield Complaint(f"{told}: {why}", each.route, None, note, Severity.NOTE)
        else:
            yield Complaint(told, route, spots=((0,),))
    ahead = [each for each in odd if each.scheduler and each.count > step]
    for each in ahead[:1] if not counters else ():
        ratio, told = multiple(each.count, step, 0), f"the state is at step {step:g}, {each.route} at {each.count:g}"
        if ratio is not None:
            yield Complaint(f"{told}: {ratio} of its steps a step?", each.route, None, ((0, "note"),), Severity.NOTE)
        elif not (skips and explained(facts, step, each.count)):
            yield Complaint(told, route, spots=((0,),))


def _near(one: Witness, others: list[Witness], slack: float) -> bool:
    return any(abs(one.count - each.count) <= slack for each in others)


RULES: tuple[Rule, ...] = (no_count, saturated, reset, differ)
AGAINST_OTHERS: tuple[Rule, ...] = (stale,)
