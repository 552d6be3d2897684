"""OI213 and OI220: do names and states stand in the model's order, or has something been exchanged?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from optinspect.checkpoint import ModelEntry
from optinspect.checks.base import Complaint, Context, Rule, rule
from optinspect.naming.question import Shape
from optinspect.naming.runs import moved
from optinspect.report import Severity
from optinspect.subjects import Subject

ENOUGH = 6
"""Parameters of a group with state from which on two out of order are no order that somebody chose."""
DISPLACED = 0.1
"""Share of names out of order that looks like an exchange; more is another order, which people may choose."""


@rule("OI213", Severity.WARNING, title="names are not in the model's order", requires=("OI210", "OI211", "OI212"))
def names_order(context: Context) -> Iterable[Complaint]:
    """A few recorded names stand in another order than the model has them, in places of the same shape.

    Why it matters: where two names were exchanged, every check passes and two parameters get each other's moments.
    Harmless when: the parameters were given in this order on purpose. The order of one file proves nothing; a second
    checkpoint does: `optinspect check --previous`.
    Repair: compare with the order in which the training script gives its parameters.
    Seen: edited names; torch keeps saved names over a load into another order.
    """
    for optimizer_number, optimizer in context.optimizers:
        for group in optimizer.groups:
            members = [each for each in context.facts.of_optimizer[optimizer_number] if each.group is group]
            if group.names is None or not all(isinstance(key, int) for key in group.params):
                continue
            places = [_place(context, each) for each in members]
            if None in places or len(places) < 4:
                continue
            known = [place for place in places if place is not None]
            moved = [each for each, a, b in zip(members, known, sorted(known), strict=True) if a != b]
            shapes = {place: each.shape for place, each in zip(known, members, strict=True)}
            same = all(shapes[a] == shapes[b] for a, b in zip(known, sorted(known), strict=True))
            if moved and same and len(known) - _ascending(known) <= max(2, DISPLACED * len(known)):
                names = " and ".join(each.label for each in moved[:3])
                told = f"{names} are not in the model's order: were they exchanged?"
                yield context.about(moved[0], told)


def _place(context: Context, subject: Subject) -> int | None:
    """Where the model has the parameter, if the file keeps its order and the name was recorded."""
    named = subject.named
    if named.evidence != "recorded" or named.model is None or named.entry is None:
        return None
    model = context.facts.checkpoint.models[named.model]
    if not model.ordered:
        return None
    return next((place for place, each in enumerate(model.entries) if each.name == named.entry.name), None)


def _ascending(values: Sequence[int]) -> int:
    """Length of the longest ascending subsequence."""
    tails: list[int] = []
    for value in values:
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
    return len(tails)


@rule(
    "OI220",
    Severity.WARNING,
    title="two states in each other's place",
    requires=("OI203", "OI204", "OI206", "OI210", "OI211", "OI212", "OI213", "OI703"),
)
def exchanged(context: Context) -> Iterable[Complaint]:
    """The states of a group have the shapes of the model's parameters in their order, but for two that have each
    other's. Nothing is said where the modules listed in another order would account for it.

    Why a resume breaks: exchanged entries of `state` give each of the two the other's moments, and the first step
    raises a size mismatch.
    Harmless when: the script gives its parameters in this very order.
    Repair: exchange the two entries of `state`, or take the save before this one.
    Seen: state_dicts merged or edited by index; indices counted from another model.
    """
    for model in context.facts.checkpoint.models:
        every = [entry for entry in model.entries if not entry.is_buffer]
        flat, deep = ([one for one in every if (len(one.shape) < 2) is wanted] for wanted in (True, False))
        for number, optimizer in context.optimizers:
            for group in optimizer.groups if model.ordered and model.role == "model" and model.order_from == "" else ():
                members = [each for each in context.facts.of_optimizer[number] if each.group is group]
                fitting = [pool for pool in (every, deep, flat) if len(pool) == len(members) >= ENOUGH]
                for pool in fitting[:1] if group.names is None else ():
                    yield from _swap(context, members, pool)


def _swap(context: Context, members: Sequence[Subject], pool: Sequence[ModelEntry]) -> Iterable[Complaint]:
    """A complaint where exactly two of enough known ones have each other's shape, and no other order explains it."""
    shapes = [(each.state.shape, entry.shape) for each, entry in zip(members, pool, strict=True)]
    if sum(own is not None for own, _ in shapes) < ENOUGH:
        return
    off = [place for place, (own, due) in enumerate(shapes) if own is not None and own != due]
    if len(off) == 2 and shapes[off[0]] == shapes[off[1]][::-1] and not _another_order(shapes, pool):
        a, b = (pool[place].name for place in off)
        route = context.state_route(members[off[0]])
        yield Complaint(
            f"has the shape of {b}, whose state has that of {a}", route, a, tuple(members[p].key for p in off)
        )


def _another_order(shapes: Sequence[tuple[Shape | None, Shape]], pool: Sequence[ModelEntry]) -> bool:
    own, due = zip(*shapes, strict=True)
    return moved(own, due, [entry.name.rpartition(".")[0] for entry in pool]) is not None


RULES: tuple[Rule, ...] = (names_order, exchanged)
