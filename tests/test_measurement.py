"""The one pass: order, threads, layouts, problems; figures against numpy and torch."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import torch

from optinspect.blocks import BLOCK
from optinspect.errors import FileChanged, UnreadableFile
from optinspect.measurement import Bundle, Measured, measure
from optinspect.quantiles import quantiles
from optinspect.statistics import JointStatistics, Statistics
from optinspect.tensors import DTYPES, Bytes, MemoryBytes, Storage, TensorRef
from optinspect.terms import AdamTerms

TERMS = AdamTerms("exp_avg", "exp_avg_sq", lr=1e-3, beta1=0.9, beta2=0.95, eps=1e-8, step=12)


def ref(tensor: torch.Tensor, data: Bytes | None = None, problem: str | None = None) -> TensorRef:
    dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
    held = data or MemoryBytes(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes())
    storage = Storage("data/0", dtype, held.size, "cpu", held)
    return TensorRef(dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), storage, problem=problem)


def bundle(key: int | str, *shape: int, change: Callable[[torch.Tensor], torch.Tensor] = lambda t: t) -> Bundle:
    random = torch.Generator().manual_seed(len(str(key)) if isinstance(key, str) else key)
    weight, m = (torch.randn(shape, generator=random) for _ in range(2))
    v = m.square() * 0.1 + 1e-6
    return Bundle(key, ref(change(weight)), {"exp_avg": ref(change(m)), "exp_avg_sq": ref(change(v))}, TERMS)


def values(tensor: TensorRef | None) -> np.ndarray:
    """By torch, not by our reader."""
    assert tensor is not None and isinstance(tensor.storage.data, MemoryBytes)
    raw = bytearray(tensor.storage.nbytes)
    tensor.storage.data.read_into(0, memoryview(raw))
    flat = torch.frombuffer(raw, dtype=getattr(torch, tensor.dtype.name))
    return flat.as_strided(tensor.shape, tensor.stride, tensor.offset).double().numpy()


def assert_right(found: Measured) -> None:
    for slot, statistics in found.statistics.items():
        truth = values(found.bundle.slots[slot])
        rms = math.sqrt(np.square(truth).mean())
        ours = (statistics.mean, statistics.std, statistics.rms, statistics.min, statistics.max)
        theirs = (truth.mean(), truth.std(), rms, truth.min(), truth.max())
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * rms)
        assert (statistics.count, statistics.zeros) == (truth.size, np.count_nonzero(truth == 0))
    m, v = (values(found.bundle.slots[slot]) for slot in ("exp_avg", "exp_avg_sq"))
    u = m / (1 - 0.9**12) / (np.sqrt(v / (1 - 0.95**12)) + 1e-8)
    step = 1e-3 * math.sqrt(np.square(u).mean())
    assert found.effective_step == pytest.approx(step, rel=1e-6)
    theta = math.sqrt(np.square(values(found.bundle.weight)).mean())
    assert found.update_ratio == pytest.approx(step / theta, rel=1e-6)


SIZES = [(3,), (700, 1000), (), (5, 5), (BLOCK + 1,), (2048,), (2049,), (1, 1, 1), (1500, 900)]


def bundles() -> list[Bundle]:
    return [bundle(number, *shape) for number, shape in enumerate(SIZES)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_figures_and_order(threads: int) -> None:
    found = list(measure(bundles(), weights=True, threads=threads))
    assert [each.key for each in found] == list(range(len(SIZES)))
    for each in found:
        assert list(each.statistics) == ["exp_avg", "exp_avg_sq"]
        assert each.weight is not None and each.weight.count == each.bundle.weight.numel
        assert not each.problems and each.joint_problem is None
        assert_right(each)


def test_threads_and_neighbours_change_no_digit() -> None:
    alone = [next(iter(measure([one], threads=1))) for one in bundles()]
    for threads in (1, 3):
        together = list(measure(bundles(), threads=threads))
        assert [each.joint for each in together] == [each.joint for each in alone]
        large = [i for i, shape in enumerate(SIZES) if math.prod(shape) > 3000]
        for i in large:
            assert together[i].statistics == alone[i].statistics


def test_many_small_tensors_are_right_too() -> None:
    found = list(measure((bundle(n, n % 7 + 1, n % 5 + 1) for n in range(1500)), threads=2))
    assert [each.key for each in found] == list(range(1500))
    for each in found[::50]:
        assert_right(each)


def odd_values(size: int) -> dict[str, torch.Tensor]:
    normal = torch.randn(size, generator=torch.Generator().manual_seed(1))
    return {
        "plain": normal,
        "NaN": torch.where(normal > 1, torch.nan, normal),
        "infinite": torch.where(normal < 0, torch.inf, normal),
        "zeros": torch.zeros(size),
        "minus zeros": -torch.zeros(size),
        "tiny": normal * 1e-42,
        "double, subnormal": normal.double() * 1e-310,
        "double, huge": normal.double() * 1e300,
        "half": normal.half(),
        "bfloat16": normal.bfloat16(),
        "complex": torch.complex(normal, normal.flip(0)),
        "integers": (normal * 100).long(),
        "bool": normal > 0,
        "float8": normal.to(torch.float8_e5m2),
    }


def test_a_small_tensor_gives_the_same_in_a_crowd_as_alone() -> None:
    """Batched against one by one; and against the same values in a tensor too large for a batch."""
    few, many = odd_values(50), odd_values(50)
    found = {each.key: each.statistics["s"] for each in measure(Bundle(k, None, {"s": ref(t)}) for k, t in few.items())}
    for name, tensor in many.items():
        wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float8_e5m2) else tensor
        alone, crowd = Statistics.of(wide.numpy()).figures(), found[name].figures()
        for figure, value in alone.items():
            if isinstance(value, float) and math.isfinite(value):
                assert crowd[figure] == pytest.approx(value, rel=1e-6, abs=1e-6 * (alone["rms"] or 0)), (name, figure)
            else:
                assert crowd[figure] == value, (name, figure)


@pytest.mark.parametrize("size", [40, 5000])
@pytest.mark.parametrize("kind", odd_values(40))
def test_odd_moments_never_fail_and_are_counted(kind: str, size: int) -> None:
    tensor = odd_values(size)[kind]
    if tensor.dtype in (torch.bool, torch.int64):
        tensor = tensor.float()
    square = tensor.abs() if tensor.is_complex() else tensor.float() ** 2
    slots = {
        "exp_avg": ref(tensor),
        "exp_avg_sq": ref(torch.complex(square, square) if tensor.is_complex() else square),
    }
    (found,) = measure([Bundle(0, ref(tensor), slots, TERMS)])
    assert found.joint is not None
    parts = 2 if tensor.is_complex() else 1
    assert found.joint.count + found.joint.not_finite == parts * size
    expected = {"NaN": "nans", "infinite": "infs"}.get(kind)
    if expected:
        assert getattr(found.statistics["exp_avg"], expected) == found.joint.not_finite > 0


LAYOUTS = {
    "transposed": lambda t: t.t(),
    "every other column": lambda t: t[:, ::2],
    "offset": lambda t: t[1:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(30, 40), (600, 800)])
def test_layouts(layout: str, shape: tuple[int, int]) -> None:
    (found,) = measure([bundle(1, *shape, change=LAYOUTS[layout])])
    assert_right(found)


def test_slots_in_different_layouts_stay_in_step() -> None:
    """m as saved, v transposed in memory: elements must still be paired by position."""
    m = torch.randn(300, 500)
    v = (m.square() + 1e-6).t().contiguous().t()
    (found,) = measure([Bundle(0, ref(m), {"exp_avg": ref(m), "exp_avg_sq": ref(v)}, TERMS)])
    assert_right(found)


def test_slots_of_other_shapes_are_measured_beside() -> None:
    m = torch.randn(300, 500)
    slots = {"exp_avg_sq_row": ref(m.square().mean(1)), "exp_avg_sq_col": ref(m.square().mean(0)), "exp_avg": ref(m)}
    (found,) = measure([Bundle(0, ref(m), slots, TERMS)])
    assert {slot: each.count for slot, each in found.statistics.items()} == {
        "exp_avg_sq_row": 300,
        "exp_avg_sq_col": 500,
        "exp_avg": 150_000,
    }
    assert found.joint is None and found.joint_problem == "no exp_avg_sq"
    assert found.effective_step is None and found.update_ratio is None


class Failing(MemoryBytes):
    def __init__(self, size: int, error: Exception) -> None:
        super().__init__(bytes(size))
        self._error = error

    def read_into(self, offset: int, buffer: memoryview) -> None:
        if offset or self.size == len(buffer):  # of several blocks the first is fine
            raise self._error
        super().read_into(offset, buffer)


@pytest.mark.parametrize("size", [3, 3 * BLOCK])
def test_a_tensor_that_cannot_be_read_is_a_problem_of_its_bundle_only(size: int) -> None:
    good, bad = bundle("good", 100), torch.zeros(size)
    gone = ref(bad, Failing(4 * size, UnreadableFile("disk: input/output error")))
    broken = ref(bad, problem="tensor reaches element 99 of a storage of 4")
    missing = Bundle("bad", broken, {"exp_avg": ref(bad), "exp_avg_sq": gone, "other": ref(bad)}, TERMS)
    before, found, after = measure([good, missing, good], weights=True)
    assert_right(before)
    assert_right(after)
    assert list(found.statistics) == ["exp_avg", "other"]
    assert found.weight is None and found.joint is None
    assert found.problems[None] == "tensor reaches element 99 of a storage of 4"
    assert set(found.problems) == {None, "exp_avg_sq"}
    assert found.joint_problem is not None and found.joint_problem.startswith("exp_avg_sq: ")


def test_a_weight_that_ends_in_the_middle_gives_no_ratio() -> None:
    whole = bundle("good", 3 * BLOCK)
    cut = ref(torch.ones(3 * BLOCK), Failing(12 * BLOCK, UnreadableFile("disk: input/output error")))
    (found,) = measure([Bundle("cut", cut, whole.slots, TERMS)])
    (right,) = measure([whole])
    assert found.effective_step == right.effective_step
    assert found.update_ratio is None and set(found.problems) == {None}


@pytest.mark.parametrize("tail", [100, 32_767, 32_768])
def test_a_sample_gives_a_short_last_block_no_more_weight_than_the_others(tail: int) -> None:
    values = torch.ones(4 * BLOCK + tail)
    values[-tail:] = 1e-6
    (found,) = measure([Bundle(0, None, {"m": ref(values)})])
    statistics = found.statistics["m"]
    assert statistics.histogram_sample < statistics.count // 60
    last = statistics.log2_histogram.get(-20, 0) / statistics.histogram_sample
    assert last == pytest.approx(tail / values.numel(), abs=509 / values.numel())
    assert quantiles(statistics)["p50"] == 1.0


def test_moments_whose_squares_vanish_still_step() -> None:
    m = torch.full((40,), 1e-210, dtype=torch.float64)
    (found,) = measure([Bundle(0, None, {"exp_avg": ref(m), "exp_avg_sq": ref(torch.full_like(m, 0.25))}, TERMS)])
    step = 1e-3 * 1e-210 / (1 - 0.9**12) / (math.sqrt(0.25 / (1 - 0.95**12)) + 1e-8)
    assert found.effective_step == pytest.approx(step, rel=1e-12)


def test_a_file_that_changes_aborts() -> None:
    changed = ref(torch.zeros(4 * BLOCK), Failing(16 * BLOCK, FileChanged("ckpt.pt: changed while being read")))
    with pytest.raises(FileChanged):
        list(measure([bundle(0, 10), Bundle("x", None, {"m": changed})], threads=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("measure")]


def test_expanded_tensors_are_never_iterated() -> None:
    vast = ref(torch.zeros(1).expand(10**6, 10**6))
    (found,) = measure([Bundle(0, None, {"m": vast, "n": ref(torch.ones(3))})])
    assert list(found.statistics) == ["n"]
    assert "expanded" in found.problems["m"]


def test_nothing_to_measure_is_still_an_answer() -> None:
    empty = ref(torch.zeros(0, 3))
    nothing, hollow = measure([Bundle("nothing", None, {}), Bundle("hollow", empty, {"m": empty}, TERMS)])
    assert (nothing.key, dict(nothing.statistics), nothing.weight, nothing.joint) == ("nothing", {}, None, None)
    assert hollow.statistics["m"] == Statistics()
    assert list(measure([])) == []


def test_weights_are_read_only_where_they_matter() -> None:
    plain = Bundle("plain", ref(torch.ones(5), problem="must not be touched"), {"momentum_buffer": ref(torch.ones(5))})
    (found,) = measure([plain])
    assert not found.problems and found.weight is None
    (found,) = measure([plain], weights=True)
    assert found.problems == {None: "must not be touched"}


@pytest.mark.parametrize("step", [0, math.nan])
def test_terms_without_a_step_are_a_joint_problem(step: float) -> None:
    terms = AdamTerms("exp_avg", "exp_avg_sq", 1e-3, 0.9, 0.95, 1e-8, step)
    given = bundle(0, 10)
    (found,) = measure([Bundle(0, given.weight, given.slots, terms)])
    assert found.joint is None and found.joint_problem
    assert len(found.statistics) == 2


@pytest.mark.parametrize("shape", [(10,), (1000, 999)])
def test_extra_rules_see_every_element_once_and_in_step(shape: tuple[int, ...]) -> None:
    def rule(given: Bundle, blocks: Mapping[str | None, np.ndarray]) -> JointStatistics:
        theta, m, v = blocks[None], blocks["exp_avg"], blocks["exp_avg_sq"]
        return JointStatistics(theta.size, lost_v=int(np.count_nonzero(np.square(m) * np.float32(0.1) > v)))

    first, second = measure([bundle(0, *shape), bundle(1, *shape)], extra=rule)
    assert first.extra == second.extra == JointStatistics(math.prod(shape))


def test_progress_accounts_for_all_bytes() -> None:
    seen: list[int] = []
    given = bundles()
    list(measure(given, progress=seen.append))
    assert sum(seen) == sum(t.nbytes for one in given for t in (one.weight, *one.slots.values()))


def test_stopping_early_leaves_no_thread() -> None:
    results: Iterator[Measured] = measure((bundle(n, 500, 500) for n in range(50)), threads=2)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("measure")]


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupted() -> Iterator[Bundle]:
        yield bundle(0, 1500, 900)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(measure(interrupted(), threads=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("measure")]
