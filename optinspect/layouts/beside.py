"""Tensors beside the models that an optimizer may step too: a criterion's centres, a temperature, log alpha.

They are looked for only where the optimizers have more parameters than the models: what fits those becomes a model of
its own, whose names need an order and are never certain. Where more fits than is wanted, nothing is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import ModelState, OptimizerState
from optinspect.layouts.base import join, only_tensors
from optinspect.layouts.companions import is_counter
from optinspect.layouts.models import Named, of_mapping
from optinspect.layouts.recognition import AVERAGED, COPY, RECORDS
from optinspect.tensors import TensorRef

MAX_LOOKED = 10_000
"""Members of dicts that are searched: more are logs, or data."""

Shape = tuple[int, ...]
Outside = tuple[tuple[str, Shape], ...]


@dataclass(frozen=True)
class Group:
    """Tensors that are taken together or not at all: a dict of them, or one that stands alone.

    route  of the dict they lie in; taken: the route that is no other content any more
    """

    route: str
    named: tuple[Named, ...]
    taken: str

    @property
    def shapes(self) -> Counter[Shape]:
        return Counter(value.shape for _, value, kind in self.named if not kind.startswith("buffer"))

    @property
    def alone(self) -> bool:
        return self.taken != self.route


def groups_in(other: Mapping[str, Any], weak: Sequence[ModelState]) -> tuple[Group, ...]:
    """What may be parameters among a file's other content, and the dicts of tensors that look like no model."""
    found = [Group(each.route, tuple((e.name, e.tensor, e.kind) for e in each.entries), each.route) for each in weak]
    return (*found, *_groups(other))


def _groups(other: Mapping[str, Any]) -> Iterator[Group]:
    pending = [(route, value) for route, value in reversed(list(other.items()))]
    seen: set[int] = set()
    while pending and len(seen) < MAX_LOOKED:
        route, value = pending.pop()
        seen.add(id(value))
        if isinstance(value, TensorRef):
            home, _, key = route.rpartition(".")
            yield Group(home, tuple(of_mapping({key: value})), route)
        elif isinstance(value, dict) and value and only_tensors(value):
            yield Group(route, tuple(of_mapping(value)), route)
        elif isinstance(value, dict) and len(value) < MAX_LOOKED:
            inner = [(join(route, key), item) for key, item in value.items() if isinstance(key, str)]
            pending += [each for each in reversed(inner) if id(each[1]) not in seen]


def outside(groups: Iterable[Group]) -> Outside:
    """Route and shape of all that is of a floating dtype."""
    return tuple(
        (join(each.route, name) if each.route else name, value.shape)
        for each in groups
        for name, value, _ in each.named
        if value.dtype is None or value.dtype.is_floating
    )


def fitting(
    groups: Sequence[Group], trained: Sequence[ModelState], optimizers: Sequence[OptimizerState]
) -> tuple[Group, ...]:
    """The groups that give the optimizers' leftover parameters a tensor each; () where others would fit as well."""
    rows = [row for one in optimizers for row in one.parameters]
    demand = Counter(row.shape for row in rows if row.shape is not None)
    supply = Counter(entry.shape for model in trained for entry in model.parameters)
    left = demand - supply
    unknown = sum(row.shape is None for row in rows)
    more = len(rows) - supply.total() if unknown else 0
    chosen = [each for each in groups if _may_be_stepped(each) and not each.shapes - _room(each, demand, unknown)]
    if left:
        chosen = [each for each in chosen if each.shapes & left]
        offered = sum((each.shapes for each in chosen), Counter[Shape]())
        return tuple(chosen) if chosen and all(offered[shape] <= left[shape] for shape in left) else ()
    chosen = [each for each in chosen if not each.alone]
    return tuple(chosen) if 0 < more == sum(each.shapes.total() for each in chosen) else ()


def _room(group: Group, demand: Counter[Shape], unknown: int) -> Counter[Shape]:
    """The parameters' shapes; those whose shape is not known may have any."""
    return demand + Counter(dict.fromkeys(group.shapes, unknown)) if unknown else demand


def _may_be_stepped(group: Group) -> bool:
    """No average, no copy; of tensors that stand alone none that is called a record of the run, or counts something."""
    if not group.shapes or AVERAGED.search(group.taken) or COPY.search(group.taken):
        return False
    if any(value.dtype is not None and not value.dtype.is_floating for _, value, _ in group.named):
        return False
    return not group.alone or not any(
        RECORDS.search(name) or is_counter(name, group.taken) for name, _, _ in group.named
    )
