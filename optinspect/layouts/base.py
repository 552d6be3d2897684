"""What the layouts share: routes, plain views of containers, and problems that do not flood a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from optinspect.checkpoint import Checkpoint, Problem
from optinspect.containers.base import Tree
from optinspect.opaque import Opaque
from optinspect.routes import format_route
from optinspect.tensors import AnyTensor, CompositeRef, TensorRef

MAX_ALIKE = 20
"""Problems of one wording that are listed; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller chose: routes of the model and of the optimizer, or None."""

    model_key: str | None = None
    optimizer_key: str | None = None


class Layout(Protocol):
    """How a kind of checkpoint is laid out: an entry of LAYOUTS."""

    @property
    def name(self) -> str: ...

    def recognises(self, tree: Tree) -> bool: ...

    def find(self, tree: Tree, wanted: Wanted) -> Checkpoint:
        """The one input's checkpoint. Raises UsageError for a wanted route that is not there."""
        ...


@dataclass
class Problems:
    """Collects structural problems, at most MAX_ALIKE of one wording."""

    found: list[Problem] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, route: str, wording: str, detail: str = "") -> None:
        """`wording` groups alike problems, `detail` tells this one."""
        seen = self._counts[wording] = self._counts.get(wording, 0) + 1
        if seen <= MAX_ALIKE:
            self.found.append(Problem("structure", route, f"{wording}: {detail}" if detail else wording))

    def all(self) -> tuple[Problem, ...]:
        more = [
            Problem("structure", "", f"{wording}: {count - MAX_ALIKE:,} more")
            for wording, count in self._counts.items()
            if count > MAX_ALIKE
        ]
        return (*self.found, *more)


def join(route: str, key: object) -> str:
    """`route` extended by a step: "a.b" for names, "a[3]" for positions, 'a["b.c"]' for other keys."""
    step = format_route((key,))
    return f"{route}.{step}" if route and not step.startswith("[") else f"{route}{step}"


def last(route: str) -> str:
    """The last name of a route, positions left out: "lr_schedulers" of "a.lr_schedulers[0]"."""
    return route.rpartition(".")[2].partition("[")[0]


def mapping(value: object) -> Mapping[Any, Any] | None:
    """A dict, or what an unknown dict-like class would have held."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Opaque) and value.items:
        return value.items
    return None


def sequence(value: object) -> list[Any] | tuple[Any, ...] | None:
    """A list or tuple, or what an unknown list-like class would have held."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Opaque) and value.entries:
        return value.entries
    return None


def children(value: object) -> Iterator[tuple[object, Any]]:
    """Keys and members of anything that holds something; attributes of an inert object count as its members."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, Opaque):
        yield from value.items.items()
        yield from enumerate(value.entries)
        for state in value.state if isinstance(value.state, tuple) else (value.state,):
            if isinstance(state, dict):
                yield from state.items()


def is_container(value: object) -> bool:
    return isinstance(value, dict | list | tuple | Opaque)


def tensor(value: object) -> AnyTensor | None:
    return value if isinstance(value, TensorRef | CompositeRef) else None


def number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def only_tensors(value: object) -> bool:
    """A dict, nested or not, of tensors and nothing else; one that meets a dict twice is no such thing."""
    pending, seen = [value], set[int]()
    while pending:
        item = pending.pop()
        if isinstance(item, TensorRef | CompositeRef):
            continue
        if not isinstance(item, dict) or id(item) in seen:
            return False
        seen.add(id(item))
        pending.extend(item.values())
    return True


def holds_tensor(value: object, depth: int) -> bool:
    """A tensor within `depth` levels of containers."""
    level, seen = [value], set[int]()
    for _ in range(depth + 1):
        if any(isinstance(item, TensorRef | CompositeRef) for item in level):
            return True
        level = [
            item for outer in level if is_container(outer) and not _met(outer, seen) for _, item in children(outer)
        ]
    return False


def _met(value: object, seen: set[int]) -> bool:
    met = id(value) in seen
    seen.add(id(value))
    return met
