"""An optimizer's state_dict, or a whole pickled optimizer, as an OptimizerState. Nothing malformed stops it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optinspect.checkpoint import Key, OptimizerState, ParameterState, ParamGroup
from optinspect.layouts.base import Problems, join, mapping, number
from optinspect.layouts.groups import Groups, read_groups
from optinspect.layouts.slots import expectations, flat, presence, rank_of, shape_of, tensor_class
from optinspect.layouts.values import scalar
from optinspect.optimizers import Optimizer, candidates
from optinspect.tensors import TensorRef

KEYS = ("state", "param_groups")


def build(value: Mapping[Any, Any], route: str, problems: Problems, input_number: int) -> tuple[OptimizerState, Groups]:
    """The optimizer at `route`, and its groups with the tensors that a pickled optimizer lists itself."""
    for key in KEYS:
        if key not in value:
            problems.add(route, f"an optimizer without {key}", "it cannot be resumed")
    read = read_groups(value.get("param_groups"), join(route, "param_groups"), problems)
    state, counts = _state(value.get("state"), route, problems)
    held = {position: flat(state[key]) for position, key in _keys(read) if key in state}
    fitting = _fitting(read.groups, held.values())
    parameters = _Parameters(route, fitting[0] if fitting else None, read, held, problems)
    optimizer = OptimizerState(
        route=route,
        groups=read.groups,
        parameters=tuple(parameters.build()),
        families=tuple(dict.fromkeys(one.name for one in fitting)),
        orphans=_orphans(read, state, route, problems),
        extra={str(key): item for key, item in value.items() if key not in KEYS} | counts,
        input=input_number,
    )
    return optimizer, read


def _state(value: object, route: str, problems: Problems) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """The parameters' states, and what an optimizer counts beside them under a name ("total_step")."""
    state = mapping(value)
    if state is None:
        if value not in (None, [], ()):
            problems.add(join(route, "state"), "state is no dict", type(value).__name__)
        return {}, {}
    counts = {key: item for key, item in state.items() if isinstance(key, str) and isinstance(item, bool | int | float)}
    if not counts:  # nearly always
        return state, {}
    return {key: item for key, item in state.items() if key not in counts}, counts


def _keys(read: Groups) -> Iterator[tuple[int, Any]]:
    """Position over all groups → the key that `state` has for it."""
    position = 0
    for group in read.groups:
        for key in group.params:
            yield position, read.tensors.get(position, key)
            position += 1


def _orphans(read: Groups, state: Mapping[Any, Any], route: str, problems: Problems) -> tuple[Key, ...]:
    listed = {key for _, key in _keys(read)}
    orphans = tuple(key if isinstance(key, int | str) else type(key).__name__ for key in state if key not in listed)
    if orphans and read.groups:
        text = all(isinstance(key, str) and key.isdigit() for key in orphans)
        wording = "state has text keys where the groups have numbers" if text else "state of parameters in no group"
        problems.add(join(route, "state"), wording, f"{len(orphans):,} of {len(state):,}, first {orphans[0]!r:.60}")
    return orphans


def _fitting(groups: Sequence[ParamGroup], held: Any) -> tuple[Optimizer, ...]:
    """The descriptions that every kind of group in the file allows."""
    slots: set[str] = set()
    classes: set[str] = set()
    for found in held:
        for name, value in found.items():
            if value is not None:
                slots.add(name)
                if not isinstance(value, TensorRef):
                    classes.update(filter(None, (tensor_class(value),)))
    kinds = {tuple(group.hyperparameters): group for group in reversed(groups) if group.hyperparameters}
    fitting: tuple[Optimizer, ...] | None = None
    for group in reversed(kinds.values()):
        found = candidates(group.hyperparameters, slots, classes)
        fitting = found if fitting is None else tuple(one for one in fitting if one in found)
    return fitting or ()


class _Parameters:
    """Builds the states of one optimizer's parameters in index order."""

    def __init__(
        self,
        route: str,
        optimizer: Optimizer | None,
        read: Groups,
        held: Mapping[int, Mapping[str, Any]],
        problems: Problems,
    ) -> None:
        self.state_route = join(route, "state")
        self.optimizer, self.read, self.held, self.problems = optimizer, read, held, problems

    def build(self) -> Iterator[ParameterState]:
        position = 0
        for group in self.read.groups:
            members = [self.held.get(position + place, {}) for place in range(len(group.params))]
            ranks = [rank_of(slots) for slots in members]
            expected = expectations(members, ranks, self.optimizer)
            for key, slots, rank in zip(group.params, members, ranks, strict=True):
                yield self._one(position, key, group, slots, expected.get(rank, frozenset()))
                position += 1

    def _one(
        self, index: int, key: Key, group: ParamGroup, slots: Mapping[str, Any], expected: frozenset[str]
    ) -> ParameterState:
        parameter = self.read.tensors.get(index)
        shape, differ = shape_of(slots, self.optimizer) if slots else (None, False)
        if differ:
            self.problems.add(join(self.state_route, key), "slots of one parameter differ in shape")
        return ParameterState(
            index=index,
            key=key,
            group=group.number,
            slots=slots,
            shape=shape if parameter is None else parameter.shape,
            step=self._step(slots, group, key) if slots else None,
            present=presence(slots, expected),
        )

    def _step(self, slots: Mapping[str, Any], group: ParamGroup, key: Key) -> float | None:
        stored = slots.get("step")
        if stored is None:
            stored = next((value for name, value in slots.items() if name.endswith(".step")), None)
        if stored is None:
            names = ("step", self.optimizer.step_key or "step" if self.optimizer else "step")
            counts = (number(group.hyperparameters.get(name)) for name in names)
            stored = next((count for count in counts if count is not None), None)
        value = scalar(stored, self.problems, self.state_route, key, "step")
        return None if value is None or isinstance(value, bool) else float(value)
