"""Step residuals on samples: one parameter's state against every weight of its shape at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optinspect.proof.candidates import Candidate, Step
from optinspect.proof.precision import RULED_OUT, Doubles, settle, step_unit
from optinspect.proof.recovery import gradient
from optinspect.proof.sampling import StateSample, WeightSample

FEW = 128
"""Elements that are looked at first, where there are many weights to rule out."""
MANY = 64


class Rivals:
    """The weights of one shape, stacked. a, b: (weights, elements)."""

    def __init__(self, weights: Sequence[WeightSample]) -> None:
        self.weights = tuple(weights)
        size = weights[0].a.size if weights else 0
        self.a = np.array([each.a for each in weights]).reshape(len(weights), size)
        self.b = np.array([each.b for each in weights]).reshape(len(weights), size)
        self.roundoff = np.array([[each.precision.roundoff] for each in weights]).reshape(len(weights), 1)
        self.smallest = np.array([[each.precision.smallest] for each in weights]).reshape(len(weights), 1)

    def residuals(self, candidate: Candidate, state: StateSample) -> Doubles:
        """Per weight the largest step residual under this state; inf where nothing can be predicted."""
        count, size = self.a.shape
        if not size:
            return np.zeros(count)
        stride = size // FEW if count > MANY and size > 2 * FEW else 1
        found = self._residuals(candidate, state, np.arange(count), stride)
        if stride > 1:
            close = np.flatnonzero(found < RULED_OUT)
            found[close] = self._residuals(candidate, state, close, 1)
        return found

    def _residuals(self, candidate: Candidate, state: StateSample, rows: np.ndarray, stride: int) -> Doubles:
        theta_a, theta_b = self.a[rows, ::stride], self.b[rows, ::stride]
        after = {name: x[::stride] if x.ndim else x for name, x in state.after.items()}
        before = {name: x[::stride] for name, x in state.before.items()}
        g = gradient(before, after, candidate.settings)
        if g is None:
            return np.full(len(rows), np.inf)
        with np.errstate(all="ignore"):
            t = candidate.number(state.parameter.b)
            predicted = candidate.moved(theta_a, g, after, t)
            unit = self._units(theta_a, theta_b, rows, state.roundoff)
            if candidate.uses_gradient:
                unit += candidate.blur(Step(theta_a, g, before, after, t), predicted, state.roundoff)
            ratio = np.abs(settle(predicted, theta_b)) / unit
        ratio[np.isnan(ratio)] = np.inf
        return np.asarray(ratio.max(axis=1))

    def _units(self, theta_a: Doubles, theta_b: Doubles, rows: np.ndarray, roundoff: float) -> Doubles:
        """As precision.step_unit, each row in its own dtype's."""
        own = self.roundoff[rows]
        return step_unit(theta_a, theta_b, own, self.smallest[rows], np.maximum(own, roundoff))

    def stillness(self) -> Doubles:
        """Per weight how far it moved, in step units: what no step at all would have to explain."""
        if not self.a.size:
            return np.zeros(len(self.weights))
        with np.errstate(all="ignore"):
            rows = np.arange(len(self.weights))
            ratio = np.abs(settle(self.a, self.b)) / self._units(self.a, self.b, rows, 0.0)
        ratio[np.isnan(ratio)] = np.inf
        return np.asarray(ratio.max(axis=1))


def unique_partners(matrix: Doubles, fits: float, ruled_out: float) -> dict[int, int]:
    """Row → column where exactly one column fits a row, all others are ruled out, and no other row comes near it."""
    found: dict[int, int] = {}
    for row in range(matrix.shape[0]):
        good = np.flatnonzero(matrix[row] <= fits)
        if good.size != 1:
            continue
        column = int(good[0])
        others = np.delete(matrix[row], column)
        rivals = np.delete(matrix[:, column], row)
        if (others >= ruled_out).all() and (rivals >= ruled_out).all():
            found[row] = column
    return found
