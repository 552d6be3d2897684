"""OI701 to OI706: the learning rate's schedule against the groups that it sets."""

from __future__ import annotations

from collections.abc import Iterable

from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.courses import COURSES, disagreements, last_epoch, lrs, numbers, pairs, same, state_of
from optinspect.checks.positions import VALUES, some
from optinspect.layouts.base import join
from optinspect.layouts.companions import SCHEDULER_NAME
from optinspect.report import Severity


@rule("OI704", Severity.WARNING, title="base_lrs are not the groups' initial_lr", requires=(*VALUES, "OI703"))
def base_lrs(context: Context) -> Iterable[Complaint]:
    """The scheduler starts from other learning rates than the groups have noted as `initial_lr`.

    Why a resume breaks: schedulers that compute from base_lrs and those that read initial_lr give different values;
    rebuilding the scheduler changes the whole schedule by their ratio.
    Harmless when: several schedulers were made one after the other, each from its own start.
    Repair: make both the lr that the run began with.
    Seen: learning rates changed on resume in one place only (musubi#104, pytorch#156846).
    """
    some(context)
    tolerance = context.facts.terms.thresholds.lr_tolerance
    for number, optimizer, companion in pairs(context.facts):
        told = numbers(state_of(companion).get("base_lrs"))
        held = numbers([group.number_of("initial_lr") for group in optimizer.groups])
        several = sum(True for other, _, _ in pairs(context.facts) if other == number) > 1
        if told is None or held is None or len(told) != len(held) or several or not context.sound((number,)):
            continue
        wrong = next((n for n, (a, b) in enumerate(zip(told, held, strict=True)) if not same(a, b, tolerance)), None)
        if wrong is not None:
            message = f"base_lrs[{wrong}] is {told[wrong]:g}, initial_lr of group {wrong} is {held[wrong]:g}"
            yield Complaint(message, f"{companion.route}.base_lrs", spots=((number,),))


@rule(
    "OI701",
    Severity.ERROR,
    title="lr is not what the scheduler set",
    requires=(*VALUES, "OI405", "OI703", "OI707", "OI708"),
)
def last_lr(context: Context) -> Iterable[Complaint]:
    """The lr of a group is not the scheduler's `_last_lr`.

    Why a resume breaks: the next step uses a wrong lr; schedulers that multiply the current one (StepLR, LinearLR, …)
    keep the error for ever.
    Harmless when: your code changed lr by hand after the scheduler's step, and will do so again.
    Repair: load the scheduler before the optimizer, or set lr to _last_lr.
    Seen: pytorch#119168, #65342, yolov5#292, nanotron#256: a scheduler built after the optimizer was loaded.
    """
    some(context)
    for number, optimizer, companion, (group, held, told) in disagreements(context.facts):
        if context.sound((number,), (number, "group", group)):
            message = f"lr is {held:g}, {companion.route}._last_lr[{group}] is {told:g}"
            route = context.group_route(optimizer, optimizer.groups[group], "lr")
            yield Complaint(message, route, spots=((number,),))


@rule(
    "OI702",
    Severity.WARNING,
    title="lr is off its schedule",
    requires=(*VALUES, "OI405", "OI701", "OI703", "OI704", "OI707", "OI708"),
)
def closed_form(context: Context) -> Iterable[Complaint]:
    """The lr is not what the scheduler's formula gives from base_lrs and last_epoch.

    Why it matters: the schedule was restarted, changed or stepped a different number of times; or its base was.
    Harmless when: lr was changed on purpose on the way; schedulers that multiply then stay off by that factor.
    Repair: rebuild the scheduler at last_epoch, or accept the new course.
    Seen: Lightning#1772, pytorch#60265 (off by one), OneTrainer#1604 (a horizon changed on resume).
    """
    some(context)
    near = context.facts.terms.thresholds.schedule_tolerance
    for number, optimizer, companion in pairs(context.facts):
        form, state, epoch = COURSES.get(companion.name or ""), state_of(companion), last_epoch(companion)
        held, base = lrs(optimizer), numbers(state.get("base_lrs"))
        alone = sum(True for other, _, _ in pairs(context.facts) if other == number) == 1
        if form is None or epoch is None or held is None or base is None or len(held) != len(base) or not alone:
            continue
        try:
            course = [form(state, one, epoch) for one in base]
        except (ArithmeticError, KeyError, TypeError, ValueError):
            continue
        wrong = next((n for n, (a, b) in enumerate(zip(held, course, strict=True)) if not same(a, b, near)), None)
        sound = wrong is not None and context.sound((number,), (number, "group", wrong))
        if wrong is not None and sound and abs(held[wrong] - course[wrong]) > near * base[wrong]:
            told = f"lr is {held[wrong]:g}; {companion.name} gives {course[wrong]:g} after {epoch} steps"
            yield Complaint(told, context.group_route(optimizer, optimizer.groups[wrong], "lr"), spots=((number,),))


@rule("OI705", Severity.WARNING, title="initial_lr is missing", requires=("OI206", "OI215"))
def initial_lr(context: Context) -> Iterable[Complaint]:
    """A scheduler with base_lrs is saved, but no group has the `initial_lr` that it puts there.

    Why a resume breaks: a scheduler that is built with last_epoch ≥ 0 raises KeyError: "param 'initial_lr' is not
    specified"; built without, it takes the decayed lr for the initial one.
    Harmless when: the scheduler is built first and its state loaded afterwards.
    Repair: set initial_lr of each group from base_lrs.
    Seen: pytorch#140900 (DCP drops it), gan-compression#72, mozilla/TTS#57, UMI#70.
    """
    some(context)
    for number, optimizer, companion in pairs(context.facts):
        base = numbers(state_of(companion).get("base_lrs"))
        lacking = [group for group in optimizer.groups if "initial_lr" not in group.hyperparameters]
        if base is not None and lacking and context.sound((number,)):
            told = f"missing in {len(lacking)} of {len(optimizer.groups)} groups, while {companion.route} has base_lrs"
            yield Complaint(told, context.group_route(optimizer, lacking[0]), spots=((number,),))


@rule("OI706", Severity.WARNING, title="the scheduler is missing", requires=("OI219",))
def absent(context: Context) -> Iterable[Complaint]:
    """The scheduler's entry is None, while the groups carry the initial_lr of one.

    Why a resume breaks: the schedule starts again from its first step, with a warm-up that is not wanted.
    Harmless when: the schedule is a function of the step count. Without any entry for a scheduler it is only noted.
    Repair: save scheduler.state_dict().
    Seen: Lightning#12812; savers that keep None where a key has no object yet.
    """
    checkpoint = context.facts.checkpoint
    if checkpoint.schedulers or not checkpoint.optimizers:
        raise Skip("a scheduler is there" if checkpoint.schedulers else "no optimizer in the file")
    noted = [(n, o, g) for n, o, g in context.groups if "initial_lr" in g.hyperparameters]
    if not noted:
        return
    empty = next((route for route, value in checkpoint.other.items() if value is None and _is_scheduler(route)), None)
    if empty is not None:
        yield Complaint("is None, while the groups carry the initial_lr of a scheduler", empty)
    elif checkpoint.models and context.sound(("scheduler",)):
        _, optimizer, _ = noted[0]
        told = "the groups carry the initial_lr of a scheduler, whose state is not in the file"
        yield Complaint(told, join(optimizer.route, "param_groups"), None, (("scheduler",),), Severity.NOTE)


def _is_scheduler(route: str) -> bool:
    return SCHEDULER_NAME.search(route) is not None


RULES: tuple[Rule, ...] = (base_lrs, last_lr, closed_form, initial_lr, absent)
