"""Two checkpoints side by side: which parameter of one is which of the other, and what each held before and after.

Parameters are aligned by the names that both files record, by string keys, or by index. Weights are aligned by name.
Which weight an index *is* comes from naming and is a guess where the evidence is; the step itself may prove it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optinspect.checkpoint import Checkpoint, OptimizerState, ParameterState, ParamGroup
from optinspect.errors import OptinspectError, Undecidable
from optinspect.naming import name_parameters
from optinspect.naming.base import NamedParameter
from optinspect.naming.pairing import may_be_stepped
from optinspect.naming.recorded import written_names
from optinspect.optimizers.rules.choice import Choice, Spelling, choose, spelling_of
from optinspect.optimizers.rules.settings import finite
from optinspect.proof.precision import precision_of
from optinspect.scalars import item
from optinspect.tensors import TensorRef, obstacle

Place = tuple[int, str]
"""A model's number in A and a tensor's name in it."""


@dataclass(frozen=True, eq=False)
class Weight:
    """One tensor of the model in both files: same shape, a dtype that is stepped."""

    place: Place
    place_b: Place
    name: str
    a: TensorRef
    b: TensorRef


@dataclass(frozen=True, eq=False)
class State:
    """What one file holds of a parameter's state.

    slots    tensors of the parameter's shape under the rules' names; scalars: one-number slots ("mu_product")
    counts   completed steps, likeliest reading first; () where nothing counts
    missing  no state at all: not yet stepped
    problem  why values cannot be read
    """

    slots: Mapping[str, TensorRef] = field(default_factory=dict)
    scalars: Mapping[str, float] = field(default_factory=dict)
    counts: tuple[float, ...] = ()
    missing: bool = False
    problem: str | None = None
    shape: tuple[int, ...] | None = None
    """As the slots of this file show it."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """One parameter of one optimizer. `index` and `group` are those in A; named: by A's evidence, then B's."""

    index: int
    index_b: int
    key: Any
    key_b: Any
    group: int
    group_b: int
    shape: tuple[int, ...] | None
    named: NamedParameter
    weight: Weight | None
    a: State
    b: State

    @property
    def label(self) -> str:
        return self.named.name or f"index {self.index}"

    @property
    def steps(self) -> float | None:
        """step_B − step_A; None where neither file counts."""
        if self.b.counts and (self.a.counts or self.a.missing):
            return self.b.counts[0] - (self.a.counts[0] if self.a.counts else 0.0)
        return 0.0 if self.a.missing and self.b.missing else None


@dataclass(frozen=True, eq=False)
class Pair:
    """One optimizer in both files. weights: every tensor of the models that may be stepped, by shape."""

    number: int
    a: OptimizerState
    b: OptimizerState
    parameters: tuple[Parameter, ...]
    weights: Mapping[tuple[int, ...], tuple[Weight, ...]]
    groups: Mapping[int, tuple[ParamGroup, ParamGroup]]
    choices: Mapping[int, Choice]
    notes: tuple[str, ...] = ()

    @property
    def route(self) -> str:
        return self.b.route


def pairs(a: Checkpoint, b: Checkpoint) -> tuple[Pair, ...]:
    """The optimizers of A with those of B. Raises Undecidable where they cannot be set side by side."""
    if not a.optimizers or not b.optimizers:
        which = "the first" if not a.optimizers else "the second"
        raise Undecidable(f"no optimizer in {which} file", hint="optinspect show says what is in it")
    if len(a.optimizers) != len(b.optimizers):
        raise Undecidable(f"{len(a.optimizers)} optimizers in the first file, {len(b.optimizers)} in the second")
    weights = _weights(a, b)
    named = name_parameters(a), name_parameters(b)
    return tuple(
        _pair(n, (a, b), weights, (named[0][n].parameters, named[1][n].parameters)) for n in range(len(a.optimizers))
    )


def _weights(a: Checkpoint, b: Checkpoint) -> dict[Place, Weight]:
    """Tensors of A's models that B has too, in the shape and dtype."""
    routes = {model.route: other for other, model in enumerate(b.models)}
    found: dict[Place, Weight] = {}
    for number, model in enumerate(a.models):
        other = routes.get(model.route, number)
        if model.role != "model" or other >= len(b.models):
            continue
        for entry in model.entries:
            twin = b.models[other].by_name.get(entry.name)
            if twin is None or not may_be_stepped(entry):
                continue
            x, y = entry.tensor, twin.tensor
            if not (isinstance(x, TensorRef) and isinstance(y, TensorRef)):
                continue
            whole = precision_of(x.dtype) is not None and not (obstacle(x) or obstacle(y))
            if whole and x.shape == y.shape and x.dtype == y.dtype:
                found[number, entry.name] = Weight((number, entry.name), (other, twin.name), entry.name, x, y)
    return found


def _pair(
    number: int,
    files: tuple[Checkpoint, Checkpoint],
    weights: Mapping[Place, Weight],
    named: tuple[tuple[NamedParameter, ...], tuple[NamedParameter, ...]],
) -> Pair:
    a, b = files[0].optimizers[number], files[1].optimizers[number]
    counters = [{float(count) for count in each.counters.values()} for each in files]
    held = {name for p in b.parameters for name, value in p.slots.items() if value is not None}
    held |= {name for p in a.parameters for name, value in p.slots.items() if value is not None}
    parameters = []
    for i, j in _aligned(a, b):
        x, y = a.parameters[i], b.parameters[j]
        name = named[0][i] if named[0][i].name is not None or named[1][j].name is None else named[1][j]
        place = (name.model if name.model is not None else -1, name.entry.name if name.entry else "")
        weight = weights.get(place)
        shape = x.shape if x.shape is not None else y.shape
        if shape is None and weight is not None:
            shape = weight.a.shape
        if weight is not None and weight.a.shape != shape:
            weight = None
        states = _state(x, shape, counters[0]), _state(y, shape, counters[1])
        parameters.append(
            Parameter(i, j, x.key, y.key, x.group, y.group, shape, name, weight, *states),
        )
    groups_b = {group.number: group for group in b.groups}
    twins = {p.group: p.group_b for p in parameters}
    groups = {g.number: (g, groups_b[twins[g.number]]) for g in a.groups if g.number in twins}
    by_shape: dict[tuple[int, ...], list[Weight]] = {}
    for weight in weights.values():
        by_shape.setdefault(weight.a.shape, []).append(weight)
    families = b.families or a.families
    return Pair(
        number,
        a,
        b,
        tuple(parameters),
        {shape: tuple(found) for shape, found in by_shape.items()},
        groups,
        {n: choose(families, x.hyperparameters, held) for n, (x, _) in groups.items()},
        (),
    )


def _aligned(a: OptimizerState, b: OptimizerState) -> Iterator[tuple[int, int]]:
    """Positions in A and B of the same parameter. Raises Undecidable."""
    ours, theirs = written_names(a)[0], written_names(b)[0]
    places = {name: index for index, name in theirs.items()}
    every = len(places) == len(theirs) == len(ours) == len(a.parameters)
    if ours and every and set(ours.values()) == set(places):
        yield from ((index, places[name]) for index, name in sorted(ours.items()))
        return
    keys, others = [p.key for p in a.parameters], {p.key: p.index for p in b.parameters}
    if len(others) == len(keys) == len(b.parameters) and set(keys) == set(others):
        yield from ((index, others[key]) for index, key in enumerate(keys))
        return
    if len(a.parameters) != len(b.parameters):
        raise Undecidable(
            f"{len(a.parameters)} parameters in the first file's optimizer, {len(b.parameters)} in the second's",
            hint="optinspect show on each says what they hold",
        )
    yield from ((index, index) for index in range(len(a.parameters)))


def _state(held: ParameterState, shape: tuple[int, ...] | None, counters: set[float]) -> State:
    spelling = spelling_of(held.slots)
    slots: dict[str, TensorRef] = {}
    scalars: dict[str, float] = {}
    problem: str | None = None
    for name, value in spelling.canonical(held.slots).items():
        if isinstance(value, TensorRef) and shape is not None and value.shape == shape and name != "mu_product":
            problem = problem or obstacle(value)
            slots[name] = value
        elif (number := _number(value)) is not None:
            scalars[name] = number
        elif value is not None:
            problem = problem or f"{name} is not of the parameter's shape"
    if any(precision_of(value.dtype) is None for value in slots.values()):
        problem = problem or "a slot is of a dtype that no step is computed in"
    counts = _counts(held, spelling, counters)
    return State(slots, scalars, counts, held.present == "missing" or not held.slots, problem, held.shape)


def _counts(held: ParameterState, spelling: Spelling, counters: set[float]) -> tuple[float, ...]:
    stored = _number(held.slots.get(spelling.step))
    if stored is None:
        step = finite(held.step)
        return () if step is None else (step,)
    likely = spelling.completed(stored, counters)
    every = [likely, *(stored - ahead for ahead in spelling.ahead)]
    return tuple(dict.fromkeys(count for count in every if count is not None))


def _number(value: Any) -> float | None:
    if isinstance(value, TensorRef) and value.numel == 1 and value.dtype.kind != "complex":
        try:
            value = item(value)
        except OptinspectError:
            return None
    return finite(value)
