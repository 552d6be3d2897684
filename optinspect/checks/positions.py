"""OI703, OI707 to OI709: where a scheduler is, and whether its own numbers can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from optinspect.checkpoint import Companion
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.counters import COUNTS
from optinspect.checks.courses import (
    RESTARTING,
    astray,
    disagreements,
    last_epoch,
    moved,
    no_length,
    numbers,
    pairs,
    state_of,
    wrong_number,
    wrong_place,
)
from optinspect.checks.facts import Facts
from optinspect.checks.skipped_steps import explained
from optinspect.layouts.base import last
from optinspect.report import Severity

LENGTHS = frozenset({"max_steps", "total_steps", "max_iters", "train_steps", "num_train_steps", "max_train_steps"})
VALUES = ("OI501", "OI505", "OI510", "OI206", "OI210", "OI709")


def some(context: Context) -> None:
    if not context.facts.checkpoint.schedulers:
        raise Skip("no scheduler in the file")
    if not context.facts.checkpoint.optimizers:
        raise Skip("no optimizer in the file")


@rule("OI709", Severity.ERROR, title="impossible numbers in a scheduler", requires=("OI203", "OI206"))
def numbers_wrong(context: Context) -> Iterable[Complaint]:
    """`base_lrs` or `_last_lr` hold NaN, Inf, a negative number, a text or none at all; `last_epoch` is below −1 or no
    number; or a length by which the schedule divides is 0 (`T_max`, `step_size`, `total_size`, `T_i`).

    Why a resume breaks: the next scheduler step sets the lr of every group from them, or raises TypeError, ValueError
    or ZeroDivisionError.
    Harmless when: never.
    Repair: take the scheduler of the save before this one, or make a new one at last_epoch.
    Seen: schedules that divide by zero (a warm-up of no steps), states rebuilt by hand.
    """
    some(context)
    owners = {each.route: number for number, _, each in pairs(context.facts)}
    for companion in context.facts.checkpoint.schedulers:
        spots = ((owners.get(companion.route, companion.route),),)
        state = state_of(companion)
        for key in ("base_lrs", "_last_lr"):
            wrong = wrong_number(state.get(key))
            if wrong is not None:
                yield Complaint(f"{key} holds {wrong}", f"{companion.route}.{key}", spots=spots)
                break
        else:
            for key, wrong in (*wrong_place(companion), *no_length(companion)):
                yield Complaint(f"{key} is {wrong}", f"{companion.route}.{key}", spots=spots)


@rule(
    "OI703", Severity.ERROR, title="the scheduler knows another number of groups", requires=("OI206", "OI210", "OI709")
)
def group_count(context: Context) -> Iterable[Complaint]:
    """`base_lrs` or `_last_lr` of the scheduler has another length than the optimizer has groups.

    Why a resume breaks: zip() stops at the shorter one: some groups keep their lr for ever, or IndexError is raised.
    Harmless when: never.
    Repair: give base_lrs one value a group, in the order of the groups.
    Seen: groups added while fine-tuning (dsve-loc#13, rslearn#236); groups that were merged.
    """
    some(context)
    for number, optimizer, companion in pairs(context.facts):
        for key in ("base_lrs", "_last_lr"):
            told = numbers(state_of(companion).get(key))
            if told is not None and optimizer.groups and len(told) != len(optimizer.groups):
                message = f"{key} has {len(told)} values for {len(optimizer.groups)} parameter groups"
                yield Complaint(message, f"{companion.route}.{key}", spots=((number,),))
                break


@rule("OI707", Severity.WARNING, title="the scheduler's position is not its own", requires=(*VALUES, *COUNTS))
def position(context: Context) -> Iterable[Complaint]:
    """`last_epoch` is not where the scheduler's own count (`_step_count` − 1) and the optimizer's steps say, or where
    the parts of the scheduler are: `T_cur` of warm restarts, the active one of several in a row.

    Why a resume breaks: the schedule restarts its warm-up, or skips a part: the lr jumps at the first step.
    Harmless when: last_epoch counts epochs; then the optimizer's steps do not agree with `_step_count` either, and
    nothing is said.
    Repair: set last_epoch to the number of scheduler steps that were done.
    Seen: speculators#900 (an epoch taken for a step), Lightning#5455, gradual-warmup#27, accelerate#662.
    """
    some(context)
    for number, optimizer, companion in pairs(context.facts):
        epoch, count = last_epoch(companion), state_of(companion).get("_step_count")
        step = context.facts.furthest[number]
        if epoch is None or not context.sound((number,)):
            continue
        told = astray(companion, epoch)
        if told is not None or not isinstance(count, int) or step is None or companion.name == RESTARTING:
            pass
        elif _counted(context.facts, count - 1, step) and abs(epoch - step) > 1 and abs(count - 1 - epoch) > 1:
            told = f"last_epoch is {epoch}, but it has made {count - 1} steps, and the optimizer {step:g}"
        elif epoch == 0 and count <= 1 < step and (_begun(context.facts, number) or moved(optimizer, companion)):
            told = f"last_epoch is 0, as if it had just been made, but the optimizer is at step {step:g}"
        if told is not None:
            yield Complaint(told, f"{companion.route}.last_epoch", spots=((number,),))


def _counted(facts: Facts, count: int, step: float) -> bool:
    """Whether so many steps of the scheduler are those of the optimizer, but for what a GradScaler skipped."""
    return abs(count - step) <= 1 or (bool(facts.checkpoint.scalers) and explained(facts, step, count))


def _begun(facts: Facts, number: int) -> bool:
    """Whether a scheduler at 0 is no schedule by epochs in its first one: the lr was moved, or an epoch is over."""
    epochs = (value for route, value in facts.checkpoint.counters.items() if "epoch" in last(route).lower())
    return max(epochs, default=0) > 1 or any(other == number for other, _, _, _ in disagreements(facts))


@rule("OI708", Severity.WARNING, title="the schedule is past the end of the run", requires=(*VALUES, "OI707"))
def past_end(context: Context) -> Iterable[Complaint]:
    """The scheduler has made more steps than the run is to have in all, while the optimizer has made fewer.

    Why a resume breaks: the lr of the end (often 0) is used for the rest of the run; OneCycleLR raises an error.
    Harmless when: the scheduler is stepped once a process (accelerate), and its length was set accordingly.
    Repair: set last_epoch to the number of steps, and lr to what the schedule gives there.
    Seen: accelerate#662, speculators#900, pytorch#78003 (lr stuck at 0).
    """
    some(context)
    for number, _, companion in pairs(context.facts):
        epoch, step = last_epoch(companion), context.facts.furthest[number]
        if epoch is None or step is None or not context.sound((number,)):
            continue
        for route, limit in _limits(context.facts, companion):
            if step <= limit < epoch:
                told = f"last_epoch is {epoch}, beyond {route} of {limit:g}; the optimizer is at step {step:g}"
                yield Complaint(told, f"{companion.route}.last_epoch", spots=((number,),))
                break


def _limits(facts: Facts, companion: Companion) -> Iterator[tuple[str, float]]:
    """How many steps the run is to have, as its configuration and the scheduler say."""
    total = state_of(companion).get("total_steps")
    if isinstance(total, int):
        yield "total_steps", total
    for route, value in facts.checkpoint.other.items():
        for key, item in value.items() if isinstance(value, Mapping) else ():
            if key in LENGTHS and isinstance(item, int) and item > 0:
                yield f"{route}.{key}", item


OWN: tuple[Rule, ...] = (numbers_wrong, group_count)
RULES: tuple[Rule, ...] = (position, past_end)
