"""OI003 and OI004: learning rate and weight decay against the ranges that a policy gives, by names or for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from optinspect.checkpoint import OptimizerState, ParamGroup
from optinspect.checks.base import Complaint, Context, Rule, Skip, Spot, rule
from optinspect.checks.expected import ALL, UNSAID, Expected, Interval, Ranges, fits
from optinspect.checks.values import Found
from optinspect.report import Severity
from optinspect.routes import same_route
from optinspect.subjects import Subject


def about(context: Context, says: Callable[[Expected], bool]) -> Iterator[tuple[Expected, int, OptimizerState]]:
    """Each expectation that says something, with each optimizer that it is about. Raises Skip where none does."""
    stated = [each for each in context.facts.terms.expected if says(each)]
    if not stated:
        raise Skip(UNSAID)
    for each in stated:
        for number, optimizer in context.optimizers:
            if each.optimizer is None or same_route(each.optimizer, optimizer.route):
                yield each, number, optimizer


def _compare(context: Context, key: str, ranges_of: Callable[[Expected], Ranges]) -> Iterator[Complaint]:
    judged = 0
    for each, number, _ in about(context, lambda one: bool(ranges_of(one))):
        ranges = ranges_of(each)
        subjects = [one for one in context.subjects if one.optimizer == number]
        if len(ranges) == 1 and ranges[0][0] == ALL:
            judged += 1
            yield from _in_groups(context, number, key, ranges[0][1])
        elif any(one.named.name for one in subjects):
            judged += 1
            yield from _in_parameters(context, subjects, key, ranges)
    if not judged:
        raise Skip("no parameter has a name to go by")


def _wrong(group: ParamGroup, key: str, allowed: Interval) -> str | None:
    value = group.number_of(key)
    if value is not None and allowed.takes(value):
        return None
    held = f"{value:g}" if value is not None else "missing" if key not in group.hyperparameters else "no number"
    return f"{key} is {held} ({allowed} expected"


def _in_groups(context: Context, number: int, key: str, allowed: Interval) -> Iterator[Complaint]:
    found = [
        (n, optimizer, group, key, f"{wrong})")
        for n, optimizer, group in context.groups
        if n == number and (wrong := _wrong(group, key, allowed)) is not None
    ]
    yield from context.alike(found)


def _in_parameters(context: Context, subjects: Sequence[Subject], key: str, ranges: Ranges) -> Iterator[Complaint]:
    found: Found = []
    for subject in subjects:
        glob, allowed = _first(subject, ranges)
        wrong = _wrong(subject.group, key, allowed) if allowed is not None else None
        if wrong is not None:
            found.append((subject, None, f"{wrong} of {glob!r})"))
    yield from context.each(found)
    idle = [glob for glob, _ in ranges if glob != ALL and not any(_called(each, glob) for each in subjects)]
    if idle:
        also = f" (nor {', '.join(map(repr, idle[1:3]))})" if len(idle) > 1 else ""
        number = subjects[0].optimizer
        spots: tuple[Spot, ...] = ((number, "glob", key),)
        route = context.facts.checkpoint.optimizers[number].route
        yield Complaint(f"no parameter is called {idle[0]!r}{also}", route, None, spots, Severity.WARNING)


def _first(subject: Subject, ranges: Ranges) -> tuple[str, Interval | None]:
    """The range that decides; None where no glob fits, or the name is not known and so could be any."""
    return next(((glob, allowed) for glob, allowed in ranges if _called(subject, glob)), ("", None))


def _called(subject: Subject, glob: str) -> bool:
    return fits((subject.named.name, *subject.named.aliases), (glob,))


@rule("OI003", Severity.ERROR, title="another learning rate than expected", requires=("OI201", "OI501", "OI505"))
def learning_rate(context: Context) -> Iterable[Complaint]:
    """The lr of a group is outside of the range that the policy gives.

    Why a resume breaks: the checkpoint's lr replaces the one of the script, whatever the script's configuration says.
    Harmless when: the schedule was changed on purpose; then change `expect.lr`.
    Repair: set lr, and `_last_lr` and `base_lrs` of the scheduler, to what the run is to have.
    Seen: pytorch#156846, pytorch/examples#816, musubi-tuner#104, stable-baselines3#735.
    """
    return _compare(context, "lr", lambda each: each.lr)


@rule("OI004", Severity.ERROR, title="another weight decay than expected", requires=("OI201", "OI504", "OI210"))
def weight_decay(context: Context) -> Iterable[Complaint]:
    """The weight_decay of a parameter is not what the policy gives for its name. A parameter without a name is not
    looked at where the policy goes by names.

    Why it matters: decay on norms, or none on matrices, changes the run slowly; the checkpoint's value replaces the
    script's.
    Harmless when: the recipe was changed on purpose; then change `expect.weight_decay`.
    Repair: set weight_decay in the group, or split the groups as the policy says.
    Seen: transformers PR#35927 (a custom RMSNorm decayed for years), Megatron PR#7468 (the first step had the wrong
    decay).
    """
    return _compare(context, "weight_decay", lambda each: each.weight_decay)


RULES: tuple[Rule, ...] = (learning_rate, weight_decay)
