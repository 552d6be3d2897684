"""PARAM → the one parameter that is meant, and what of it is needed to work its step out; or why that cannot be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.commands.facts import Facts, Subject
from optinspect.commands.wording import some
from optinspect.errors import Undecidable, UsageError
from optinspect.explain import Part, Source
from optinspect.explain_lr import LastLr, last_lr
from optinspect.explain_rules import EXPLANATIONS, explanation_of
from optinspect.optimizers.rules import Settings, StepRule, rule_named, settings_of
from optinspect.optimizers.rules.choice import choose, spelling_of
from optinspect.scalars import item
from optinspect.tensors import TensorRef, obstacle

NEAREST = 3


@dataclass(frozen=True)
class Found:
    """A parameter, ready to be explained. lr: where its learning rate is from; notes: what was assumed."""

    part: Part
    rule: StepRule
    lr: LastLr
    notes: tuple[str, ...] = ()


def subject_of(facts: Facts, wanted: str) -> Subject:
    """By name, by another name of the same weight, or by index. Raises UsageError, Undecidable."""
    if not facts.everything:
        raise Undecidable("no optimizer with parameters in this file", hint="optinspect show says what is in it")
    named = [each for each in facts.everything if wanted in (each.named.name, *each.named.aliases)]
    found = named or [each for each in facts.everything if str(each.state.index) == wanted]
    if not found:
        raise _unknown(facts, wanted)
    if len(found) > 1:
        routes = [facts.checkpoint.optimizers[each.optimizer].route for each in found]
        raise UsageError(f"{wanted:.80}: in {len(found)} optimizers", hint=f"--optimizer-key {some(routes, 4)}")
    return found[0]


def _unknown(facts: Facts, wanted: str) -> UsageError:
    if any(wanted in (entry.name, *entry.aliases) for _, entry, _ in facts.spare):
        return UsageError(f"{wanted:.80}: in the model, but in no group: no optimizer steps it")
    names = [name for each in facts.everything for name in (each.named.name, *each.named.aliases) if name]
    numbers = [each.state.index for each in facts.everything]
    among = f"there are indices {min(numbers)} to {max(numbers)}" if not names or wanted.isdecimal() else None
    near = _nearest(wanted, names)
    hint = f"the nearest: {some(near, NEAREST)}" if near and not wanted.isdecimal() else None
    return UsageError(f"{wanted:.80}: no such parameter ({among or 'neither a name nor an index'})", hint=hint)


def _nearest(wanted: str, names: list[str]) -> list[str]:
    """Names with `wanted` in them first, then those that are spelled alike."""
    holding = [name for name in names if wanted.lower() in name.lower()]
    alike = get_close_matches(wanted, names, n=NEAREST, cutoff=0.4)
    return list(dict.fromkeys([*holding[:NEAREST], *alike]))[:NEAREST]


def part_of(checkpoint: Checkpoint, subject: Subject, source: Source, rule_name: str | None = None) -> Found:
    """Raises Undecidable: no rule, no state, a setting or a shape that no rule runs with, values that are not there."""
    rule, note = _named(rule_name) if rule_name is not None else _rule(checkpoint, subject)
    group = subject.group
    settings = settings_of(group.hyperparameters, group=group.number, required=rule.required)
    explanation = explanation_of(rule.name)
    if explanation is None:  # the rules of mistakes: no file says that it was one of these
        raise Undecidable(f"{subject.label:.80}: no explanation for {rule.title}")
    step = _step(checkpoint, subject, rule)
    lr = last_lr(group, checkpoint.schedulers, step)
    if lr is None:
        raise Undecidable(f"group {group.number}: lr is no number")
    if source != "last":
        lr = LastLr(settings.lr, "group", f"lr {settings.lr:.7g} is the one in the file, taken for the next step")
    weight, weight_note = _weight(subject)
    shape = weight.shape if weight is not None else subject.state.shape
    slots, scalars = _slots(subject, rule, settings, shape, source)
    if shape is None or not prod(shape):
        raise Undecidable(f"{subject.label:.80}: no element to explain (shape {list(shape or ())})")
    part = Part(explanation, replace(settings, lr=lr.value), step, shape, weight, slots, scalars)
    return Found(part, rule, lr, tuple(filter(None, (note, weight_note, _maximize(settings)))))


def _rule(checkpoint: Checkpoint, subject: Subject) -> tuple[StepRule, str]:
    """The rule of the parameter's group, and what is to be said about the choice."""
    optimizer = checkpoint.optimizers[subject.optimizer]
    held = {name for state in optimizer.parameters for name, value in state.slots.items() if value is not None}
    choice = choose(optimizer.families, subject.group.hyperparameters, held)
    if choice.rule is not None:
        return choice.rule, ""
    if optimizer.families and choice.candidates:
        taken = choice.candidates[0]
        return taken, f"{choice.reason}: explained as {taken.title}"
    titles = (rule.title for each in EXPLANATIONS if (rule := rule_named(each.rule)))
    raise Undecidable(
        f"{subject.label:.60}: {choice.reason} (expected {', '.join(titles)})",
        hint=f"--rule explains it by a rule of your choice: {RULES}" if choice.candidates else None,
    )


RULES = ", ".join(each.rule for each in EXPLANATIONS)


def _named(name: str) -> tuple[StepRule, str]:
    rule = rule_named(name)
    if rule is None or explanation_of(name) is None:
        raise UsageError(f"--rule {name:.60}: no such rule (expected one of {RULES})")
    return rule, f"explained as {rule.title}, as asked for"


def _step(checkpoint: Checkpoint, subject: Subject, rule: StepRule) -> float:
    state = subject.state
    spelling = spelling_of(state.slots)
    stored = state.slots.get(spelling.step)
    counters = {float(count) for count in checkpoint.counters.values()}
    step = spelling.completed(_number(stored), counters) if stored is not None else state.step
    if not rule.counts:
        return step or 0.0
    if not any(isinstance(value, TensorRef) for value in state.slots.values()):
        raise Undecidable(f"{subject.label:.80}: no state: frozen, never used, or no step was taken yet")
    if step is None or step < 1:
        told = "no step count" if step is None else f"a step count of {step:g}"
        raise Undecidable(f"{subject.label:.80}: {told} (expected 1 or more)")
    return step


def _weight(subject: Subject) -> tuple[TensorRef | None, str]:
    weight, label = subject.weight, subject.label
    if weight is None:
        return None, f"the weight of {label} is not known, so what needs it is left out"
    if not weight.dtype.is_floating or obstacle(weight) is not None:
        return None, f"the weight cannot be used: {obstacle(weight) or f'it is {weight.dtype.name}'}"
    if subject.named.evidence in ("order", "fingerprint"):
        return weight, f"which weight it is rests on {subject.named.evidence}, without proof: θ may be another's"
    return weight, ""


def _slots(
    subject: Subject, rule: StepRule, settings: Settings, shape: tuple[int, ...] | None, source: Source
) -> tuple[dict[str, TensorRef], dict[str, float]]:
    """The arrays and the single numbers that the rule needs, checked."""
    spelled = spelling_of(subject.state.slots).canonical(subject.state.slots)
    arrays: dict[str, TensorRef] = {}
    scalars: dict[str, float] = {}
    for slot in rule.slots(settings):
        value = spelled.get(slot.name)
        if slot.scalar:
            scalars[slot.name] = _one_number(subject, slot.name, value)
        elif value is not None or slot.start is not None or source != "zero":
            arrays[slot.name] = _array(subject, slot.name, value, shape)
    if "exp_avg_sq" not in arrays and source == "synthetic":
        raise Undecidable(f"--synthetic: {rule.title} keeps no exp_avg_sq to draw gradients from", hint="--zero works")
    if not arrays and source == "last":
        raise Undecidable(f"{subject.label:.60}: {rule.title} without momentum keeps nothing of its last gradient")
    return arrays, scalars


def _array(subject: Subject, name: str, value: Any, shape: tuple[int, ...] | None) -> TensorRef:
    label = subject.label[:80]
    if value is None:
        raise Undecidable(f"{label}: no {name} in its state: frozen, never used, or no step was taken yet")
    if not isinstance(value, TensorRef) or not value.dtype.is_floating:
        kind = value.dtype.name if isinstance(value, TensorRef) else getattr(value, "kind", type(value).__name__)
        raise Undecidable(f"{label}: {name} is {kind:.60} (expected a plain floating tensor)")
    if shape is not None and value.shape != shape:
        raise Undecidable(f"{label}: {name} has shape {list(value.shape)} (expected {list(shape)}, the parameter's)")
    if (reason := obstacle(value)) is not None:
        raise Undecidable(f"{label}: {name}: {reason}")
    return value


def _one_number(subject: Subject, name: str, value: Any) -> float:
    number = _number(value)
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise Undecidable(f"{subject.label:.80}: {name} is no number")
    return float(number)


def _number(value: Any) -> Any:
    return item(value) if isinstance(value, TensorRef) and value.numel == 1 else value


def _maximize(settings: Settings) -> str:
    return "maximize: m, v and g are of the gradient with its sign changed" if settings.maximize else ""
