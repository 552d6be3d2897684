"""From the blocks of a tensor to its Statistics: what each block gives is kept as plain numbers until the last one.

The fewer operations lie between two long ones, the less the threads wait for each other (only the long ones release
Python's lock), and the smaller a block may be that stays in the cache.
"""

from __future__ import annotations

from math import fsum, inf, isfinite, nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from optinspect.blocks import BLOCK
from optinspect.histograms import PAIRED, Counts, exponents, exponents32, merged, sample
from optinspect.statistics import Statistics
from optinspect.sums import added, dot, lengths64, rows_fit

Array = npt.NDArray[Any]


class Scratch:
    """Memory that is used again, one a thread; grows to the largest block it has seen."""

    def __init__(self) -> None:
        self._memory: dict[str, Array] = {}

    def room(self, purpose: str, kind: npt.DTypeLike, size: int) -> Array:
        """An array of undefined content, reused by the next call for the same purpose."""
        found = self._memory.get(purpose)
        if found is None or found.size < size:
            found = self._memory[purpose] = np.empty(max(size, BLOCK if size > PAIRED else PAIRED), kind)
        return found[:size]


class Tally:
    """The statistics of one tensor, block by block. Call it inside np.errstate(all="ignore").

    sampled  take the histogram of a sample (see histograms.sample); every other figure is of all elements
    """

    def __init__(self, scratch: Scratch, sampled: bool = False) -> None:
        self._scratch, self._sampled = scratch, sampled
        self._sums: list[tuple[int, float, float]] = []
        self._apart = Statistics()
        self._low, self._high = inf, -inf
        self._nans = self._infs = self._zeros = self._seen = 0
        self._counts: Counts = {}
        self._samples: list[Array] = []

    def add(self, block: Array) -> float:
        """Count in a 1-d block of any numpy number; complex values count by their absolute value.

        Gives the least of the values; NaN where not all are finite.
        """
        if not block.size:
            return inf
        values = real(block)
        low, high = float(values.min()), float(values.max())
        if isfinite(low) and isfinite(high):
            self._finite(values, low, high)
            return low
        good = values[np.isfinite(values)]
        nans = int(np.count_nonzero(np.isnan(values)))
        self._nans += nans
        self._infs += values.size - good.size - nans
        if good.size:
            self._finite(good, float(good.min()), float(good.max()))
        return nan

    def result(self) -> Statistics:
        """Of all blocks together."""
        if self._samples:
            self._count(np.concatenate(self._samples))
            self._samples.clear()
        lengths = self._pooled()
        if not lengths.count:
            return Statistics(self._nans + self._infs, nans=self._nans, infs=self._infs)
        return Statistics(
            lengths.count + self._nans + self._infs,
            lengths.mean,
            lengths.deviation,
            lengths.norm,
            self._low,
            self._high,
            self._zeros,
            self._nans,
            self._infs,
            self._counts,
            self._seen,
        )

    def _pooled(self) -> Statistics:
        """Number, mean and lengths of all finite values."""
        if not self._sums:
            return self._apart
        counts, totals, squares = zip(*self._sums, strict=True)
        n, total, square = sum(counts), fsum(totals), fsum(squares)
        return self._apart + Statistics(n, total / n, sqrt(square - total * total / n), sqrt(square))

    def _finite(self, values: Array, low: float, high: float) -> None:
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._measure(values, low, high)
        if self._sampled:
            self._samples.append(sample(values))
            self._zeros += self._zeros_in(values) if low <= 0 else 0
        else:
            self._zeros += values.size - self._count(values)

    def _measure(self, values: Array, low: float, high: float) -> None:
        """Take sums in float32 where no digits cancel and roundings do, all lengths in float64 elsewhere."""
        if rows_fit(values, max(-low, high)) and _varied(values):
            total, square = added(values), dot(values, values)
            if square - total * total / values.size > 0.1 * square:
                self._sums.append((values.size, total, square))
                return
        self._apart += Statistics(values.size, *lengths64(self._wide(values), low, high))

    def _count(self, values: Array) -> int:
        """Add the histogram of these values; gives how many are in it: all but the zeros."""
        if values.dtype == np.float32 and values.size >= PAIRED:
            found = exponents32(values, self._scratch.room("pairs", np.int64, values.size // 2))
        else:
            found = exponents(self._wide(values))
        self._counts = merged(self._counts, found)
        self._seen += values.size
        return sum(found.values())

    def _zeros_in(self, values: Array) -> int:
        flags = self._scratch.room("flags", np.bool_, values.size)
        np.equal(values, 0, out=flags)
        return int(np.count_nonzero(flags))

    def _wide(self, values: Array) -> Array:
        wide = self._scratch.room("wide", np.float64, values.size)
        np.copyto(wide, values)
        return wide


def _varied(values: Array) -> bool:
    """Whether the values, zeros aside, are hardly ever equal, by 64 of them.

    Equal addends are rounded the same way again and again: sums in float32 are then off by 7e-6 instead of 1e-7.
    """
    seen = [value for value in values[:: values.size // 64].tolist() if value]
    return len(seen) >= 8 and 4 * len(set(seen)) >= 3 * len(seen)


def real(block: Array) -> Array:
    """float32 and float64 as they are, float16 as float32, the rest as float64; |z| of complex numbers."""
    if block.dtype in (np.float32, np.float64):
        return block
    if block.dtype.kind == "c":
        return np.hypot(block.real.astype(np.float64), block.imag.astype(np.float64))
    return block.astype(np.float32 if block.dtype == np.float16 else np.float64)
