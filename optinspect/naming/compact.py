"""The order-keeping assignment that cuts the model least: frozen parameters left out are whole modules, as a rule.

Of all ways to leave out the surplus, the one with the fewest and shallowest cuts between "in the optimizer" and "left
out"; of equals the one that trains the later layers. A guess with good odds, not proof.
"""

from __future__ import annotations

from collections.abc import Sequence

from optinspect.naming.fits import Fit
from optinspect.naming.lanes import Lanes, lanes
from optinspect.naming.matching import MOVES, Walk
from optinspect.naming.question import Pool, Question
from optinspect.naming.traits import Traits

PIECES = 3
"""Runs allowed, and one more for every 8 parameters: what needs more is no matter of whole modules."""

Progress = tuple[int, ...]
State = tuple[Progress, bool]
Cost = tuple[int, int]
Layer = dict[State, tuple[Cost, State | None]]


def compact_fit(question: Question, pool: Pool) -> Fit | None:
    """The least cut assignment under the first split that has one; None where all are in, or shapes are too few."""
    if len(question.shapes) >= len(pool.candidates) or 2 * sum(question.demand.values()) < len(question.shapes):
        return None
    budget = [MOVES]
    best: tuple[int, Fit] | None = None
    for laid in lanes(question, pool, range(len(pool.candidates))):
        found = _least_cut(question, pool, laid, budget)
        if found is not None and (best is None or found[0] < best[0]):
            best = found[0], Fit(found[1], f"{laid.title}, whole modules left out, module order")
    return best[1] if best is not None and _pieces(best[1]) <= PIECES + len(question.shapes) // 8 else None


def _pieces(fit: Fit) -> int:
    """Runs of neighbouring parameters that the assignment takes."""
    taken = sorted(place for place in fit.positions if place is not None)
    return sum(after != before + 1 for before, after in zip([-2, *taken], taken, strict=False))


def _least_cut(question: Question, pool: Pool, laid: Lanes, budget: list[int]) -> tuple[int, list[int | None]] | None:
    shapes = [[question.shapes[index] for index in members] for members in laid.members]
    walk = Walk(shapes, pool.shapes, laid.owner)
    if walk.hopeless:
        return None
    start: State = ((0,) * len(shapes), False)
    layers: list[Layer] = [{start: ((0, 0), None)}]
    for at in range(len(pool.shapes)):
        budget[0] -= len(layers[-1])
        if budget[0] < 0:
            return None
        layer = _advance(walk, layers[-1], at, _depth(pool.traits, at))
        if not layer:
            return None
        layers.append(layer)
    ends = [state for state in layers[-1] if state[0] == walk.sizes]
    if not ends:
        return None
    end = min(ends, key=lambda state: layers[-1][state][0])
    return layers[-1][end][0][0], _retrace(question, layers, end, laid)


def _advance(walk: Walk, layer: Layer, at: int, depth: int) -> Layer:
    following: Layer = {}
    for state, ((cuts, late), _) in layer.items():
        for progress, taker in walk.steps(at, state[0]):
            taken = taker is not None
            cost = (cuts + (depth if taken != state[1] and at else 0), late - at if taken else late)
            target = (progress, taken)
            if target not in following or cost < following[target][0]:
                following[target] = (cost, state)
    return following


def _depth(traits: Sequence[Traits], at: int) -> int:
    """What a cut before `at` costs: 1, and 1 more for each level of the module tree that both neighbours share."""
    if not at:
        return 0
    shared = 1
    for a, b in zip(traits[at - 1].name.split("."), traits[at].name.split("."), strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _retrace(question: Question, layers: list[Layer], end: State, laid: Lanes) -> list[int | None]:
    positions: list[int | None] = [None] * len(question.shapes)
    state: State | None = end
    for at in range(len(layers) - 1, 0, -1):
        assert state is not None
        before = layers[at][state][1]
        if state[1] and before is not None:
            lane = laid.owner[at - 1]
            positions[laid.members[lane][before[0][lane]]] = at - 1
        state = before
    return positions
