"""What is asked of a source of names: one optimizer, and the model tensors its indices can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from optinspect.checkpoint import Filling, ModelEntry, OptimizerState
from optinspect.naming.base import Contradiction, Evidence, NamedParameter, Told
from optinspect.naming.traits import Traits, traits_of

Shape = tuple[int, ...]

MAX_RIVALS = 8
"""Names listed beside a name that is not certain; `solutions` says how many assignments there are."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model tensor that may be stepped. `name` carries the model's key where one optimizer steps several models."""

    model: int
    name: str
    entry: ModelEntry
    prefix: str = ""

    @property
    def shape(self) -> Shape:
        return self.entry.shape

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self.prefix + alias for alias in self.entry.aliases) if self.entry.aliases else ()


@dataclass(frozen=True)
class Pool:
    """The parameters of one model, or of several in a row, as the file orders them.

    doubtful  tensors taken for buffers by their names: never proposed, but they stop a name from being certain
    ordered   the file keeps `named_parameters()` order
    """

    candidates: tuple[Candidate, ...]
    doubtful: tuple[Candidate, ...]
    ordered: bool
    models: tuple[int, ...]
    order_from: str = ""
    """Whose order it is where the file itself has none."""
    fillings: tuple[Filling, ...] = ()
    """How the model's own class has its parameters grouped."""

    @cached_property
    def supply(self) -> Counter[Shape]:
        return Counter(candidate.shape for candidate in self.candidates)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(candidate.shape for candidate in self.candidates)

    @cached_property
    def by_shape(self) -> Mapping[Shape, Sequence[int]]:
        positions: dict[Shape, list[int]] = {}
        for position, shape in enumerate(self.shapes):
            positions.setdefault(shape, []).append(position)
        return positions

    @cached_property
    def traits(self) -> tuple[Traits, ...]:
        return traits_of([(c.name, c.shape) for c in self.candidates])

    def without(self, names: frozenset[tuple[int, str]]) -> Pool:
        """The pool less the tensors (model, name) that another optimizer steps."""
        if not names:
            return self
        left = tuple(c for c in self.candidates if (c.model, c.entry.name) not in names)
        return Pool(left, self.doubtful, self.ordered, self.models, self.order_from, self.fillings)


@dataclass(frozen=True)
class Question:
    """One optimizer.

    pools     the readings of which model(s) it steps, likeliest first; universe: all of them
    alone     the checkpoint has no other optimizer
    by_key    members of a group are taken in the order of their keys, not of the group's list
    proven    index → (model, name) of the tensor that a step from another checkpoint proves it to be
    told      names that the user gives for this optimizer
    """

    number: int
    optimizer: OptimizerState
    pools: tuple[Pool, ...]
    universe: Pool
    alone: bool = True
    by_key: bool = False
    proven: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    told: Told | None = None

    @cached_property
    def shapes(self) -> tuple[Shape | None, ...]:
        return tuple(p.shape for p in self.optimizer.parameters)

    @cached_property
    def demand(self) -> Counter[Shape]:
        return Counter(shape for shape in self.shapes if shape is not None)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices by group, empty groups left out."""
        members: dict[int, list[int]] = {}
        rows = self.optimizer.parameters
        for p in sorted(rows, key=lambda p: int(p.key)) if self.by_key else rows:
            members.setdefault(p.group, []).append(p.index)
        return tuple(tuple(indices) for _, indices in sorted(members.items()))

    @cached_property
    def group_numbers(self) -> tuple[int, ...]:
        return tuple(sorted({p.group for p in self.optimizer.parameters}))

    @cached_property
    def keys_out_of_order(self) -> bool:
        """Whether the groups list 0 … n−1 in another order: torch numbers parameters as the groups list them."""
        keys = [p.key for p in self.optimizer.parameters]
        return keys != list(range(len(keys))) and set(keys) == set(range(len(keys)))

    def includes(self, pool: Pool) -> bool:
        """Whether every shape that the indices show occurs often enough in the pool."""
        return fits_in(self.demand, pool.supply) and len(self.shapes) <= len(pool.candidates)

    def equals(self, pool: Pool) -> bool:
        """Whether the pool has exactly as many parameters as there are indices, and the shapes agree."""
        return len(self.shapes) == len(pool.candidates) and fits_in(self.demand, pool.supply)

    def named(
        self,
        index: int,
        candidate: Candidate,
        evidence: Evidence,
        convention: str | None = None,
        solutions: int | None = None,
        rivals: tuple[str, ...] = (),
    ) -> NamedParameter:
        return NamedParameter(
            index,
            self.optimizer.parameters[index].key,
            candidate.name,
            evidence,
            candidate.aliases,
            convention,
            solutions,
            rivals,
            candidate.entry,
            candidate.model,
        )


@dataclass(frozen=True)
class Proposal:
    """What one source of evidence says. `withheld`: indices for which it disputes a name that the shapes force."""

    named: Mapping[int, NamedParameter] = field(default_factory=dict)
    contradictions: tuple[Contradiction, ...] = ()
    notes: tuple[str, ...] = ()
    withheld: frozenset[int] = frozenset()


class Source(Protocol):
    """A source of names. `known` is what stronger sources have said; a source may leave any index out."""

    def __call__(self, question: Question, known: Mapping[int, NamedParameter]) -> Proposal: ...


def fits_in(demand: Mapping[Shape, int], supply: Mapping[Shape, int]) -> bool:
    return all(supply.get(shape, 0) >= count for shape, count in demand.items())


def distinct(names: Iterable[str], cap: int = MAX_RIVALS) -> tuple[str, ...]:
    """Names without repetition, at most `cap`, order kept."""
    seen: dict[str, None] = {}
    for name in names:
        if len(seen) == cap:
            break
        seen.setdefault(name)
    return tuple(seen)
