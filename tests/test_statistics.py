"""Statistics against float64 (longdouble where float64 itself overflows), and the laws of their addition."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from optinspect.blocks import BLOCK
from optinspect.gauge import Gauge
from optinspect.histograms import sample
from optinspect.statistics import JointStatistics, Statistics
from optinspect.terms import AdamTerms

TOLERANCE = 1e-6
"""Relative to the tensor's rms, as the contract asks. Measured over the cases below: 8.1e-8 at most."""

Array = npt.NDArray[np.generic]


def truth(values: Array) -> dict[str, object]:
    """The figures by the textbook, in longdouble (64 bits of mantissa, exponents to 1e±4932)."""
    flat = np.abs(values) if np.iscomplexobj(values) else values
    x = flat.reshape(-1).astype(np.longdouble)
    good = x[np.isfinite(x)]
    figures: dict[str, object] = {
        "count": x.size,
        "nans": int(np.isnan(x).sum()),
        "infs": int(np.isinf(x).sum()),
        "zeros": int((good == 0).sum()),
        "log2_histogram": dict(sorted(Counter((np.frexp(good[good != 0])[1] - 1).tolist()).items())),
        "histogram_sample": good.size,
    }
    if not good.size:
        return figures | dict.fromkeys(("mean", "std", "rms", "norm", "min", "max", "abs_max"))
    mean, square = good.mean(), (good * good).sum()
    figures |= {"mean": mean, "std": np.sqrt(((good - mean) ** 2).mean()), "rms": np.sqrt(square / good.size)}
    return figures | {"norm": np.sqrt(square), "min": good.min(), "max": good.max(), "abs_max": np.abs(good).max()}


def assert_close(ours: dict[str, object], expected: dict[str, object], tolerance: float = TOLERANCE) -> None:
    assert list(ours) != []
    assert ours.keys() == expected.keys()
    rms = expected["rms"]
    for key, value in expected.items():
        if isinstance(value, np.longdouble):
            scale = expected["norm"] if key == "norm" else rms
            assert abs(np.longdouble(ours[key]) - value) <= tolerance * scale, key
        else:
            assert ours[key] == value, key


def adversaries() -> dict[str, Array]:
    random = np.random.default_rng(7)
    normal = random.standard_normal(200_003)
    single = np.float32
    return {
        "ordinary moments": (normal * 1e-4).astype(single),
        "squares, log-normal": (1e-8 * np.exp(2 * normal)).astype(single),
        "LayerNorm weight": (1 + 1e-4 * normal).astype(single),
        "constant": np.full(100_001, 0.1, single),
        "two values": np.where(normal > 0, single(0.3), single(-0.3)),
        "one third": np.where(normal > 0, single(1 / 3), single(0)),
        "ones but one": np.concatenate([np.ones(70_000, single), np.float32([1e6])]),
        "tiny": (normal * 1e-20).astype(single),
        "huge": (normal * 1e20).astype(single),
        "largest": np.where(normal > 0, np.finfo(single).max, -np.finfo(single).max),
        "subnormal": (normal * 1e-41).astype(single),
        "mixed with subnormal": np.where(normal > 1, normal, normal * 1e-40).astype(single),
        "spread over 60 decades": (normal * 10.0 ** random.uniform(-40, 20, normal.size)).astype(single),
        "mostly zeros": np.where(normal > 2, normal, 0).astype(single),
        "minus zeros": np.float32([-0.0, 0.0, 1.0] * 20_000),
        "float64 huge": normal * 1e300,
        "float64 tiny": normal * 1e-300,
        "float64 subnormal": normal * 1e-310,
        "float64 far from zero": 1e9 + normal,
        "float16": normal.astype(np.float16),
        "complex": (normal + 1j * normal[::-1]).astype(np.complex64),
        "complex huge": normal * 1e300 + 1j,
        "bytes": random.integers(0, 256, 70_000).astype(np.uint8),
        "long integers": random.integers(-(2**62), 2**62, 70_000),
        "bool": normal > 0,
        "not finite": np.where(normal > 2, np.nan, np.where(normal < -2, -np.inf, normal)).astype(single),
        "one NaN": np.where(np.arange(100_000) == 77_777, np.nan, 1e-3).astype(single),
        "only NaN": np.full(5, np.nan, single),
        "one number": np.float32([3.5]),
        "empty": np.empty((0, 4), single),
        "matrix": normal[:40_000].astype(single).reshape(200, 200).T,
    }


@pytest.mark.parametrize("name", adversaries())
def test_every_figure_is_within_a_millionth_of_the_rms(name: str) -> None:
    values = adversaries()[name]
    assert_close(Statistics.of(values).figures(), truth(values))


@given(
    st.integers(1024, 70_000),
    st.floats(0.12, 0.85),
    st.floats(-20, 20),
    st.sampled_from([0.0, 1.5, 1e4]),
)
@settings(max_examples=60, deadline=None)
def test_equal_values_do_not_add_up_their_roundings(n: int, share: float, power: float, factor: float) -> None:
    """Two values only, as Rprop's step sizes: in float32, every sum would be rounded the same way."""
    one = np.float32(math.exp(power))
    values = np.full(n, one)
    values[np.random.default_rng(n).random(n) < share] = one * np.float32(factor)
    assert_close(Statistics.of(values).figures(), truth(values), 1e-12)  # 7e-6 in float32, 2e-15 as it is


def test_std_of_values_close_together_has_digits() -> None:
    """Beyond the contract: the deviation itself is right, not only small against the rms."""
    weight = adversaries()["LayerNorm weight"]
    assert Statistics.of(weight).std == pytest.approx(float(truth(weight)["std"]), rel=1e-6)
    assert Statistics.of(np.full(1000, 0.1, np.float32)).std == 0
    halves = Statistics.of(np.full(1000, 0.1)) + Statistics.of(np.full(77, 0.1))
    assert halves.std == 0


def test_nothing_is_null_not_zero() -> None:
    figures = Statistics().figures()
    assert [key for key, value in figures.items() if value is None] == [
        "mean",
        "std",
        "rms",
        "norm",
        "min",
        "max",
        "abs_max",
    ]


FINITE = hnp.arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


@given(FINITE, FINITE)
@settings(max_examples=200, deadline=None)
def test_statistics_of_a_concatenation_are_the_sum(a: Array, b: Array) -> None:
    assert_close((Statistics.of(a) + Statistics.of(b)).figures(), truth(np.concatenate([a, b])))


@given(FINITE, FINITE, FINITE)
@settings(max_examples=200, deadline=None)
def test_addition_is_a_commutative_monoid(a: Array, b: Array, c: Array) -> None:
    x, y, z = map(Statistics.of, (a, b, c))
    assert x + Statistics() == x == Statistics() + x
    assert (x + y).figures() == (y + x).figures()
    left, right = ((x + y) + z).figures(), (x + (y + z)).figures()
    scale = max(abs(float(left["abs_max"] or 0)), 1e-300) * 1e-12
    for key, value in left.items():
        if isinstance(value, float):
            assert value == pytest.approx(right[key], rel=1e-12, abs=scale), key
        else:
            assert value == right[key], key


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_cut_gives_the_same(data: st.DataObject) -> None:
    values = adversaries()["mixed with subnormal"][: data.draw(st.integers(1, 200_000))]
    cuts = sorted(data.draw(st.lists(st.integers(0, values.size), max_size=5)))
    parts = [values[a:b] for a, b in itertools.pairwise([0, *cuts, values.size])]
    assert_close(sum(map(Statistics.of, parts), Statistics()).figures(), truth(values), 3e-7)


def test_histogram_of_a_sample_says_so_and_looks_like_the_whole() -> None:
    values = adversaries()["squares, log-normal"]
    with np.errstate(all="ignore"):
        found = Gauge().statistics(values, sampled=True)
    whole = Statistics.of(values)
    assert found.histogram_sample == sample(values).size == sum(found.log2_histogram.values()) < whole.count // 15
    for exponent, count in whole.log2_histogram.items():
        expected = count / whole.count * found.histogram_sample
        # five standard deviations of a fair sample
        assert abs(found.log2_histogram.get(exponent, 0) - expected) <= 5 * math.sqrt(expected) + 1
    assert {**found.figures(), "log2_histogram": 0, "histogram_sample": 0} == {
        **whole.figures(),
        "log2_histogram": 0,
        "histogram_sample": 0,
    }


def test_a_sample_visits_every_column_equally() -> None:
    columns = sample(np.arange(1 << 20) % 768)
    counts = np.bincount(columns, minlength=768)
    assert counts.min() > 0
    assert counts.max() <= 1.1 * counts.min() + 1


ADAM = AdamTerms("exp_avg", "exp_avg_sq", lr=3e-4, beta1=0.9, beta2=0.999, eps=1e-8, step=7)


def joint(m: Array, v: Array, terms: AdamTerms = ADAM) -> JointStatistics:
    gauge = Gauge()
    cuts = range(0, max(m.size, 1), BLOCK)
    with np.errstate(all="ignore"):
        parts = [gauge.joint(m[start : start + BLOCK], v[start : start + BLOCK], terms) for start in cuts]
    return sum(parts, JointStatistics())


def trained(steps: int, optimizer: type, scale: float = 1.0, **settings: object) -> tuple[torch.Tensor, ...]:
    """Really step an optimizer on random gradients: θ before and after the last step, and its state."""
    torch.manual_seed(0)
    theta = torch.nn.Parameter(torch.randn(3001))
    adam = optimizer([theta], **settings)
    for _ in range(steps):
        before = theta.detach().clone()
        theta.grad = torch.randn_like(theta) * scale * torch.logspace(-3, 0, theta.numel())
        adam.step()
    return before, theta.detach(), adam.state[theta]


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 30])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_the_effective_step_is_what_torch_moves(amsgrad: bool, steps: int, eps: float) -> None:
    """Independent of our formula: the rms of the difference that torch's own step makes, in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        options = {"lr": 1e-2, "betas": (0.8, 0.95), "eps": eps, "weight_decay": 0.0, "amsgrad": amsgrad}
        before, after, state = trained(steps, torch.optim.AdamW, **options)
    finally:
        torch.set_default_dtype(torch.float32)
    v_slot = "max_exp_avg_sq" if amsgrad else "exp_avg_sq"
    terms = AdamTerms("exp_avg", v_slot, 1e-2, 0.8, 0.95, eps, float(state["step"]))
    moved = (after - before).square().mean().sqrt().item()
    for dtype in (torch.float64, torch.float32):
        found = joint(state["exp_avg"].to(dtype).numpy(), state[v_slot].to(dtype).numpy(), terms)
        assert found.effective_step(terms.lr) == pytest.approx(moved, rel=1e-6)


def adam_truth(m: Array, v: Array, terms: AdamTerms = ADAM) -> np.longdouble:
    m, v = m.astype(np.longdouble), v.astype(np.longdouble)
    m_hat, v_hat = (
        m / (1 - np.longdouble(terms.beta1) ** terms.step),
        v / (1 - np.longdouble(terms.beta2) ** terms.step),
    )
    with np.errstate(all="ignore"):
        u = m_hat / (np.sqrt(v_hat) + terms.eps)
    u = u[np.isfinite(u)]
    return np.sqrt((u * u).mean())


def moments() -> dict[str, tuple[Array, Array]]:
    random = np.random.default_rng(3)
    g = random.standard_normal(300_001).astype(np.float32)
    m, v = g * np.float32(1e-3), (g * g * np.float32(1e-5)) * random.uniform(0.5, 2, g.size).astype(np.float32)
    return {
        "ordinary": (m, v),
        "first step": (np.sign(g) * np.float32(0.1), np.full_like(g, 1e-3)),
        "rows never seen": (np.where(g > 1, m, 0), np.where(g > 1, v, 0)),
        "lost squares": (m, np.where(g > 1, v, 0)),
        "small": (m * np.float32(1e-30), v * np.float32(1e-35)),
        "large": (m * np.float32(1e30), v * np.float32(1e30)),
        "negative squares": (m, np.where(g > 2, -v, v)),
        "not finite": (np.where(g > 2, np.nan, m), np.where(g < -2, np.inf, v)),
        "float64": (m.astype(np.float64), v.astype(np.float64)),
        "two dtypes": (m, v.astype(np.float64)),
        "half": (m.astype(np.float16), (v * 1e3).astype(np.float16)),
    }


@pytest.mark.parametrize("name", moments())
@pytest.mark.parametrize("eps", [1e-8, 1e-3, 0.0])
def test_update_rms_and_counts(name: str, eps: float) -> None:
    m, v = moments()[name]
    terms = AdamTerms("exp_avg", "exp_avg_sq", 3e-4, 0.9, 0.999, eps, 7)
    found = joint(m, v, terms)
    assert found.update_rms == pytest.approx(float(adam_truth(m, v, terms)), rel=1e-6)
    assert found.count + found.not_finite == m.size
    assert found.negative_v == np.count_nonzero(v < 0)
    assert found.lost_v == np.count_nonzero((v == 0) & (m != 0))


def test_complex_moments_count_as_two_numbers() -> None:
    """As torch's Adam does, which views them as real."""
    g = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    m, v = (g / 10).view(np.complex64), np.square(g).view(np.complex64)
    found = joint(m, v)
    assert found == joint(g / 10, np.square(g))
    assert found.count == 2000


def test_joint_statistics_add_up() -> None:
    m, v = moments()["not finite"]
    parts = [joint(m[i : i + 1000], v[i : i + 1000]) for i in range(0, m.size, 1000)]
    whole = joint(m, v)
    added = sum(parts, JointStatistics())
    assert added.update_norm == pytest.approx(whole.update_norm, rel=1e-6)
    assert (added.count, added.not_finite, added.negative_v, added.lost_v) == (
        whole.count,
        whole.not_finite,
        whole.negative_v,
        whole.lost_v,
    )
    assert parts[0] + parts[1] == parts[1] + parts[0]
    assert parts[0] + JointStatistics() == parts[0]


def test_ratio_is_null_without_a_weight() -> None:
    known = JointStatistics(count=4, update_norm=2.0, weight_count=9, weight_norm=6.0)
    assert known.effective_step(0.1) == pytest.approx(0.1)
    assert known.update_ratio(0.1) == pytest.approx(0.05)
    assert JointStatistics(count=4, update_norm=2.0).update_ratio(0.1) is None
    assert JointStatistics(count=4, update_norm=2.0, weight_count=9).update_ratio(0.1) is None
    assert JointStatistics().effective_step(0.1) is None


@pytest.mark.parametrize(
    "changes", [{"step": 0}, {"beta1": 1.0}, {"beta2": -0.1}, {"lr": math.nan}, {"step": math.inf}, {"eps": math.inf}]
)
def test_terms_that_give_no_bias_correction_say_why(changes: dict[str, float]) -> None:
    settings = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 3.0}
    assert AdamTerms("m", "v", **settings).obstacle() is None
    assert AdamTerms("m", "v", **{**settings, **changes}).obstacle()
