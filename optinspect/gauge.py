"""From a block of values to Statistics and JointStatistics, in few passes over memory that stays in the cache.

Sums are taken by BLAS: in float64, or in float32 over rows of 1024 whose sums are added in float64, where the values
allow it (see `_rows_fit`). Everything else goes through float64: no square under- or overflows there.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from optinspect.blocks import BLOCK
from optinspect.histograms import PAIRED, exponents, exponents32, sample
from optinspect.statistics import JointStatistics, Statistics
from optinspect.terms import AdamTerms

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_ROW = 1024
"""Elements summed by one BLAS call. So short a call rounds little in float32 and starts no threads of BLAS' own."""
_ONES = {np.dtype(kind): np.ones(_ROW, kind) for kind in (np.float32, np.float64)}

_SAFE = (1e-12, 1e15)
"""Largest magnitude for which float32 squares neither overflow nor lose elements that matter."""


class Gauge:
    """Scratch memory, one a thread; grows to the largest block it has seen.

    Overflow and invalid operations are part of the work: call its methods inside np.errstate(all="ignore").
    """

    def __init__(self) -> None:
        self._memory: dict[str, Array] = {}

    def _room(self, purpose: str, kind: npt.DTypeLike, size: int) -> Array:
        """An array of undefined content, reused by the next call for the same purpose."""
        found = self._memory.get(purpose)
        if found is None or found.size < size:
            found = self._memory[purpose] = np.empty(max(size, BLOCK if size > PAIRED else PAIRED), kind)
        return found[:size]

    def statistics(self, block: Array, sampled: bool = False) -> Statistics:
        """Of a 1-d block of any numpy number; complex values count by their absolute value.

        sampled  take the histogram of a sample (see histograms.sample); every other figure is of all elements
        """
        if not block.size:
            return Statistics()
        values = _real(block)
        low, high = float(values.min()), float(values.max())
        if isfinite(low) and isfinite(high):
            return self._finite(values, low, high, sampled)
        good = values[np.isfinite(values)]
        nans = int(np.count_nonzero(np.isnan(values)))
        bad = Statistics(block.size - good.size, nans=nans, infs=block.size - good.size - nans)
        return bad + self._finite(good, float(good.min()), float(good.max()), sampled) if good.size else bad

    def _finite(self, values: Array, low: float, high: float, sampled: bool) -> Statistics:
        n = values.size
        mean, deviation, norm = self._lengths(values, low, high)
        seen = sample(values) if sampled and n >= PAIRED else values
        if values.dtype == np.float32 and seen.size >= PAIRED:
            histogram = exponents32(seen, self._room("pairs", np.int64, seen.size // 2))
        else:
            wide = self._room("wide", np.float64, seen.size)
            np.copyto(wide, seen)
            histogram = exponents(wide)
        zeros = seen.size - sum(histogram.values()) if seen.size == n else self._zeros(values, low)
        return Statistics(n, mean, deviation, norm, low, high, zeros, 0, 0, histogram, seen.size)

    def _zeros(self, values: Array, low: float) -> int:
        if low > 0:
            return 0
        flags = self._room("flags", np.bool_, values.size)
        np.equal(values, 0, out=flags)
        return int(np.count_nonzero(flags))

    def _lengths(self, values: Array, low: float, high: float) -> tuple[float, float, float]:
        """Mean, √Σ(x − mean)² and √Σx²."""
        if _rows_fit(values, max(-low, high)):
            total, square = _sum(values), dot(values, values)
            spread = square - total * total / values.size
            if spread > 0.1 * square:  # else digits cancel
                return total / values.size, sqrt(spread), sqrt(square)
        wide = self._room("wide", np.float64, values.size)
        np.copyto(wide, values)
        return _lengths64(wide, low, high)

    def norm(self, block: Array) -> tuple[int, float]:
        """Number and L2 norm of the finite elements; complex values count as two numbers."""
        values = _real(block.view(block.real.dtype) if np.iscomplexobj(block) else block)
        if values.dtype == np.float32 and values.size >= _ROW:
            square = dot(values, values)
            if _SAFE[0] < sqrt(square / values.size) < _SAFE[1]:
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
            u = self._room("update", np.float32, m.size)
            np.sqrt(v, out=u)
            np.add(u, np.float32(eps), out=u)
            np.divide(m, u, out=u)
            square = dot(u, u)
            if _SAFE[0] < sqrt(square / u.size) < _SAFE[1]:
                lost = 0 if low else _lost(m, v)
                return JointStatistics(u.size, sqrt(square) * scale_m / scale_v, lost_v=lost)
        return _joint64(m.astype(np.float64), v.astype(np.float64), eps, scale_m / scale_v)


def statistics_of(values: npt.ArrayLike) -> Statistics:
    """Statistics of anything numpy makes an array of, block by block; every histogram is exact."""
    flat, gauge = np.asarray(values).reshape(-1), Gauge()
    with np.errstate(all="ignore"):
        blocks = (np.ascontiguousarray(flat[start : start + BLOCK]) for start in range(0, flat.size, BLOCK))
        return sum((gauge.statistics(block) for block in blocks), Statistics())


def _rows_fit(values: Array, top: float) -> bool:
    """float32 values whose squares stay in float32's range."""
    return values.dtype == np.float32 and values.size >= _ROW and _SAFE[0] < top < _SAFE[1]


def _joint64(m: Floats, v: Floats, eps: float, scale: float) -> JointStatistics:
    """Where m or v are zero, negative, not finite, of extreme size, or not float32."""
    u = m / (np.sqrt(v) + eps) * scale
    good = u[np.isfinite(u)]
    top = float(np.abs(good).max(initial=0.0))
    norm = sqrt(dot(good / top, good / top)) * top if top else 0.0
    return JointStatistics(good.size, norm, u.size - good.size, int(np.count_nonzero(v < 0)), _lost(m, v))


def _lost(m: Array, v: Array) -> int:
    return int(np.count_nonzero((v == 0) & (m != 0)))


def _lengths64(values: Floats, low: float, high: float) -> tuple[float, float, float]:
    """Mean, √Σ(x − mean)² and √Σx² of finite values, whatever their size. Destroys `values`."""
    n, top = values.size, max(-low, high)
    power = 0
    if top and not 1e-130 < top < 1e130:  # float64 squares would vanish or overflow
        power = int(np.frexp(top)[1])
        np.ldexp(values, -power, out=values)
    total, square = _sum(values), dot(values, values)
    mean, spread = total / n, square - total * total / n
    if low == high:
        mean, spread = float(np.ldexp(low, -power)), 0.0
    elif spread <= 1e-4 * square:  # the digits cancel: take the deviations themselves
        np.subtract(values, mean, out=values)
        spread = dot(values, values)
    if not power:
        return mean, sqrt(spread), sqrt(square)
    mean, deviation, norm = np.ldexp([mean, sqrt(spread), sqrt(square)], power).tolist()
    return mean, deviation, norm


def _sum(values: Array) -> float:
    whole = values.size // _ROW * _ROW
    tail = float(values[whole:].sum())
    return (
        tail + float(np.matmul(values[:whole].reshape(-1, _ROW), _ONES[values.dtype]).sum(dtype=np.float64))
        if whole
        else tail
    )


def dot(a: Array, b: Array) -> float:
    whole = a.size // _ROW * _ROW
    tail = float(np.dot(a[whole:], b[whole:]))
    if not whole:
        return tail
    rows = np.matmul(a[:whole].reshape(-1, 1, _ROW), b[:whole].reshape(-1, _ROW, 1))
    return tail + float(rows.sum(dtype=np.float64))


def _real(block: Array) -> Array:
    """float32 and float64 as they are, float16 as float32, the rest as float64; |z| of complex numbers."""
    if block.dtype in (np.float32, np.float64):
        return block
    if block.dtype.kind == "c":
        return np.hypot(block.real.astype(np.float64), block.imag.astype(np.float64))
    return block.astype(np.float32 if block.dtype == np.float16 else np.float64)
