"""OI207 to OI209: has every parameter the state that its optimizer keeps?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from optinspect.checkpoint import OptimizerState
from optinspect.checks.base import Complaint, Context, Rule, rule
from optinspect.checks.facts import Facts
from optinspect.layouts.base import join
from optinspect.report import Severity
from optinspect.subjects import Subject

TORCHS = "torch.optim"
LONELY = frozenset({"LBFGS"})
"""Optimizers that keep the state of all parameters with the first."""


WITHOUT_STATE = "an optimizer without state: it cannot be resumed"
"""How the layout says that the entry is absent."""


def keeps_state(optimizer: OptimizerState, always: frozenset[str]) -> bool:
    """Whether every stepped parameter has state: not so for SGD without momentum."""
    if always:
        return True
    return any(group.number_of("momentum") for group in optimizer.groups) and not LONELY & set(optimizer.families)


@rule("OI207", Severity.ERROR, title="the optimizer's state is empty", requires=("OI205", "OI206"))
def state_empty(context: Context) -> Iterable[Complaint]:
    """No parameter has state, though the file says that steps were taken.

    Why a resume breaks: this is a fresh optimizer on trained weights: moments and bias corrections start again, the
    loss jumps, and nothing says why.
    Harmless when: the optimizer was just made (no counter is above 0: a note), or keeps none (SGD without momentum).
    Repair: save the optimizer that was stepped; with FSDP or DCP see that lazy state exists before it is loaded.
    Seen: DCP loads that fill nothing (KempnerForge#114), DeepSpeed PR#7786, Lightning#2613.
    """
    for number, optimizer in context.optimizers:
        known = [context.facts.descriptions.get((number, group.number)) for group in optimizer.groups]
        missing = all(each.present == "missing" for each in optimizer.parameters)
        if not optimizer.parameters or not missing:
            continue
        kept = any(known) and keeps_state(optimizer, frozenset().union(*(each.always for each in known if each)))
        taken = [f"{route} is {value:g}" for route, value in _progress(context) if value > 0]
        route = join(optimizer.route, "state")
        problems = context.facts.checkpoint.problems
        if any((each.route, each.message) == (optimizer.route, WITHOUT_STATE) for each in problems):
            yield Complaint("there is no entry `state`: load_state_dict raises KeyError", route, spots=((number,),))
        elif kept and taken:
            told = f"{optimizer.families[0]} without any state, while {taken[0]}"
            yield Complaint(told, route, spots=((number,),))
        elif kept:
            told = "no parameter has state: no step was taken yet"
            yield Complaint(told, route, None, ((number,),), Severity.NOTE)


def _progress(context: Context) -> Iterator[tuple[str, float]]:
    yield from context.facts.checkpoint.counters.items()
    for each in context.facts.checkpoint.schedulers:
        last = each.value.get("last_epoch") if isinstance(each.value, dict) else None
        if isinstance(last, int):
            yield f"{each.route}.last_epoch", last


@rule(
    "OI208",
    Severity.WARNING,
    title="a parameter has no state",
    requires=("OI203", "OI204", "OI205", "OI206", "OI207", "OI210"),
)
def state_missing(context: Context) -> Iterable[Complaint]:
    """A parameter of the optimizer has no state, while others have.

    Why a resume breaks: its moments start again beside others that go on; DCP refuses such a file with "Missing key".
    A warning where another parameter of the same module has state, or where all norms and biases lack it while all
    matrices have theirs; else a note, as for a lone token beside others (cls_token, mask_token) in a module of layers.
    Harmless when: it is frozen, or took part in no step yet (experts, unused heads, mask tokens).
    Repair: take the save before this one, or leave it to start again.
    Seen: Automodel#2071, prime-rl#3252, torchtitan#4474, xtuner#2018.
    """
    lost: list[Subject] = []
    idle: list[Subject] = []
    for subject in context.subjects:
        optimizer = context.facts.checkpoint.optimizers[subject.optimizer]
        if subject.state.present != "missing" or LONELY & set(optimizer.families):
            continue
        if context.facts.description(subject) and all(each.present == "missing" for each in optimizer.parameters):
            continue  # OI207's: a known optimizer keeps none, or all of it is gone
        beside = context.facts.beside(subject)
        (lost if any(each.state.present == "present" for each in beside) else idle).append(subject)
    groups = {(each.optimizer, each.group.number) for each in lost}
    vectors = set(_vectors_lost(context))
    lost += [each for each in idle if (each.optimizer, each.group.number) in groups or each.optimizer in vectors]
    idle = [each for each in idle if each not in lost]
    yield from context.each([(each, None, "has no state, though others of its module have") for each in lost])
    if idle:
        names = ", ".join(each.label for each in idle[:3]) + (", …" if len(idle) > 3 else "")
        have = "parameter has" if len(idle) == 1 else "parameters have"
        told = f"{len(idle):,} {have} no state (frozen, or in no step so far): {names}"
        yield context.about(idle[0], told, severity=Severity.NOTE)


def _vectors_lost(context: Context) -> Iterator[int]:
    """Optimizers in which all vectors (norms and biases) lack their state, while all matrices have theirs."""
    for number, _ in context.optimizers:
        subjects = [each for each in context.subjects if each.optimizer == number and each.shape is not None]
        lost = [each for each in subjects if each.state.present == "missing"]
        there = [each for each in subjects if each.state.present != "missing"]
        flat, deep = (all(len(each.shape or ()) < 2 for each in lost), all(len(each.shape or ()) > 1 for each in there))
        if len(lost) > 1 and there and flat and deep:
            yield number


@rule("OI209", Severity.ERROR, title="part of a parameter's state is missing", requires=("OI207", "OI208"))
def slot_missing(context: Context) -> Iterable[Complaint]:
    """A parameter lacks a slot that its optimizer always keeps, or has None in its place; or one that others of its
    group have and a setting asks for (`centered`, `momentum`, `amsgrad`). Where none of them has it, OI506 says so.

    Why a resume breaks: loading succeeds; the first step raises KeyError: 'exp_avg_sq', or AssertionError (Adafactor).
    Harmless when: never, for the slots that are named here.
    Repair: take the save before this one, or delete the parameter's whole entry so that it starts again.
    Seen: state that was filtered or merged; optimizers of another class under the same keys.
    """
    found: list[tuple[Subject, str | None, str]] = []
    kept = slots_kept(context.facts)
    for subject in context.subjects:
        description = context.facts.description(subject)
        if description is None or description.patterns or subject.state.present == "missing":
            continue
        held = {slot.partition(".")[0] for slot, value in subject.state.slots.items() if value is not None}
        settings, rank = subject.group.hyperparameters, None if subject.shape is None else len(subject.shape)
        asked = {each.slot for each in description.asked if not each.anew and each.on(settings)}
        asked = {slot for slot in asked if (subject.optimizer, subject.group.number, slot) in kept}
        needed = description.of_rank(rank, held) | asked
        for slot in sorted((needed | description.always) - held):
            optional = description.source != TORCHS or slot == "step"
            if slot not in needed and optional and not _usual(context, subject, slot):
                continue
            found.append((subject, slot, f"{slot} is {'None' if slot in subject.state.slots else 'missing'}"))
    yield from context.each(found)


def slots_kept(facts: Facts) -> frozenset[tuple[int, int, str]]:
    """(optimizer, group, slot) of what at least one parameter of the group has."""
    members = ((each.optimizer, each.group.number, each.state.slots.items()) for each in facts.subjects)
    return frozenset((n, group, slot) for n, group, slots in members for slot, value in slots if value is not None)


def _usual(context: Context, subject: Subject, slot: str) -> bool:
    """Whether another parameter of the group with as many dimensions has it: codes and factors depend on the shape.
    A step count is missed wherever the optimizer has one: others keep it in the group.
    """
    rank = len(subject.shape or ())
    return any(
        each.state.slots.get(slot) is not None
        and (slot == "step" or (each.group is subject.group and len(each.shape or ()) == rank))
        for each in context.facts.of_optimizer[subject.optimizer]
    )


RULES: tuple[Rule, ...] = (state_empty, state_missing, slot_missing)
