"""Quantiles of |x|, as far as counts by binary exponent tell them.

The q-quantile is the smallest |x| such that at least the share q of the elements is not above it (numpy's
method="inverted_cdf"). The counts say in which interval [2^e, 2^(e+1)) it lies; what is given is the interval's
geometric middle, so the true one is within a factor of √2: RESOLUTION. Where the least or greatest value of the tensor
narrows the interval, it is the middle of what is left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, ldexp, sqrt

from optinspect.statistics import Statistics

SHARES = {"p5": 0.05, "p50": 0.5, "p95": 0.95}
"""The quantiles that are told."""
RESOLUTION = sqrt(2.0)
"""Factor by which a quantile may be off, either way."""


def quantiles(statistics: Statistics) -> dict[str, float | None]:
    """The quantiles of SHARES, of the finite elements that the histogram looked at; None where there are none."""
    counts = statistics.log2_histogram
    exponents = sorted(counts)
    zeros = statistics.histogram_sample - sum(counts.values())
    below = list(accumulate((counts[each] for each in exponents), initial=zeros))
    return {key: _quantile(statistics, share, exponents, below) for key, share in SHARES.items()}


def _quantile(statistics: Statistics, share: float, exponents: Sequence[int], below: Sequence[int]) -> float | None:
    """below: how many elements are 0, and up to each exponent."""
    seen = statistics.histogram_sample
    if not seen:
        return None
    # a share such as 0.05 is a rounded number: 0.05·60 must be the third element, not the fourth
    rank = max(ceil(share * seen * (1 - 1e-12)), 1)
    place = bisect_left(below, rank)
    return _middle(exponents[place - 1], statistics) if place else 0.0


def _middle(exponent: int, statistics: Statistics) -> float:
    """The geometric middle of [2^e, 2^(e+1)), as far as it lies between the least and the greatest |x|."""
    low, most = ldexp(1.0, exponent), statistics.abs_max or 0.0
    least = max(statistics.min or 0.0, -(statistics.max or 0.0))  # of |x|, where all have one sign
    high = min(2.0 * low if exponent < 1023 else most, most)
    low = max(low, least)
    return low * sqrt(high / low) if high > low else low
