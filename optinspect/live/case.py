"""What is compared: a live optimizer (and model) with one optimizer of a checkpoint.

The pairs are what load_state_dict would bring together: parameter i of the file, counted over all groups, and
parameter i of the optimizer, whatever they are called. With `by_name` the names that the file records decide instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optinspect.checkpoint import Checkpoint, ModelState, OptimizerState, ParameterState
from optinspect.layouts.base import join
from optinspect.live.counterpart import likeliest
from optinspect.live.members import Member, Members, inner
from optinspect.live.misfit import SHOWN, so_with
from optinspect.naming.base import NamedParameter, Naming
from optinspect.naming.recorded import plain, written_names
from optinspect.optimizers import OPTIMIZERS, Optimizer


@dataclass(frozen=True, slots=True)
class Pair:
    """A live parameter and the state that it would get. written: the name that the file records for that state."""

    member: Member
    state: ParameterState
    written: str | None
    named: NamedParameter


@dataclass(frozen=True)
class Case:
    """Everything that the live rules look at.

    number     of the optimizer in the checkpoint
    overrides  settings that are set after loading, so that the file's do not count
    whole      the model is loaded too: what hinders that is an error then
    by_name    states go to the parameters that the file names, not to those at their position
    """

    members: Members
    checkpoint: Checkpoint
    number: int
    naming: Naming
    overrides: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    by_name: bool = False

    @property
    def file(self) -> OptimizerState:
        return self.checkpoint.optimizers[self.number]

    @property
    def groups(self) -> list[dict[str, Any]]:
        return self.members.optimizer.param_groups

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The settings that the optimizer's class reads, with the constructor's values."""
        held = getattr(self.members.optimizer, "defaults", None)
        return held if isinstance(held, dict) else {}

    @cached_property
    def file_sizes(self) -> tuple[int, ...]:
        return tuple(len(group.params) for group in self.file.groups)

    @property
    def pairable(self) -> bool:
        """Whether each parameter has a state to go with it: load_state_dict's own condition."""
        return self.file_sizes == self.members.sizes

    @cached_property
    def written(self) -> Mapping[int, str]:
        """Index in the file → the name recorded there, without what wrappers put into it."""
        names, _ = written_names(self.file)
        return {index: plain(name) for index, name in names.items()}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """One for each parameter of the optimizer, in its order; () where the groups do not fit."""
        if not self.pairable:
            return ()
        chosen = self._chosen() if self.by_name else None
        return tuple(self._pair(member, place, chosen) for place, member in enumerate(self.members.parameters))

    def _pair(self, member: Member, place: int, chosen: Mapping[int, int] | None) -> Pair:
        index = place if chosen is None else chosen[place]
        return Pair(member, self.file.parameters[index], self.written.get(index), self.naming.parameters[index])

    def _chosen(self) -> Mapping[int, int] | None:
        """Live position → index in the file by name; None where the names do not pair all of them."""
        of_name = {name: index for index, name in self.written.items()}
        found = {
            place: of_name[name]
            for place, member in enumerate(self.members.parameters)
            for name in map(plain, member.names)
            if name in of_name
        }
        whole = len(set(found.values())) == len(self.members.parameters) == len(self.file.parameters)
        return found if whole else None

    @property
    def kind(self) -> type:
        """The class that does the work, inside its wrappers."""
        return type(inner(self.members.optimizer))

    @cached_property
    def family(self) -> str:
        """The live optimizer's class, or the first above it that is known; its own name where none is."""
        names = [each.__name__ for each in self.kind.__mro__]
        known = {one.name for one in OPTIMIZERS}
        return next((name for name in names if name in known), names[0])

    @cached_property
    def description(self) -> Optimizer | None:
        """What is known of the live optimizer's class; None for one of the user's own."""
        module = self.kind.__module__
        found = [one for one in OPTIMIZERS if one.name == self.family]
        torchs = [one for one in found if one.source == "torch.optim"]
        return next(iter(torchs if module.startswith("torch.") and torchs else found), None)

    @cached_property
    def model(self) -> ModelState | None:
        """The file's model that is compared with the live one; None without either, or where several fit as well."""
        return likeliest(self.members, self.checkpoint, self.naming)

    @cached_property
    def live_names(self) -> tuple[tuple[str, ...], ...]:
        """Every live parameter's names, of those in no group too."""
        return tuple(each.names for each in (*self.members.parameters, *self.members.unstepped) if each.names)

    @cached_property
    def known_names(self) -> frozenset[str]:
        return frozenset(plain(name) for names in self.live_names for name in names)

    def settings(self, group: int) -> Mapping[str, Any]:
        """What a group's settings are after loading: the file's, then the overrides."""
        held = self.file.groups[group].hyperparameters
        return {**held, **overriding(self.overrides, held, group)}

    def keys_after(self, group: int) -> set[str]:
        """Keys of a group after loading: the file's, what the class's own __setstate__ fills in, and the overrides."""
        filled = self.filled(group)
        if filled is None:
            later = self.description.later if self.description is not None else frozenset[str]()
            return {*self.file.groups[group].hyperparameters, "params", *later, *self.overrides}
        return {*filled, *self.overrides}

    def filled(self, group: int) -> Mapping[str, Any] | None:
        """The file's group with what the class's own __setstate__ fills in on loading; None where that cannot run."""
        kind: Any = self.kind
        held = {**self.file.groups[group].hyperparameters, "params": []}
        blank = kind.__new__(kind)
        try:
            blank.__setstate__({"defaults": dict(self.defaults), "state": {}, "param_groups": [held]})
        except Exception:  # a class of the user's that needs more than this
            return None
        found: Mapping[str, Any] = blank.param_groups[0]
        return found

    def state_route(self, state: ParameterState, slot: str | None = None) -> str:
        route = join(join(self.file.route, "state"), state.key)
        return route if slot is None else f"{route}.{slot}"

    def group_route(self, group: int, key: str | None = None) -> str:
        route = join(join(self.file.route, "param_groups"), group)
        return route if key is None else join(route, key)


def overriding(overrides: Mapping[str, Any], group: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What the overrides make of one group: a list has a value for each group, a function is given its settings."""
    found: dict[str, Any] = {}
    for key, value in overrides.items():
        if isinstance(value, list):
            found[key] = value[number] if number < len(value) else None
        else:
            found[key] = value(group) if callable(value) else value
    return found


def together(found: Sequence[tuple[Pair, str]]) -> Iterator[tuple[Sequence[Pair], str]]:
    """Complaints about single parameters: each for itself while they are few, else one that counts them all."""
    if len(found) <= SHOWN:
        yield from (([pair], f"`{pair.member.label}`: {message}") for pair, message in found)
        return
    first, message = found[0]
    also = so_with([pair.member.label for pair, _ in found])
    yield [pair for pair, _ in found], f"`{first.member.label}`: {message}{also}"


def displaced(case: Case) -> list[Pair]:
    """Pairs of different shapes, where each group has all its shapes in other places; else none."""
    known = [pair for pair in case.pairs if pair.state.shape is not None]
    wrong = [pair for pair in known if pair.state.shape != tuple(pair.member.tensor.shape)]
    for group in {pair.member.group for pair in wrong}:
        mine = [pair for pair in known if pair.member.group == group]
        if sorted(p.state.shape or () for p in mine) != sorted(tuple(p.member.tensor.shape) for p in mine):
            return []
    return wrong
