"""Many small tensors at once: laid end to end in one array and reduced piece by piece (reduceat).

A numpy call costs about a microsecond however small its array, and a tensor takes some thirty of them; together,
a few hundred small tensors cost those calls once. Whatever is out of the ordinary (values that are not finite, of
extreme size, complex) is left to Gauge, which treats a tensor by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optinspect.decoding import Array
from optinspect.gauge import Gauge
from optinspect.histograms import Counts
from optinspect.statistics import JointStatistics, Statistics
from optinspect.sums import Floats
from optinspect.terms import AdamTerms

Integers = npt.NDArray[np.int64]

SMALL = 2048
"""Elements up to which a tensor is worth batching."""

_FIELDS = 2048
"""Values that the exponent bits of a float64 have."""


def statistics(blocks: Sequence[Array], gauge: Gauge) -> list[Statistics]:
    """Statistics of each block, as `gauge` gives them one by one."""
    chosen = [number for number, block in enumerate(blocks) if block.size and block.dtype.kind in "fiub"]
    found: dict[int, Statistics] = {}
    if chosen:
        found = dict(zip(chosen, _statistics([blocks[number] for number in chosen], gauge), strict=True))
    return [found[n] if n in found else gauge.statistics(block) for n, block in enumerate(blocks)]


def _statistics(blocks: list[Array], gauge: Gauge) -> list[Statistics]:
    wide, sizes, starts = _laid_out(blocks)
    low, high = np.minimum.reduceat(wide, starts), np.maximum.reduceat(wide, starts)
    constant = low == high
    mean = np.where(constant, low, np.add.reduceat(wide, starts) / sizes)
    apart = wide - np.repeat(mean, sizes)
    deviation, norm = (np.sqrt(np.add.reduceat(x * x, starts)) for x in (apart, wide))
    zeros = np.add.reduceat(wide == 0, starts, dtype=np.int64)
    histograms = _histograms(wide, sizes)
    ordinary = _moderate(np.maximum(-low, high)) & (zeros + [sum(h.values()) for h in histograms] == sizes)
    rows = np.stack([mean, deviation, norm, low, high], axis=1).tolist()
    return [
        Statistics(block.size, x[0], x[1], x[2], x[3], x[4], count, 0, 0, histogram, block.size)
        if good
        else gauge.statistics(block)
        for good, x, count, histogram, block in zip(
            ordinary.tolist(), rows, zeros.tolist(), histograms, blocks, strict=True
        )
    ]


def joint(pairs: Sequence[tuple[Array, Array, AdamTerms]], gauge: Gauge) -> list[JointStatistics]:
    """JointStatistics of each m, v with its terms, as `gauge` gives them one by one."""
    plain = all(m.size and m.dtype.kind == v.dtype.kind == "f" for m, v, _ in pairs)
    if not pairs or not plain:
        return [gauge.joint(*pair) for pair in pairs]
    m, sizes, starts = _laid_out([m for m, _, _ in pairs])
    v, _, _ = _laid_out([v for _, v, _ in pairs])
    scales = np.array([terms.scales for _, _, terms in pairs])
    eps = np.array([terms.eps for _, _, terms in pairs])
    u = m / (np.sqrt(v) * np.repeat(scales[:, 1], sizes) + np.repeat(eps, sizes)) * np.repeat(scales[:, 0], sizes)
    norm = np.sqrt(np.add.reduceat(u * u, starts))
    lost = np.add.reduceat((v == 0) & (m != 0), starts, dtype=np.int64)
    ordinary = _moderate(np.maximum.reduceat(np.abs(u), starts))
    rows = zip(sizes.tolist(), norm.tolist(), lost.tolist(), ordinary.tolist(), pairs, strict=True)
    return [
        JointStatistics(size, length, lost_v=count) if good else gauge.joint(*pair)
        for size, length, count, good, pair in rows
    ]


def _laid_out(blocks: Sequence[Array]) -> tuple[Floats, Integers, Integers]:
    """All blocks end to end in float64, their sizes, and where each starts."""
    sizes = np.array([block.size for block in blocks], np.int64)
    wide = np.concatenate(blocks, dtype=np.float64, casting="unsafe")
    return wide, sizes, np.cumsum(sizes) - sizes


def _moderate(values: Floats) -> npt.NDArray[np.bool_]:
    """Largest magnitudes that are finite (NaN is not), with squares that neither vanish nor overflow; or zero."""
    good: npt.NDArray[np.bool_] = (values == 0) | ((values > 1e-130) & (values < 1e130))
    return good


def _histograms(wide: Floats, sizes: Integers) -> list[Counts]:
    """Counts by exponent of every piece; subnormal float64 are missing, as zeros are."""
    fields = (wide.view(np.int64) >> 52) & (_FIELDS - 1)
    keys = fields + np.repeat(np.arange(sizes.size) * _FIELDS, sizes)
    found, counts = np.unique(keys[fields != 0], return_counts=True)
    bounds = np.searchsorted(found, np.arange(sizes.size + 1) * _FIELDS).tolist()
    exponents, numbers = ((found & (_FIELDS - 1)) - 1023).tolist(), counts.tolist()
    return [dict(zip(exponents[a:b], numbers[a:b], strict=True)) for a, b in pairwise(bounds)]
