"""Several steps between the files: what must hold whatever the gradients were.

    descent     v_B ≥ β2^k·v_A                                  v is a mean of squares: it cannot fall faster
    impossible  m² ≤ C(t)·v,  C(t) = (1−β1)²/(1−β2)·(1−r^t)/(1−r),  r = β1²/β2    (Cauchy–Schwarz), in both files
    bound       |Δθ| ≤ Σ lr·√C(s)·√(1−β2^s)/(1−β1^s) + (1 − (1−lr·wd)^k)·|θ|        over the steps s between
    alignment   cos(θ_B − θ_A·(1−lr·wd)^k, −m̂_B/(√v̂_B+eps)): reported, refutes nothing

Adam-like states with constant β only. Source: Cauchy–Schwarz on the two averages as sums over the gradients; the others
follow from the update rules (docs/proof.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan, sqrt

import numpy as np

from optinspect.bundles import Slot
from optinspect.decoding import Array
from optinspect.optimizers.rules.settings import Settings
from optinspect.proof.changes import WEIGHT_A, WEIGHT_B, Changes, changes
from optinspect.proof.pairing import Parameter, Weight
from optinspect.proof.precision import PRECISIONS, Doubles, dot, ulp
from optinspect.proof.recovery import Moments
from optinspect.proof.sampling import as_doubles
from optinspect.proof.tallies import PIECE
from optinspect.tensors import TensorRef

SLACK = 1e-5
"""Relative excess that float32 rounding explains. Measured: 3.2e-7 in descent (k = 10), 1.7e-7 in m² ≤ C·v."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Largest value/limit of each law (1: exactly at the limit); sums for the alignment."""

    changes: Changes = field(default_factory=Changes)
    descent: float = 0.0
    impossible_a: float = 0.0
    impossible_b: float = 0.0
    bound: float = 0.0
    along: float = 0.0
    moved: float = 0.0
    reach: float = 0.0
    visible: int = 0
    """Elements that one more step would move by several units in the last place."""

    def __add__(self, other: Drift) -> Drift:
        return Drift(
            self.changes + other.changes,
            max(self.descent, other.descent),
            max(self.impossible_a, other.impossible_a),
            max(self.impossible_b, other.impossible_b),
            max(self.bound, other.bound),
            self.along + other.along,
            self.moved + other.moved,
            self.reach + other.reach,
            self.visible + other.visible,
        )

    @property
    def impossible(self) -> tuple[float, float]:
        """m²/(C·v) in A and in B."""
        return self.impossible_a, self.impossible_b

    @property
    def alignment(self) -> float | None:
        return self.along / sqrt(self.moved * self.reach) if self.moved > 0 and self.reach > 0 else None


def capacity(beta1: float, beta2: float, t: float) -> float:
    """C(t): the largest m²/v after t steps from zero."""
    if t <= 0:
        return 0.0
    if beta2 == 0:
        return (1 - beta1) ** 2 if beta1 == 0 else float("inf")
    r = beta1 * beta1 / beta2
    terms = t if r == 1 else (1 - r**t) / (1 - r)
    return float((1 - beta1) ** 2 / (1 - beta2) * terms)


@dataclass(frozen=True, eq=False)
class Drifting:
    """k > 1 steps of one parameter from step t_a to t_b.

    reach   Σ of the largest steps without decay; None where no lr is known
    shrink  largest share of θ that decay can have taken; blur: that rounding can have moved
    least_lr  the smaller of the lrs in the files
    """

    parameter: Parameter
    weight: Weight | None
    settings: Settings
    moments: Moments
    t_a: float
    t_b: float
    reach: float | None
    shrink: float
    blur: float
    least_lr: float
    decoupled: bool

    def tensors(self) -> dict[str, TensorRef]:
        found = {} if self.weight is None else {WEIGHT_A: self.weight.a, WEIGHT_B: self.weight.b}
        for name in ("exp_avg", "exp_avg_sq"):
            if name in self.parameter.a.slots:
                found[f"a:{name}"] = self.parameter.a.slots[name]
            found[f"b:{name}"] = self.parameter.b.slots[name]
        return found

    def tally(self, blocks: Mapping[Slot, Array]) -> Drift:
        total = Drift(changes(blocks, self.weight))
        for start in range(0, next(iter(blocks.values())).size, PIECE):
            total = total + self._piece({s: as_doubles(b[start : start + PIECE]) for s, b in blocks.items()})
        return total

    def _piece(self, x: Mapping[Slot, Doubles]) -> Drift:
        s, floor = self.settings, self.moments.second.smallest / (1 - self.settings.beta2)
        m_b, v_b = x["b:exp_avg"], x["b:exp_avg_sq"]
        m_a, v_a = x.get("a:exp_avg"), x.get("a:exp_avg_sq")
        descent = impossible_a = 0.0
        if m_a is not None and v_a is not None:
            # each step may lose the smallest subnormal to rounding
            descent = _ratio(v_a * s.beta2 ** (self.t_b - self.t_a) - floor, v_b)
            impossible_a = _ratio(m_a * m_a, capacity(s.beta1, s.beta2, self.t_a) * (v_a + floor))
        impossible_b = _ratio(m_b * m_b, capacity(s.beta1, s.beta2, self.t_b) * (v_b + floor))
        theta_a, theta_b = x.get(WEIGHT_A), x.get(WEIGHT_B)
        if theta_a is None or theta_b is None:
            return Drift(Changes(), descent, impossible_a, impossible_b)
        kept = (1 - s.lr * s.weight_decay) ** (self.t_b - self.t_a) if self.decoupled else 1.0
        moved = theta_b - kept * theta_a
        u = m_b / (np.sqrt(v_b) * (1 / sqrt(1 - s.beta2**self.t_b)) + s.eps)
        bound = 0.0
        if self.reach is not None:
            size = np.maximum(np.abs(theta_a), np.abs(theta_b))
            bound = _ratio(np.abs(theta_b - theta_a), self.reach + (self.shrink + self.blur) * size)
        own = PRECISIONS[self.weight.b.dtype.name] if self.weight is not None else None
        seen = np.abs(u) * self.least_lr > 4 * ulp(np.abs(theta_b), own.roundoff, own.smallest) if own else np.zeros(0)
        good = np.isfinite(moved) & np.isfinite(u)
        moved, u = moved[good], u[good]
        along, total, length = -dot(moved, u), dot(moved, moved), dot(u, u)
        visible = int(np.count_nonzero(seen))
        return Drift(Changes(), descent, impossible_a, impossible_b, bound, along, total, length, visible)


def _ratio(value: Doubles, limit: Doubles) -> float:
    """max(value/limit) over value > 0."""
    if not value.size:
        return 0.0
    ratio = np.where(value > 0, value / limit, 0.0)
    top = float(np.max(ratio))
    return float("inf") if isnan(top) else top
