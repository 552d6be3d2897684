"""Quantiles from counts by binary exponent, against numpy's of the values themselves in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from optinspect.gauge import Gauge
from optinspect.quantiles import RESOLUTION, SHARES, quantiles
from optinspect.statistics import Statistics

ROUNDING = 1 + 1e-12
"""The middle of an interval is computed in float64: a few units of 2^-53."""
VALUES = arrays.arrays(
    np.float64,
    st.integers(0, 200),
    elements=st.floats(allow_nan=True, allow_infinity=True, width=64) | st.sampled_from([0.0, -0.0, 1.0, -2.0]),
)


def neighbours(values: np.ndarray, share: float) -> tuple[float, float]:
    """The order statistics on either side of the share: q·n in float64 may be one off where it is a whole number."""
    ordered = np.sort(np.abs(values[np.isfinite(values)]).astype(np.float64))
    place = share * ordered.size
    low, high = np.floor(place - 1e-6), np.ceil(place + 1e-6)
    return float(ordered[int(max(low - 1, 0))]), float(ordered[int(min(max(high - 1, 0), ordered.size - 1))])


def within(told: float, low: float, high: float) -> bool:
    return low / RESOLUTION / ROUNDING - 5e-324 <= told <= high * RESOLUTION * ROUNDING + 5e-324


@given(VALUES)
def test_quantiles_are_within_their_resolution(values: np.ndarray) -> None:
    told = quantiles(Statistics.of(values))
    finite = np.abs(values[np.isfinite(values)])
    for key, share in SHARES.items():
        if not finite.size:
            assert told[key] is None
            continue
        exact = float(np.quantile(finite, share, method="inverted_cdf"))
        assert within(told[key] or 0.0, *neighbours(values, share)) or within(told[key] or 0.0, exact, exact)


@given(VALUES, VALUES)
def test_quantiles_of_a_sum_are_those_of_all_values(a: np.ndarray, b: np.ndarray) -> None:
    """Statistics merge exactly where quantiles look: counts, least and greatest."""
    assert quantiles(Statistics.of(a) + Statistics.of(b)) == quantiles(Statistics.of(np.concatenate([a, b])))


@given(VALUES)
def test_quantiles_are_ordered_and_between_the_least_and_the_greatest(values: np.ndarray) -> None:
    finite = np.abs(values[np.isfinite(values)])
    if finite.size:
        p5, p50, p95 = (found or 0.0 for found in quantiles(Statistics.of(values)).values())
        assert p5 <= p50 <= p95 <= finite.max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, np.complex64])
def test_large_tensors_of_every_kind(dtype: type) -> None:
    random = np.random.default_rng(5)
    values = (random.standard_normal(100_003) * 2.0 ** random.integers(-9, 9, 100_003)).astype(dtype)
    told = quantiles(Statistics.of(values))
    for key, share in SHARES.items():
        exact = float(np.quantile(np.abs(values.astype(complex)), share, method="inverted_cdf"))
        assert within(told[key] or 0.0, exact, exact), key


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0] * 19 + [1.0], [0.0, 0.0, 0.0]),  # 95% of 20 are 19: the last zero
        ([0.0] * 18 + [1.0, 1.0], [0.0, 0.0, 1.0]),
        ([3.0] * 7, [3.0] * 3),  # one value: exact, whatever the interval
        ([-3.0] * 7, [3.0] * 3),
        ([np.nan, np.inf, 0.25], [0.25] * 3),
        ([5e-324], [5e-324] * 3),
        ([1.7e308], [1.7e308] * 3),
    ],
)
def test_zeros_extremes_and_what_is_not_finite(values: Sequence[float], expected: list[float]) -> None:
    assert list(quantiles(Statistics.of(np.array(values))).values()) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("values", [[], [np.nan, np.inf]])
def test_nothing_to_take_a_quantile_of(values: Sequence[float]) -> None:
    assert quantiles(Statistics.of(np.array(values))) == {"p5": None, "p50": None, "p95": None}


def test_a_sampled_histogram_gives_the_quantiles_of_the_sample() -> None:
    """Its zeros are those of the sample: of 4 million values of which half are 0, the median is where it should be."""
    random = np.random.default_rng(1)
    values = (random.standard_normal(1 << 18) * (random.random(1 << 18) < 0.4)).astype(np.float32)
    found = Gauge().statistics(values, sampled=True)
    assert found.histogram_sample < found.finite
    told = quantiles(found)
    assert told["p50"] == 0.0
    exact = float(np.quantile(np.abs(values), 0.95))
    assert exact / 1.5 <= (told["p95"] or 0.0) <= exact * 1.5  # resolution, and the sample's own error
