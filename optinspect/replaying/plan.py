"""Checkpoint → what can be stepped: each parameter with its weight, its state, its settings and its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Checkpoint, OptimizerState, ParameterState, ParamGroup
from optinspect.errors import Undecidable, UsageError
from optinspect.naming import name_parameters
from optinspect.naming.base import NamedParameter, Naming
from optinspect.optimizers.rules import STEP_RULES, Settings, StepRule, rule_named, settings_of
from optinspect.optimizers.rules.choice import Choice, choose, spelling_of
from optinspect.scalars import item
from optinspect.tensors import TensorRef, obstacle
from optinspect.torch_bridge import storage_order


@dataclass(frozen=True)
class Parameter:
    """One parameter as the file leaves it.

    name, aliases  of the model; group: number of its parameter group
    weight, slots  values in the file, all of the weight's shape; slots under the names of torch.optim
    scalars        slots of one number: step (completed updates), mu_product
    order          the weight's dimensions as they lie in memory: everything is read and stepped in that order
    """

    index: int
    name: str
    aliases: tuple[str, ...]
    group: int
    rule: StepRule
    settings: Settings
    weight: TensorRef
    slots: Mapping[str, TensorRef]
    scalars: Mapping[str, float]
    order: tuple[int, ...]

    @property
    def step(self) -> float:
        return self.scalars.get("step", 0.0)


@dataclass(frozen=True)
class Plan:
    """What is to be stepped.

    steps    updates done so far: of the parameter that has most
    counters what else in the file counts, for recordings that count in another way
    skipped  (parameter, reason); notes: what was assumed
    scaled   the run had a GradScaler, which skips steps whose gradients are not finite
    """

    groups: tuple[ParamGroup, ...]
    parameters: tuple[Parameter, ...]
    steps: int
    counters: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    scaled: bool = False

    @property
    def rule(self) -> str:
        return " + ".join(dict.fromkeys(parameter.rule.name for parameter in self.parameters))

    @property
    def lrs(self) -> tuple[float, ...]:
        """What stands in the groups; nan for a group that nothing is stepped of and that has none."""
        return tuple(number if (number := group.number_of("lr")) is not None else float("nan") for group in self.groups)


def plan_of(checkpoint: Checkpoint, *, rule: str | None = None) -> Plan:
    """What of the checkpoint can be stepped, and how. Reads step counts only.

    rule  a step rule's name, where the file's own is not wanted or not known
    Raises Undecidable where there is no optimizer, no rule, no weight, or a setting or shape that no rule runs with;
    UsageError for several optimizers and for an unknown rule.
    """
    optimizer = _the_optimizer(checkpoint)
    chosen = {group.number: _rule(optimizer, group, rule) for group in optimizer.groups if group.params}
    notes = tuple(dict.fromkeys(note for _, note in chosen.values() if note))
    (naming,) = name_parameters(checkpoint)
    parameters: list[Parameter] = []
    skipped: list[tuple[str, str]] = []
    counters = {float(count) for count in checkpoint.counters.values()}
    settings = {
        group.number: settings_of(group.hyperparameters, group=group.number, required=chosen[group.number][0].required)
        for group in optimizer.groups
        if group.params
    }
    for state, named in zip(optimizer.parameters, naming.parameters, strict=True):
        label = named.name or f"index {state.index}"
        reason = _why_not(named, state)
        if reason is not None:
            skipped.append((label, reason))
        else:
            stepped = chosen[state.group][0]
            parameters.append(_parameter(state, named, stepped, settings[state.group], counters))
    if not parameters:
        raise Undecidable(
            f"no parameter can be stepped: {skipped[0][0]}: {skipped[0][1]}"
            if skipped
            else "no parameters in any group",
            hint="give the model's weights with --model-state FILE" if not checkpoint.models else None,
        )
    notes = (*notes, *_by_order(naming, parameters))
    counted = [int(parameter.step) for parameter in parameters if "step" in parameter.scalars]
    whole = tuple(int(count) for count in counters if count.is_integer())
    return Plan(
        groups=optimizer.groups,
        parameters=tuple(parameters),
        steps=max(counted, default=max(whole, default=0)),
        counters=whole,
        skipped=tuple(skipped),
        notes=notes,
        scaled=bool(checkpoint.scalers),
    )


def _by_order(naming: Naming, parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """Which weight goes with which state is a matter of names; what is not proved about them is said."""
    stepped = {parameter.index for parameter in parameters}
    count = sum(row.evidence == "order" for row in naming.parameters if row.index in stepped)
    if not count:
        return ()
    names = "name rests" if count == 1 else "names rest"
    return (f"{count} {names} on the order of the parameters: were it another, these states would be of other weights",)


def _the_optimizer(checkpoint: Checkpoint) -> OptimizerState:
    if not checkpoint.optimizers:
        raise Undecidable("no optimizer in this file", hint="optinspect show says what is in it")
    if len(checkpoint.optimizers) > 1:
        routes = [optimizer.route for optimizer in checkpoint.optimizers]
        raise UsageError(
            f"{len(routes)} optimizers in this file (expected one)", hint=f"--optimizer-key {routes[0]}, or another"
        )
    return checkpoint.optimizers[0]


def _rule(optimizer: OptimizerState, group: ParamGroup, wanted: str | None) -> tuple[StepRule, str]:
    """The rule of a group, and what is to be said about the choice."""
    if wanted is not None:
        found = rule_named(wanted)
        if found is None:
            raise UsageError(f"--rule {wanted}: no such rule", hint=f"rules: {rule_names()}")
        return found, ""
    choice = _choice(optimizer, group)
    if choice.rule is not None:
        return choice.rule, ""
    if choice.candidates:
        taken = choice.candidates[0]
        return taken, f"{choice.reason}: taken for {taken.name} (--rule names another)"
    raise Undecidable(
        f"group {group.number}: {choice.reason} (expected {', '.join(each.title for each in STEP_RULES[:4])})",
        hint="--rule NAME steps it by a rule of your choice",
    )


def rule_names() -> str:
    return ", ".join(rule.name for rule in STEP_RULES)


def _choice(optimizer: OptimizerState, group: ParamGroup) -> Choice:
    held = {name for state in optimizer.parameters for name, value in state.slots.items() if value is not None}
    return choose(optimizer.families, group.hyperparameters, held)


def _why_not(named: NamedParameter, state: ParameterState) -> str | None:
    """Why a parameter cannot be stepped; None where it can."""
    if named.entry is None:
        return "its weight is not known: no name, or no model in the file"
    weight = named.entry.tensor
    if not isinstance(weight, TensorRef):
        return f"its weight is {weight.kind}, made of several tensors"
    if not weight.dtype.is_floating:
        return f"its weight is {weight.dtype.name}"
    tensors = [weight, *(value for value in state.slots.values() if isinstance(value, TensorRef))]
    return next((f"its values cannot be read: {why}" for each in tensors if (why := obstacle(each))), None)


def _parameter(
    state: ParameterState, named: NamedParameter, rule: StepRule, settings: Settings, counters: set[float]
) -> Parameter:
    name = named.name or f"index {state.index}"
    if named.entry is None or not isinstance(named.entry.tensor, TensorRef):
        raise AssertionError("chosen by _why_not")
    weight = named.entry.tensor
    spelling = spelling_of(state.slots)
    slots, scalars = _sorted(name, spelling.canonical(state.slots), weight)
    stored = state.slots.get(spelling.step)
    step = spelling.completed(_number(stored), counters) if stored is not None else state.step
    if step is None and stored is not None:
        raise Undecidable(f"{name}: its {spelling.step} is no finite number (expected a count of completed steps)")
    if rule.counts and step is not None:
        scalars["step"] = step
    if rule.counts and step is None and slots:
        raise Undecidable(f"{name}: its state has no step count (expected by {rule.title})")
    return Parameter(
        state.index,
        name,
        named.aliases,
        state.group,
        rule,
        settings,
        weight,
        slots,
        scalars,
        storage_order(weight),
    )


def _sorted(name: str, found: Mapping[str, Any], weight: TensorRef) -> tuple[dict[str, TensorRef], dict[str, float]]:
    """Slots of the weight's shape, and slots of one number. Raises Undecidable for any other tensor."""
    slots: dict[str, TensorRef] = {}
    scalars: dict[str, float] = {}
    for slot, value in found.items():
        if isinstance(value, TensorRef) and value.shape == weight.shape and slot not in _SCALARS:
            slots[slot] = value
        elif slot in _SCALARS and isinstance(number := _number(value), int | float):
            scalars[slot] = float(number)
        elif isinstance(value, TensorRef):
            raise Undecidable(
                f"{name}: {slot} has shape {list(value.shape)} (expected {list(weight.shape)}, its weight's)"
            )
    return slots, scalars


_SCALARS = frozenset(slot.name for rule in STEP_RULES for slot in rule.slots(Settings(lr=0.0)) if slot.scalar)


def _number(value: Any) -> Any:
    return item(value) if isinstance(value, TensorRef) and value.numel == 1 else value
