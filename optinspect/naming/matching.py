"""Counts the ways in which groups can be disjoint, order-keeping subsequences of a model's parameters.

A walk over the model's parameters in order. A state is how far each group has come; at each parameter some group takes
it as its next member (shapes must agree; an index without a shape takes anything) or nobody does. States that lead
nowhere are cut by what remains of each shape. Splitting one sequence into many is a shuffle problem, exponential in the
number of groups, so the walk gives up beyond a bounded number of moves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
Progress = tuple[int, ...]
Layer = dict[Progress, int]

MOVES = 200_000
"""Moves (states times groups) looked at before giving up: 0.5 s in CPython 3.11 on a busy core, measured."""


@dataclass(frozen=True)
class Matches:
    """solutions: how many assignments there are; chances: per group and member, position → share of the solutions."""

    solutions: int
    chances: Sequence[Sequence[Mapping[int, float]]]


class Walk:
    """The moves of the walk. `owner`: per parameter the only group that may take it, where a split decides that."""

    def __init__(
        self,
        groups: Sequence[Sequence[Shape | None]],
        supply: Sequence[Shape],
        owner: Sequence[int] | None = None,
    ) -> None:
        self.groups = groups
        self.owner = owner
        self.supply = supply
        self.sizes = tuple(len(group) for group in groups)
        self.slack = len(supply) - sum(self.sizes)
        demand = Counter(shape for group in groups for shape in group if shape is not None)
        offered = Counter(supply)
        self.spare = {shape: offered[shape] - demand[shape] for shape in {*offered, *demand}}
        self.where = [_positions(group) for group in groups]
        self.before = _occurrences(supply)

    @property
    def hopeless(self) -> bool:
        return self.slack < 0 or any(spare < 0 for spare in self.spare.values())

    def steps(self, at: int, state: Progress) -> Iterator[tuple[Progress, int | None]]:
        """(next state, group that takes parameter `at` or None)."""
        shape = self.supply[at]
        unused: bool | None = None
        for number in range(len(state)) if self.owner is None else (self.owner[at],):
            done = state[number]
            if done == self.sizes[number]:
                continue
            wanted = self.groups[number][done]
            if wanted is None:
                unused = self._may_go_elsewhere(at, shape, state) if unused is None else unused
                if not unused:
                    continue
            elif wanted != shape:
                continue
            yield (*state[:number], done + 1, *state[number + 1 :]), number
        if at - sum(state) < self.slack:
            unused = self._may_go_elsewhere(at, shape, state) if unused is None else unused
            if unused:
                yield state, None

    def _may_go_elsewhere(self, at: int, shape: Shape, state: Progress) -> bool:
        """Whether a tensor of this shape can be spared: enough are left for the indices that show the shape."""
        spare = self.spare[shape]
        if spare <= 0:
            return False
        used = sum(
            bisect_left(self.where[number][shape], done)
            for number, done in enumerate(state)
            if shape in self.where[number]
        )
        return self.before[at] - used < spare


def matches(groups: Sequence[Sequence[Shape | None]], supply: Sequence[Shape], budget: int = MOVES) -> Matches | None:
    """All order-keeping assignments, counted exactly; None where more than `budget` moves would be looked at."""
    walk = Walk(groups, supply)
    if walk.hopeless:
        return Matches(0, ())
    if len(groups) * len(supply) > budget:
        return None
    layers: list[Layer] = [{(0,) * len(groups): 1}]
    left = budget
    for at in range(len(supply)):
        layer: Layer = {}
        left -= len(groups) * len(layers[-1])
        if left < 0:
            return None
        for state, ways in layers[-1].items():
            for following, _ in walk.steps(at, state):
                layer[following] = layer.get(following, 0) + ways
        if not layer:
            return Matches(0, ())
        layers.append(layer)
    total = layers[-1].get(walk.sizes, 0)
    return Matches(total, _chances(walk, layers, total) if total else ())


def _chances(walk: Walk, layers: list[Layer], total: int) -> list[list[dict[int, float]]]:
    chances: list[list[dict[int, float]]] = [[{} for _ in group] for group in walk.groups]
    onward: Layer = {walk.sizes: 1}
    for at in range(len(walk.supply) - 1, -1, -1):
        behind: Layer = {}
        for state, ways in layers[at].items():
            completions = 0
            for following, taker in walk.steps(at, state):
                rest = onward.get(following, 0)
                completions += rest
                if rest and taker is not None:
                    slot = chances[taker][state[taker]]
                    slot[at] = slot.get(at, 0.0) + ways * rest / total
            if completions:
                behind[state] = completions
        onward = behind
    return chances


def _positions(group: Sequence[Shape | None]) -> dict[Shape, list[int]]:
    positions: dict[Shape, list[int]] = {}
    for place, shape in enumerate(group):
        if shape is not None:
            positions.setdefault(shape, []).append(place)
    return positions


def _occurrences(supply: Sequence[Shape]) -> list[int]:
    """For each parameter, how many of its shape come before it."""
    seen: Counter[Shape] = Counter()
    before: list[int] = []
    for shape in supply:
        before.append(seen[shape])
        seen[shape] += 1
    return before
