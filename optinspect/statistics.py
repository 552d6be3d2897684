"""What is said of a tensor's values, in numbers that add: the statistics of a whole are the sum of those of its parts.

    Statistics         of one tensor
    JointStatistics    of a parameter's moments together (and of its weight): how far a step moves it

Both are commutative monoids under `+` (up to rounding), so blocks may be measured in any order and by any thread.
Squares are never stored: lengths are merged by hypot, so values of 1e-300 or 1e300 neither vanish nor overflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import hypot, sqrt
from typing import Any

from optinspect.histograms import Counts, merged


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of the finite elements x of a tensor; of |z| where it is complex.

    count       all elements; nans, infs: of these, not finite and left out of everything else
    mean        Σx / n with n = count − nans − infs; None where n = 0, as are min, max, abs_max
    deviation   √Σ(x − mean)²
    norm        √Σx², the L2 norm
    zeros       elements equal to 0 (either sign)
    log2_histogram   exponent e → how many have 2^e ≤ |x| < 2^(e+1), zeros left out
    histogram_sample how many finite elements the histogram looked at: all of them, but of tensors beyond 2^20 elements
                     8 of every 509, evenly spread (its counts are then those of the sample, not scaled)

    Every figure is within 1e-6 of float64, relative to the tensor's rms (measured: 2e-7 at most).
    """

    count: int = 0
    mean: float | None = None
    deviation: float = 0.0
    norm: float | None = None
    min: float | None = None
    max: float | None = None
    zeros: int = 0
    nans: int = 0
    infs: int = 0
    log2_histogram: Counts = field(default_factory=dict)
    histogram_sample: int = 0

    @classmethod
    def of(cls, values: Any) -> Statistics:
        """Of a numpy array of any shape and numeric dtype (or anything numpy makes one of)."""
        from optinspect.gauge import statistics_of  # noqa: PLC0415  gauge builds Statistics

        return statistics_of(values)

    @property
    def finite(self) -> int:
        return self.count - self.nans - self.infs

    @property
    def std(self) -> float | None:
        """Of the population: √(Σ(x − mean)² / n)."""
        return self.deviation / sqrt(self.finite) if self.finite else None

    @property
    def rms(self) -> float | None:
        """√(Σx² / n)."""
        return None if self.norm is None else self.norm / sqrt(self.finite)

    @property
    def abs_max(self) -> float | None:
        return None if self.min is None or self.max is None else max(-self.min, self.max)

    def __add__(self, other: Statistics) -> Statistics:
        """The statistics of both together. Source: Chan, Golub & LeVeque 1983, equation 2.1 (pairwise update)."""
        if not (self.count and other.count):
            return self if self.count else other
        mean, deviation = _pooled(self, other)
        return Statistics(
            self.count + other.count,
            mean,
            deviation,
            self.norm if other.norm is None else other.norm if self.norm is None else hypot(self.norm, other.norm),
            min((x for x in (self.min, other.min) if x is not None), default=None),
            max((x for x in (self.max, other.max) if x is not None), default=None),
            self.zeros + other.zeros,
            self.nans + other.nans,
            self.infs + other.infs,
            merged(self.log2_histogram, other.log2_histogram),
            self.histogram_sample + other.histogram_sample,
        )

    def figures(self) -> dict[str, Any]:
        """The figures by the names of the machine-readable contract."""
        return {
            "count": self.count,
            "mean": self.mean,
            "std": self.std,
            "rms": self.rms,
            "norm": self.norm,
            "min": self.min,
            "max": self.max,
            "abs_max": self.abs_max,
            "zeros": self.zeros,
            "nans": self.nans,
            "infs": self.infs,
            "log2_histogram": self.log2_histogram,
            "histogram_sample": self.histogram_sample,
        }


def _pooled(a: Statistics, b: Statistics) -> tuple[float | None, float]:
    """Mean and deviation of both: D² = D_a² + D_b² + (mean_b − mean_a)²·n_a·n_b/n."""
    if a.mean is None or b.mean is None:
        return (b.mean, b.deviation) if a.mean is None else (a.mean, a.deviation)
    n = a.finite + b.finite
    share_a, share_b = a.finite / n, b.finite / n
    if a.mean == b.mean:  # exactly, so that a constant tensor has a deviation of exactly 0
        return a.mean, hypot(a.deviation, b.deviation)
    apart = (b.mean - a.mean) * sqrt(a.finite * b.finite / n)
    return a.mean * share_a + b.mean * share_b, hypot(a.deviation, b.deviation, apart)


@dataclass(frozen=True, slots=True)
class JointStatistics:
    """What m, v (and θ) of one parameter say together, for Adam-like states.

    The step that the optimizer takes without weight decay is lr·u per element, with

        u = m̂ / (√v̂ + eps),   m̂ = m / (1 − β1^t),   v̂ = v / (1 − β2^t)

    m exp_avg, v exp_avg_sq (max_exp_avg_sq with amsgrad), t: steps done, ≥ 1.
    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2;
    Reddi, Kale & Kumar 2018, arXiv:1904.09237 (amsgrad; torch divides the maximum by 1 − β2^t, and so do we).

    count           elements of which u is finite; complex parameters are their real and imaginary parts
    update_norm     √Σu² over these
    not_finite      elements of which u is not finite: NaN or Inf in m or v, v < 0, or m/0 with eps = 0
    negative_v      v < 0, which a mean of squares cannot be
    lost_v          v = 0 where m ≠ 0: squares that vanished in a small dtype
    weight_count, weight_norm   finite elements of θ and their L2 norm
    """

    count: int = 0
    update_norm: float = 0.0
    not_finite: int = 0
    negative_v: int = 0
    lost_v: int = 0
    weight_count: int = 0
    weight_norm: float = 0.0

    def __add__(self, other: JointStatistics) -> JointStatistics:
        return JointStatistics(
            self.count + other.count,
            hypot(self.update_norm, other.update_norm),
            self.not_finite + other.not_finite,
            self.negative_v + other.negative_v,
            self.lost_v + other.lost_v,
            self.weight_count + other.weight_count,
            hypot(self.weight_norm, other.weight_norm),
        )

    @property
    def update_rms(self) -> float | None:
        """rms(u); None where no element is finite."""
        return self.update_norm / sqrt(self.count) if self.count else None

    def effective_step(self, lr: float) -> float | None:
        """lr·rms(u), in units of the weight."""
        return None if self.update_rms is None else lr * self.update_rms

    def update_ratio(self, lr: float) -> float | None:
        """lr·rms(u) / rms(θ); None where θ is unknown or all zeros."""
        step = self.effective_step(lr)
        if step is None or not self.weight_count or self.weight_norm == 0:
            return None
        return step / (self.weight_norm / sqrt(self.weight_count))
