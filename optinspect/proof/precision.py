"""What a dtype can tell apart: unit roundoff, smallest number, and the units in which a proof measures.

    ulp(x)        distance from |x| to the next larger number of the dtype
    step unit     ulp(max(|θA|, |θB|)) + 16·u·|Δθ|        u: of the weight or of the slots, whichever is coarser
    moment unit   u_v·v_B/(1−β2) + 2|g|·u_m·max(|mA|, |mB|)/(1−β1) + q_v/(1−β2)       q: smallest subnormal

The right rule stays within 1.39 step units and 2.5 moment units (measured on 35 recorded pairs of steps: float64,
float32, bfloat16, fused kernels, hand-written loops); a wrong rule or pairing is 8 to 10^8 away wherever the dtype
can show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, isnan

import numpy as np
import numpy.typing as npt

from optinspect.tensors import DType

Doubles = npt.NDArray[np.float64]

FITS = 4.0
"""Step units up to which a rule fits. Measured: right ≤ 1.39; wrong rules ≥ 8 where they can be told at all."""
RULED_OUT = 32.0
"""Step units from which a rival is ruled out. Measured: wrong pairings ≥ 126 at lr 1e-5; 12 at 1e-6."""
MOMENTS_FIT = 8.0
"""Moment units up to which v and m agree on one gradient. Measured: ≤ 2.5."""

_EXPONENTS = {8: np.int64(0x7FF0_0000_0000_0000), 4: np.int32(0x7F80_0000)}


@dataclass(frozen=True, slots=True)
class Precision:
    """roundoff: unit roundoff u, half the distance from 1 to the next number; smallest: the smallest subnormal."""

    roundoff: float
    smallest: float


def ulp(x: Doubles, roundoff: float | Doubles, smallest: float | Doubles) -> Doubles:
    """Distance from x ≥ 0 to the next number of a dtype; at least the smallest subnormal. Any shape; new array.

    x  float64, or float32 where it holds every value of the dtype
    """
    mask = _EXPONENTS[x.dtype.itemsize]
    power = np.bitwise_and(x.view(mask.dtype), mask).view(x.dtype)
    power *= np.asarray(2 * roundoff, x.dtype)
    np.maximum(power, np.asarray(smallest, x.dtype), out=power)
    found: Doubles = power
    return found


_FLOAT32 = Precision(2.0**-24, 2.0**-149)
_FLOAT64 = Precision(2.0**-53, 5e-324)

PRECISIONS: Mapping[str, Precision] = {
    "float64": _FLOAT64,
    "float32": _FLOAT32,
    "complex128": _FLOAT64,
    "complex64": _FLOAT32,
    "bfloat16": Precision(2.0**-8, 2.0**-133),
    "float16": Precision(2.0**-11, 2.0**-24),
}
"""Dtypes that torch.optim steps in; complex numbers are pairs of real ones."""


def precision_of(dtype: DType) -> Precision | None:
    """None for a dtype that no step is computed in (float8, quantised)."""
    return PRECISIONS.get(dtype.name)


def coarsest(dtypes: Iterable[DType]) -> Precision:
    """The least precise of the dtypes that have a Precision; float64 where none has."""
    known = (PRECISIONS.get(dtype.name, _FLOAT64) for dtype in dtypes)
    return max(known, key=lambda each: each.roundoff, default=_FLOAT64)


def step_unit(
    theta_a: Doubles,
    theta_b: Doubles,
    roundoff: float | Doubles,
    smallest: float | Doubles,
    coarse: float | Doubles,
) -> Doubles:
    """roundoff, smallest: of the weight's dtype; coarse: the roundoff of the coarsest of weight and slots."""
    unit = ulp(np.maximum(np.abs(theta_a), np.abs(theta_b)), roundoff, smallest)
    moved = theta_b - theta_a
    np.abs(moved, out=moved)
    moved *= np.asarray(16 * coarse, moved.dtype)
    unit += moved
    return unit


def furthest(predicted: Doubles, actual: Doubles, unit: Doubles) -> float:
    """max(|actual − predicted|/unit). NaN is infinitely far, except where the same NaN or infinity was predicted.

    unit  float64, or float32: a ratio of residuals needs no more than its 7 digits
    """
    if not actual.size:
        return 0.0
    distance = actual - predicted
    ratio = distance.astype(unit.dtype) if unit.dtype != distance.dtype else distance
    np.abs(ratio, out=ratio)
    ratio /= unit
    top = float(ratio.max())
    if isfinite(top):
        return top
    ratio = np.abs(settle(predicted, actual)) / unit
    top = float(ratio.max())
    return float("inf") if isnan(top) else top


def dot(x: Doubles, y: Doubles) -> float:
    """Σ x·y of 1-d arrays in this thread: BLAS starts threads of its own beside ours (measured: 10 times slower)."""
    return float(np.einsum("i,i->", x, y))


def settle(predicted: Doubles, actual: Doubles) -> Doubles:
    """actual − predicted; 0 where both are the same infinity or both NaN: that is what was predicted."""
    distance = actual - predicted
    if not np.isfinite(distance).all():
        same = (predicted == actual) | (np.isnan(predicted) & np.isnan(actual))
        distance[same] = 0.0
    return distance
