"""Two blocks of values → a Change, in few passes over memory that stays in the cache.

Bits are compared first; only where they differ is there arithmetic beyond a norm. Tensors of one dtype arrive as the
unsigned integers that their bits are, and are decoded after that.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from optinspect.bundles import Bundle, Slot
from optinspect.comparison.change import Change
from optinspect.comparison.plain import Tolerance
from optinspect.decoding import Array, decode
from optinspect.errors import UnreadableTensor
from optinspect.sums import dot
from optinspect.tensors import DTYPES, DType, TensorRef

Floats = npt.NDArray[np.float64]

CARRIERS: Mapping[int, DType] = {size: DTYPES[f"uint{8 * size}"] for size in (1, 2, 4, 8)}
SAFE: Mapping[Any, tuple[float, float]] = {
    np.dtype(np.float32): (1e-12, 1e15),
    np.dtype(np.float64): (1e-130, 1e130),
}
"""Root mean squares between which squares neither overflow nor lose elements that matter."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The two tensors of a bundle. `dtype`: what their bits are to be decoded as; None where they come decoded."""

    a: TensorRef
    b: TensorRef
    dtype: DType | None


def bundle_of(a: TensorRef, b: TensorRef) -> Bundle:
    """Two tensors of one shape, to be read in step."""
    alike = a.dtype == b.dtype and a.storage.byteorder == b.storage.byteorder == "little"
    plain = not (a.conj or a.neg or b.conj or b.neg)
    carrier = CARRIERS.get(a.dtype.itemsize) if alike and plain else None
    if carrier is None:
        return Bundle(Compared(a, b, None), None, {"a": a, "b": b})
    return Bundle(Compared(a, b, a.dtype), None, {"a": replace(a, dtype=carrier), "b": replace(b, dtype=carrier)})


class Comparer:
    """The function of the blocks that `folding.fold` sums; scratch memory of its own for every thread."""

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._local = threading.local()

    def __call__(self, bundle: Bundle, blocks: Mapping[Slot, Array]) -> Change:
        what: Compared = bundle.key
        a, b = blocks["a"], blocks["b"]
        flags = self._room("flags", np.bool_, a.size)
        _differ(a, b, what.a.dtype == what.b.dtype, flags)
        differing = int(np.count_nonzero(flags))
        first = int(flags.argmax()) if differing else None
        if what.dtype is not None:
            try:
                a, b = (decode(raw.view(np.uint8), what.dtype) for raw in (a, b))
            except UnreadableTensor:  # bits that are no numbers: equal or not is all there is to say
                return Change(a.size, differing, differing, first, left_out=a.size)
        figures = self._figures(a, b) if differing else self._equal(a)
        beyond = differing if self._tolerance.exact or not differing else _beyond(a, b, self._tolerance)
        return replace(figures, count=flags.size, differing=differing, beyond=beyond, first=first)

    def _room(self, purpose: str, kind: npt.DTypeLike, size: int) -> Array:
        held = self._local.__dict__
        found = held.get(purpose)
        if found is None or found.size < size or found.dtype != kind:
            found = held[purpose] = np.empty(size, kind)
        room: Array = found[:size]
        return room

    def _equal(self, a: Array) -> Change:
        values = _numbers(a)
        square = dot(values, values)
        if not _safe(values, square):
            return _exactly(values.astype(np.float64), values.astype(np.float64), pairs=a.dtype.kind == "c")
        norm = sqrt(square)
        return Change(norm_a=norm, norm_b=norm, cross=1.0)

    def _figures(self, a: Array, b: Array) -> Change:
        x, y = _numbers(a), _numbers(b)
        if x.dtype != y.dtype:
            x, y = x.astype(np.float64), y.astype(np.float64)
        if a.dtype.kind == "c":
            return _exactly(x.astype(np.float64), y.astype(np.float64), pairs=True)
        apart = self._room("apart", x.dtype, x.size)
        np.subtract(y, x, out=apart)
        square_a, square_b, square = dot(x, x), dot(y, y), dot(apart, apart)
        if not (_safe(x, square_a) and _safe(y, square_b) and _safe(apart, square)):
            return _exactly(x.astype(np.float64), y.astype(np.float64))
        norm_a, norm_b = sqrt(square_a), sqrt(square_b)
        return Change(
            norm_a=norm_a,
            norm_b=norm_b,
            difference_norm=sqrt(square),
            cross=dot(x, y) / norm_a / norm_b,
            max_abs=max(float(apart.max()), -float(apart.min())),
        )


def _differ(a: Array, b: Array, alike: bool, out: Array) -> None:
    """Which elements differ: in any bit where the dtypes are one, else in value."""
    if not alike or a.dtype != b.dtype:
        np.not_equal(a, b, out=out)
        out &= ~(np.isnan(a) & np.isnan(b))
    elif a.dtype.kind == "c":
        bits = a.view(f"u{a.dtype.itemsize // 2}").reshape(-1, 2) != b.view(f"u{b.dtype.itemsize // 2}").reshape(-1, 2)
        np.any(bits, axis=1, out=out)
    else:
        code = f"u{a.dtype.itemsize}"
        np.not_equal(a.view(code), b.view(code), out=out)


def _numbers(block: Array) -> Array:
    """float32 and float64 as they are, float16 as float32, complex as pairs, the rest as float64."""
    if block.dtype.kind == "c":
        return block.view(block.real.dtype)
    if block.dtype in SAFE:
        return block
    return block.astype(np.float32 if block.dtype == np.float16 else np.float64)


def _safe(values: Array, square: float) -> bool:
    """The sum of squares of `values` is right: nothing overflowed, vanished, or is not finite."""
    if not isfinite(square) or not values.size:
        return False
    low, high = SAFE[values.dtype]
    return low < sqrt(square / values.size) < high


def _exactly(x: Floats, y: Floats, *, pairs: bool = False) -> Change:
    """In float64, whatever the size of the values; elements that are not finite are left out.

    pairs  real and imaginary parts follow each other
    """
    good = np.isfinite(x) & np.isfinite(y)
    if pairs:
        good = np.repeat(good.reshape(-1, 2).all(axis=1), 2)
    left_out = int(good.size - np.count_nonzero(good)) // (1 + pairs)
    if left_out:
        x, y = x[good], y[good]
    apart = y - x
    norm_a, norm_b = _norm(x), _norm(y)
    largest = np.hypot(apart[0::2], apart[1::2]) if pairs else np.abs(apart)
    cross = dot(x / norm_a, y / norm_b) if norm_a and norm_b else 0.0
    return Change(
        norm_a=norm_a,
        norm_b=norm_b,
        difference_norm=_norm(apart),
        cross=cross,
        max_abs=float(largest.max(initial=0.0)),
        left_out=left_out,
    )


def _norm(values: Floats) -> float:
    """√Σx²; scaled by a power of two where float64 squares would vanish or overflow."""
    top = float(np.abs(values).max(initial=0.0))
    if top == 0 or not isfinite(top):
        return top
    power = 0 if 1e-130 < top < 1e130 else int(np.frexp(top)[1])
    scaled = np.ldexp(values, -power) if power else values
    return float(np.ldexp(sqrt(dot(scaled, scaled)), power))


def _beyond(a: Array, b: Array, tolerance: Tolerance) -> int:
    """How many elements differ by more than allowed; NaN equals NaN, an infinity itself only."""
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    x, y = a.astype(wide), b.astype(wide)
    allowed = tolerance.atol + tolerance.rtol * np.maximum(np.abs(x), np.abs(y))
    fits = (np.abs(x - y) <= allowed) & np.isfinite(x) & np.isfinite(y)
    fits |= (x == y) | (np.isnan(x) & np.isnan(y))
    return int(fits.size - np.count_nonzero(fits))
