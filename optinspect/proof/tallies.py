"""What one pass over a parameter's tensors in both files adds up: a monoid under `+`, block by block.

Stepping   one step lies between the files: the proof
Still      none lies between: has anything changed?
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from math import hypot, sqrt

import numpy as np

from optinspect.bundles import Slot
from optinspect.decoding import Array
from optinspect.proof.candidates import Candidate, Step
from optinspect.proof.changes import WEIGHT_A, WEIGHT_B, Changes, changes
from optinspect.proof.inference import LeastSquares
from optinspect.proof.pairing import Parameter, Weight
from optinspect.proof.precision import PRECISIONS, Doubles, dot, furthest, step_unit
from optinspect.proof.recovery import Moments, gradient, moment_residual
from optinspect.proof.sampling import as_doubles, slot_roundoff
from optinspect.tensors import TensorRef

PIECE = 1 << 15
"""Elements worked on at once: a dozen float64 arrays of this size stay in the second-level cache."""


@dataclass(frozen=True, slots=True)
class Tally:
    """moment, steps: largest residuals, one a candidate; gradient: L2 norm; slope: on a part of the elements.

    apart, reach, lag   of e = θ_B − predicted and x, the movement against which the step goes: √Σe², √Σx², Σe·x
    """

    changes: Changes = field(default_factory=Changes)
    moment: float = 0.0
    steps: tuple[float, ...] = ()
    gradient: float = 0.0
    slope: LeastSquares = field(default_factory=LeastSquares)
    apart: float = 0.0
    reach: float = 0.0
    lag: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        pairs = zip_longest(self.steps, other.steps, fillvalue=0.0)
        return Tally(
            self.changes + other.changes,
            max(self.moment, other.moment),
            tuple(max(pair) for pair in pairs),
            hypot(self.gradient, other.gradient),
            self.slope + other.slope,
            hypot(self.apart, other.apart),
            hypot(self.reach, other.reach),
            self.lag + other.lag,
        )


@dataclass(frozen=True, eq=False)
class Stepping:
    """One step of one parameter: `after` is the parameter whose state in B it is, `candidates` what may have moved it.

    The first candidate is followed on every element and gives the gradient; the slope and the others, which only say
    what else fits, take one piece of `every`.
    """

    parameter: Parameter
    weight: Weight | None
    after: Parameter
    candidates: tuple[Candidate, ...]
    moments: Moments | None
    every: int = 1

    def tensors(self) -> dict[str, TensorRef]:
        found = {} if self.weight is None else {WEIGHT_A: self.weight.a, WEIGHT_B: self.weight.b}
        found.update((f"a:{name}", tensor) for name, tensor in self.parameter.a.slots.items() if name in _NEEDED)
        found.update((f"b:{name}", tensor) for name, tensor in self.after.b.slots.items())
        return found

    def tally(self, blocks: Mapping[Slot, Array]) -> Tally:
        total = Tally(changes(blocks, self.weight))
        size = next(iter(blocks.values())).size
        for number, start in enumerate(range(0, size, PIECE)):
            raw = {slot: block[start : start + PIECE] for slot, block in blocks.items()}
            total = total + self._piece(raw, number % self.every == 0)
        return total

    def _piece(self, raw: Mapping[Slot, Array], chosen: bool) -> Tally:
        piece = {slot: _widened(slot, block) for slot, block in raw.items()}
        before = {name[2:]: x for name, x in piece.items() if name and name[:2] == "a:" and name != WEIGHT_A}
        after = {name[2:]: x for name, x in piece.items() if name and name[:2] == "b:" and name != WEIGHT_B}
        after.update({name: np.asarray(number) for name, number in self.after.b.scalars.items()})
        first = self.candidates[0]
        g = gradient(before, after, first.settings)
        if g is None:
            return Tally()
        moment = 0.0
        if self.moments is not None:
            moment = moment_residual(before, after, g, first.settings, self.moments)
        theta_a, theta_b = piece.get(WEIGHT_A), piece.get(WEIGHT_B)
        if theta_a is None or theta_b is None or self.weight is None:
            return Tally(moment=moment, gradient=sqrt(dot(g, g)))
        own = PRECISIONS[self.weight.a.dtype.name]
        slots = slot_roundoff(self.parameter.a, self.after.b)
        narrow = raw[WEIGHT_A].dtype == np.float32
        old, new = (raw[WEIGHT_A], raw[WEIGHT_B]) if narrow else (theta_a, theta_b)
        unit = step_unit(old, new, own.roundoff, own.smallest, max(own.roundoff, slots))
        e = theta_b
        steps: tuple[float, ...] = ()
        for each in self.candidates if chosen else self.candidates[:1]:
            t = each.number(self.after.b)
            predicted = each.moved(theta_a, g, after, t)
            blurred = unit
            if each.uses_gradient:
                blurred = unit + each.blur(Step(theta_a, g, before, after, t), predicted, slots)
            steps += (furthest(predicted, theta_b, blurred),)
            e = theta_b - predicted if each is first and chosen else e
        plain = g - first.l2 * theta_a if first.l2 else g
        norm = sqrt(dot(plain, plain))
        if not chosen:
            return Tally(Changes(), moment, steps, norm)
        x = first.direction(g, after, first.number(self.after.b))
        slope = LeastSquares.of(x, theta_a, theta_b - theta_a, unit, first.settings.lr)
        away = sqrt(dot(x, x))
        return Tally(Changes(), moment, steps, norm, slope, sqrt(dot(e, e)), away, dot(e, x))


_SCRATCH = threading.local()


def _widened(slot: Slot, block: Array) -> Doubles:
    """As float64, in memory that this thread's next piece takes again: fresh memory costs as much as the arithmetic."""
    if block.dtype.kind == "c":
        return as_doubles(block)
    rooms: dict[str, Doubles] = _SCRATCH.__dict__
    room = rooms.get(slot or "")
    if room is None:
        room = rooms[slot or ""] = np.empty(PIECE)
    wide = room[: block.size]
    np.copyto(wide, block)
    return wide


_NEEDED = frozenset({"exp_avg", "exp_avg_sq", "momentum_buffer"})


@dataclass(frozen=True, eq=False)
class Still:
    """No step of this parameter lies between the files, or it cannot be followed: only whether anything changed."""

    parameter: Parameter
    weight: Weight | None

    def tensors(self) -> dict[str, TensorRef]:
        found = {} if self.weight is None else {WEIGHT_A: self.weight.a, WEIGHT_B: self.weight.b}
        for name, tensor in self.parameter.b.slots.items():
            if name in self.parameter.a.slots:
                found[f"a:{name}"] = self.parameter.a.slots[name]
            found[f"b:{name}"] = tensor
        return found

    def tally(self, blocks: Mapping[Slot, Array]) -> Tally:
        return Tally(changes(blocks, self.weight))
