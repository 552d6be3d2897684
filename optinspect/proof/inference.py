"""Hyperparameters that the step shows: lr and lr·wd by weighted least squares, β1 and β2 from the moments.

    Δθ = −lr·x − d·θ_A        x: what the rule moves by at lr = 1 without decay; d = lr·wd

Each element weighs 1/unit² (step units): that is how well its θ shows a difference. Two unknowns, six sums: a monoid.
Measured on recorded float32 pairs: lr to 7 digits; d as well as float32 shows it, which holds 1 − d to 2^-25.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from optinspect.proof.precision import Doubles, dot

NOISE = 0.3
"""Least deviation of a residual in step units that is believed: rounding to nearest alone gives 1/√12."""
VISIBLE = 2.0
"""Step units that an element must move by to be weighed."""


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """Sums over elements that moved or could have: weighted products of x, y = θ_A and d = Δθ."""

    n: int = 0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0
    xd: float = 0.0
    yd: float = 0.0
    dd: float = 0.0

    @classmethod
    def of(cls, x: Doubles, theta: Doubles, moved: Doubles, unit: Doubles, lr: float) -> LeastSquares:
        """lr: about what is looked for. Elements that it moves by less than two units are left out: their rounding is
        no noise around the movement, but hides it."""
        wide = np.maximum(unit, 1e-100)
        x, y, d = x / wide, theta / wide, moved / wide
        good = np.isfinite(x) & np.isfinite(y) & np.isfinite(d) & (np.abs(x) * lr >= (VISIBLE if lr > 0 else 0.0))
        if not good.all():
            x, y, d = x[good], y[good], d[good]
        return cls(x.size, *(dot(p, q) for p, q in ((x, x), (x, y), (y, y), (x, d), (y, d), (d, d))))

    def __add__(self, other: LeastSquares) -> LeastSquares:
        return LeastSquares(
            self.n + other.n,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
            self.xd + other.xd,
            self.yd + other.yd,
            self.dd + other.dd,
        )

    def solve(self, *, decays: bool = True) -> Slope | None:
        """None where nothing could have moved. Without weights (θ = 0 throughout) the decay is not told.

        decays  False where the rule is known to leave θ alone: lr is then told better
        """
        if self.n < 3 or not self.xx or not isfinite(self.xx + self.yy + self.dd):
            return None
        determinant = self.xx * self.yy - self.xy * self.xy
        if determinant <= 1e-12 * self.xx * self.yy or not decays:
            lr = -self.xd / self.xx
            return Slope(lr, max(self._spread(lr, 0.0), NOISE) / sqrt(self.xx), None, None)
        lr = -(self.xd * self.yy - self.yd * self.xy) / determinant
        decay = -(self.yd * self.xx - self.xd * self.xy) / determinant
        spread = max(self._spread(lr, decay), NOISE)
        return Slope(lr, spread * sqrt(self.yy / determinant), decay, spread * sqrt(self.xx / determinant))

    def _spread(self, lr: float, decay: float) -> float:
        left = self.dd + lr * self.xd + decay * self.yd
        return sqrt(max(left, 0.0) / max(self.n - 2, 1))


@dataclass(frozen=True, slots=True)
class Slope:
    """lr and d = lr·wd with their standard errors; decay None where it cannot be told."""

    lr: float
    lr_error: float
    decay: float | None
    decay_error: float | None


def round_value(x: float, relative: float, digits: int = 2) -> float | None:
    """The number of at most `digits` significant digits within `relative` of x > 0; None where there is none."""
    if not (isfinite(x) and x > 0):
        return None
    rounded = float(f"{x:.{digits - 1}e}")
    return rounded if abs(rounded - x) <= relative * x else None
