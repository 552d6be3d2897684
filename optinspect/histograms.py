"""How many elements lie in each binary order of magnitude: exact counts by exponent, floor(log2 |x|).

The exponent is read from the bits. Blocks of float32 are counted two elements at a time: eight bytes hold two
exponents, which index a table of 256 × 256; its row sums and column sums are the counts (1.0 ns an element instead of
1.9, measured with numpy 2.4 on AVX-512). Still, counting costs as much as everything else together, so very large
tensors are counted by a sample; how many elements were looked at is said wherever a histogram is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Counts = dict[int, int]
"""Exponent → how many elements, in ascending order of the exponent; no zero counts."""

PAIRED = 1 << 15
"""From this block size on the table of pairs costs less than it saves."""

_EXPONENTS = np.int64(0x7F80_0000_7F80_0000)
"""The exponent bits of two float32 in eight bytes."""
_ALIGN = np.int64((1 << 24) + 1)
"""Times this, the lower exponent moves next to the upper one: together they are bits 47…62."""


WHOLE = 1 << 20
"""Tensors up to this many elements are counted whole."""

_RUN, _PERIOD = 8, 509
"""The sample: 8 consecutive elements of every 509. A prime period visits all columns of a matrix equally often."""


def sample(values: Array) -> Array:
    """A copy of 8 of every 509 elements of a contiguous 1-d array."""
    size = values.itemsize
    runs = np.ndarray((values.size // _PERIOD, _RUN), values.dtype, values, strides=(_PERIOD * size, size))
    copy: Array = runs.reshape(-1)
    return copy


def exponents32(block: npt.NDArray[np.float32], scratch: npt.NDArray[np.int64]) -> Counts:
    """Counts of a contiguous, finite float32 block; zeros left out. `scratch`: at least half as many elements."""
    even = block.size & ~1
    index = scratch[: even // 2]
    np.bitwise_and(block[:even].view(np.int64), _EXPONENTS, out=index)
    np.multiply(index, _ALIGN, out=index)
    np.right_shift(index, 47, out=index)
    pairs = np.bincount(index, minlength=(int(index.max(initial=0)) // 256 + 1) * 256).reshape(-1, 256)
    fields = np.add.reduce(pairs, axis=0)
    fields[: len(pairs)] += np.add.reduce(pairs, axis=1)
    subnormal = block[:even][np.abs(block[:even]) < np.float32(2.0**-126)] if fields[0] else block[:0]
    fields[0] = 0
    counts = _named(fields, 127)
    rest = np.concatenate([subnormal, block[even:]])
    return merged(counts, exponents(rest.astype(np.float64))) if rest.size else counts


def exponents(values: npt.NDArray[np.float64]) -> Counts:
    """Counts of finite float64 values; zeros left out."""
    fields = np.bincount((values.view(np.int64) >> 52) & 0x7FF)
    if not fields.size or not fields[0]:
        return _named(fields, 1023)
    fields[0] = 0  # zeros and subnormals share exponent bits 0
    subnormal = values[(np.abs(values) < 2.0**-1022) & (values != 0)]
    _, powers = np.frexp(subnormal)  # |x| = f · 2^p with ½ ≤ f < 1
    found, counts = np.unique(powers - 1, return_counts=True)
    return merged(dict(zip(found.tolist(), counts.tolist(), strict=True)), _named(fields, 1023))


def _named(fields: Array, bias: int) -> Counts:
    present = fields.nonzero()[0]
    return dict(zip((present - bias).tolist(), fields[present].tolist(), strict=True))


def merged(a: Counts, b: Counts) -> Counts:
    """The counts of both."""
    if not a or not b:
        return a or b
    if a.keys() == b.keys():
        return {exponent: count + b[exponent] for exponent, count in a.items()}
    return {exponent: a.get(exponent, 0) + b.get(exponent, 0) for exponent in sorted({*a, *b})}
