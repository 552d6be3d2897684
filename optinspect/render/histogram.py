"""A distribution drawn in one line: counts by binary exponent, in log space, with the decades it spans."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log10

from optinspect.render.base import Glyphs

CELLS = 10
LOG2_10 = log10(2.0)


def sparkline(histogram: Mapping[int, int], glyphs: Glyphs) -> str:
    """`{exponent: count}` as "1e-12 ▁▂▅█▆▂▁ 1e-04": exponent e counts 2^e ≤ |x| < 2^(e+1).

    Each cell holds the same number of exponents; its height is its share of the fullest cell, and what is not
    empty is never drawn empty. The ends are the powers of ten that enclose all values. Nothing counted: a dash.
    """
    counted = {int(exponent): count for exponent, count in histogram.items() if count > 0}
    if not counted:
        return glyphs.dash
    low, high = min(counted), max(counted)
    width = ceil((high - low + 1) / CELLS)
    cells = [0] * ceil((high - low + 1) / width)
    for exponent, count in counted.items():
        cells[(exponent - low) // width] += count
    bars = "".join(_bar(count, max(cells), glyphs) for count in cells)
    return f"{_decade(floor(low * LOG2_10))} {bars.ljust(CELLS)} {_decade(ceil((high + 1) * LOG2_10))}"


def _bar(count: int, fullest: int, glyphs: Glyphs) -> str:
    if count == 0:
        return glyphs.blank
    return glyphs.bars[ceil(count / fullest * len(glyphs.bars)) - 1]


def _decade(exponent: int) -> str:
    return f"1e{exponent:+03d}"
