"""A row for every parameter and model tensor: where it stands on each side, and what of it changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from optinspect.checkpoint import ModelEntry
from optinspect.comparison.alignment import Pair
from optinspect.comparison.groups import GroupPair, Place
from optinspect.comparison.plain import EXACT
from optinspect.comparison.tensors import Job, TensorChange
from optinspect.comparison.weights import Models, Weight
from optinspect.subjects import Subject

Status = Literal["same", "changed", "added", "removed", "moved", "renumbered"]
What = Literal[
    "added", "removed", "moved", "renumbered", "frozen", "unfrozen", "slots", "shape", "dtype", "state dtype",
    "tied", "step", "weight", "state", "unreadable",
]  # fmt: skip
OF_WEIGHTS: tuple[What, ...] = ("added", "removed", "shape", "dtype", "tied", "weight", "unreadable")
OF_STATE: tuple[What, ...] = (
    "added",
    "removed",
    "frozen",
    "unfrozen",
    "slots",
    "state dtype",
    "step",
    "state",
    "unreadable",
)
OF_GROUPS: tuple[What, ...] = ("added", "removed", "moved", "renumbered", "frozen", "unfrozen")
STRUCTURE = frozenset(("frozen", "unfrozen", "slots", "shape", "dtype", "state dtype", "tied"))
"""Changes that are not of values, not of places."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an optimizer or tensor of a model, on both sides or one. `changes`: all that is another."""

    number: int
    pair: Pair | None
    weight: Weight | None
    changes: tuple[What, ...] = ()

    @property
    def a(self) -> Subject | None:
        return self.pair.a if self.pair else None

    @property
    def b(self) -> Subject | None:
        return self.pair.b if self.pair else None

    @property
    def name(self) -> str | None:
        if self.weight is not None:
            return self.weight.name
        return self.pair.best.named.name if self.pair else None

    @property
    def names(self) -> tuple[str | None, ...]:
        """All names that --filter may mean."""
        entries = [entry for entry in (self.entry_a, self.entry_b) if entry is not None]
        named = [each.named.name for each in (self.a, self.b) if each is not None]
        return (self.name, *named, *(name for entry in entries for name in (entry.name, *entry.aliases)))

    @property
    def label(self) -> str:
        return self.name or (self.pair.best.label if self.pair else "?")

    @property
    def entry_a(self) -> ModelEntry | None:
        return self.weight.a if self.weight else None

    @property
    def entry_b(self) -> ModelEntry | None:
        return self.weight.b if self.weight else None

    @property
    def status(self) -> Status:
        """The most telling of the changes."""
        for status in ("added", "removed", "moved", "renumbered"):
            if status in self.changes:
                return status
        return "changed" if self.changes else "same"


def rows(pairs: Sequence[Pair], models: Models) -> list[Parameter]:
    """The optimizers' parameters with their weights, then the models' tensors that no optimizer steps."""
    used: set[int] = set()
    found: list[Parameter] = []
    for pair in pairs:
        weight = _weight_of(pair, models)
        if id(weight) in used:  # the two sides name one weight as two parameters: it stays with the first
            weight = None
        if weight is not None:
            used.add(id(weight))
        found.append(Parameter(len(found), pair, weight))
    for weight in models.weights:
        if id(weight) not in used:
            found.append(Parameter(len(found), None, weight))
    return found


def _weight_of(pair: Pair, models: Models) -> Weight | None:
    first, second = (pair.a, pair.b) if pair.best is pair.a else (pair.b, pair.a)
    for subject in (first, second):
        places = models.by_place_a if subject is pair.a else models.by_place_b
        named = subject.named if subject is not None else None
        if named is not None and named.entry is not None:
            weight = places.get((named.model or 0, named.entry.name))
            if weight is not None:
                return weight
    return None


def jobs(
    parameters: Sequence[Parameter], kinds: Collection[str], inputs: tuple[Mapping[int, int], ...]
) -> Iterator[Job]:
    """Tensors that both sides have, weights first. inputs: for each side optimizer → number of its file."""
    for row in parameters:
        if "weights" in kinds and row.weight and row.weight.a is not None and row.weight.b is not None:
            one, two = row.weight.a.tensor, row.weight.b.tensor
            yield Job("weight", row.number, "weight", one, two, row.weight.input_a, row.weight.input_b)
    for row in parameters:
        if "state" in kinds and row.a is not None and row.b is not None:
            theirs = dict(row.b.state.tensors)
            for slot, tensor in row.a.state.tensors:
                if slot in theirs:
                    files = inputs[0][row.a.optimizer], inputs[1][row.b.optimizer]
                    yield Job("state", row.number, slot, tensor, theirs[slot], *files)


def with_changes(
    parameters: Sequence[Parameter],
    groups: Sequence[GroupPair],
    compared: Sequence[TensorChange],
    kinds: Collection[str],
    *,
    tolerant: bool,
) -> list[Parameter]:
    """Every row with what changed of it, as far as `kinds` (weights, state, groups) were asked for.

    tolerant  a tolerance was given: another dtype alone is no change
    """
    together = {(pair.a, pair.b) for pair in groups}
    apart: dict[int, set[str]] = {}
    for each in compared:
        if not each.within and each.job.kind != "value":
            apart.setdefault(each.job.owner, set()).add("unreadable" if each.unknown else each.job.kind)
    wanted = {
        *(OF_WEIGHTS if "weights" in kinds else ()),
        *(OF_STATE if "state" in kinds else ()),
        *(OF_GROUPS if "groups" in kinds else ()),
    }
    ignored = {"dtype", "state dtype"} if tolerant else set()
    found = []
    for row in parameters:
        every = dict.fromkeys(
            (*_structure(row), *_places(row, together), *sorted(apart.get(row.number, ()), reverse=True))
        )
        found.append(replace(row, changes=tuple(each for each in every if each in wanted and each not in ignored)))
    return found


def _structure(row: Parameter) -> Iterator[What]:
    if row.weight is not None and row.weight.a is not None and row.weight.b is not None:
        one, two = row.weight.a, row.weight.b
        if one.shape != two.shape:
            yield "shape"
        if one.tensor.dtype != two.tensor.dtype:
            yield "dtype"
        if set(one.aliases) ^ set(two.aliases) and {one.name, *one.aliases} != {two.name, *two.aliases}:
            yield "tied"
    elif row.weight is not None:
        yield "added" if row.weight.a is None else "removed"
    if row.a is not None and row.b is not None:
        yield from _state(row.a, row.b, weighed=row.weight is not None)
    elif row.pair is not None and (row.weight is None or row.weight.a is None or row.weight.b is None):
        yield "added" if row.a is None else "removed"
    elif row.pair is not None:
        only = row.pair.best
        if only.state.present == "missing":
            yield "moved"
        else:
            yield "unfrozen" if row.a is None else "frozen"


def _state(one: Subject, two: Subject, *, weighed: bool) -> Iterator[What]:
    has, had = two.state.present != "missing", one.state.present != "missing"
    if has != had:
        yield "unfrozen" if has else "frozen"
        return
    if not weighed and one.state.shape != two.state.shape:
        yield "shape"
    if set(one.state.slots) != set(two.state.slots):
        yield "slots"
    theirs = two.tensors
    if any(slot in theirs and tensor.dtype != theirs[slot].dtype for slot, tensor in one.tensors.items()):
        yield "state dtype"
    if not EXACT.allows(one.state.step or 0, two.state.step or 0) or (one.state.step is None) != (
        two.state.step is None
    ):
        yield "step"


def _places(row: Parameter, together: Collection[tuple[Place | None, Place | None]]) -> Iterator[What]:
    if row.a is None or row.b is None:
        return
    place_a, place_b = (row.a.optimizer, row.a.group.number), (row.b.optimizer, row.b.group.number)
    if (place_a, place_b) not in together:
        yield "moved"
    if row.a.state.index != row.b.state.index:
        yield "renumbered"
