"""From blocks of values to Statistics and JointStatistics, in few passes over memory that stays in the cache."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from optinspect.blocks import BLOCK
from optinspect.statistics import JointStatistics, Statistics
from optinspect.sums import ROW, SAFE, Floats, dot
from optinspect.tally import Scratch, Tally, real
from optinspect.terms import AdamTerms

Array = npt.NDArray[Any]


class Gauge(Scratch):
    """What one thread measures with.

    Overflow and invalid operations are part of the work: call its methods inside np.errstate(all="ignore").
    """

    def statistics(self, block: Array, sampled: bool = False) -> Statistics:
        """Of one block; see Tally."""
        tally = Tally(self, sampled)
        tally.add(block)
        return tally.result()

    def norm(self, block: Array) -> tuple[int, float]:
        """Number and L2 norm of the finite elements; complex values count as two numbers."""
        values = real(block.view(block.real.dtype) if np.iscomplexobj(block) else block)
        if values.dtype == np.float32 and values.size >= ROW:
            square = dot(values, values)
            if SAFE[0] < sqrt(square / values.size) < SAFE[1]:
                return values.size, sqrt(square)
        found = self.statistics(values)
        return found.finite, found.norm or 0.0

    def joint(self, m: Array, v: Array, terms: AdamTerms, low: float | None = None) -> JointStatistics:
        """Of blocks of m and v in step, both 1-d and of one size. `low`: the least of v where it is known already."""
        if np.iscomplexobj(m):  # torch's Adam treats a complex parameter as its real and imaginary parts
            return self.joint(m.view(m.real.dtype), v.view(v.real.dtype), terms)
        scale_m, scale_v = terms.scales
        low, eps = float(v.min(initial=np.inf)) if low is None else low, terms.eps / scale_v
        if m.dtype == v.dtype == np.float32 and low >= 0 and m.size and 1e-30 * (low == 0) < eps < 1e30:
            u = self.room("update", np.float32, m.size)
            np.sqrt(v, out=u)
            np.add(u, np.float32(eps), out=u)
            np.divide(m, u, out=u)
            square = dot(u, u)
            if SAFE[0] < sqrt(square / u.size) < SAFE[1]:
                lost = 0 if low else _lost(m, v)
                return JointStatistics(u.size, sqrt(square) * scale_m / scale_v, lost_v=lost)
        return _joint64(m.astype(np.float64), v.astype(np.float64), eps, scale_m / scale_v)


def statistics_of(values: npt.ArrayLike) -> Statistics:
    """Statistics of anything numpy makes an array of, block by block; the histogram is exact."""
    flat, tally = np.asarray(values).reshape(-1), Tally(Scratch())
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, BLOCK):
            tally.add(np.ascontiguousarray(flat[start : start + BLOCK]))
        return tally.result()


def _joint64(m: Floats, v: Floats, eps: float, scale: float) -> JointStatistics:
    """Where m or v are zero, negative, not finite, of extreme size, or not float32."""
    u = m / (np.sqrt(v) + eps) * scale
    good = u[np.isfinite(u)]
    top = float(np.abs(good).max(initial=0.0))
    norm = sqrt(dot(good / top, good / top)) * top if top else 0.0
    return JointStatistics(good.size, norm, u.size - good.size, int(np.count_nonzero(v < 0)), _lost(m, v))


def _lost(m: Array, v: Array) -> int:
    return int(np.count_nonzero((v == 0) & (m != 0)))
