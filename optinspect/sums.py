"""Sums over a block in few passes: by BLAS in float64, or in float32 over rows of 1024 that are added in float64.

The float32 way is for values whose squares fit (see `rows_fit`). Everything else goes through float64: no square
under- or overflows there.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

ROW = 1024
"""Elements summed by one BLAS call. So short a call rounds little in float32 and starts no threads of BLAS' own."""
_ONES = {np.dtype(kind): np.ones(ROW, kind) for kind in (np.float32, np.float64)}

SAFE = (1e-12, 1e15)
"""Largest magnitude for which float32 squares neither overflow nor lose elements that matter."""


def rows_fit(values: Array, top: float) -> bool:
    """float32 values whose squares stay in float32's range; `top`: the largest magnitude."""
    return values.dtype == np.float32 and values.size >= ROW and SAFE[0] < top < SAFE[1]


def added(values: Array) -> float:
    """Σx of 1-d float32 or float64."""
    whole = values.size // ROW * ROW
    tail = float(values[whole:].sum()) if whole < values.size else 0.0
    if not whole:
        return tail
    return tail + float(np.matmul(values[:whole].reshape(-1, ROW), _ONES[values.dtype]).sum(dtype=np.float64))


def dot(a: Array, b: Array) -> float:
    """Σab of two 1-d arrays of one size, float32 or float64."""
    whole = a.size // ROW * ROW
    tail = float(np.dot(a[whole:], b[whole:])) if whole < a.size else 0.0
    if not whole:
        return tail
    rows = np.matmul(a[:whole].reshape(-1, 1, ROW), b[:whole].reshape(-1, ROW, 1))
    return tail + float(rows.sum(dtype=np.float64))


def lengths64(values: Floats, low: float, high: float) -> tuple[float, float, float]:
    """Mean, √Σ(x − mean)² and √Σx² of finite values between `low` and `high`, of any size. Destroys `values`."""
    n, top = values.size, max(-low, high)
    power = 0
    if top and not 1e-130 < top < 1e130:  # float64 squares would vanish or overflow
        power = int(np.frexp(top)[1])
        np.ldexp(values, -power, out=values)
    total, square = added(values), dot(values, values)
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
