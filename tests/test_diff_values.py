"""The values that `diff` compares: laws, and figures against float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import optinspect
from optinspect.blocks import BLOCK
from optinspect.comparison.blockwise import Comparer, bundle_of
from optinspect.comparison.change import Change
from optinspect.comparison.plain import EXACT, Tolerance
from optinspect.comparison.tensors import Job, TensorChange, compare
from optinspect.folding import fold
from optinspect.tensors import DTYPES, MemoryBytes, Storage, TensorRef
from tests.diff_cases import changed, save, told, trained

FIGURES = ("norm_a", "norm_b", "difference_norm", "relative", "cosine", "max_abs")
TOLERANCE = 1e-6
"""Of the contract. Seen on 500 random pairs: 5e-8 at most."""


def stored(values: torch.Tensor) -> bytes:
    return torch.empty(0, dtype=torch.uint8).set_(values.untyped_storage()).numpy().tobytes()


def ref(values: torch.Tensor) -> TensorRef:
    """The tensor as a file would hold it: its storage's bytes, its strides and offset."""
    data = stored(values)
    dtype = DTYPES[str(values.dtype).removeprefix("torch.")]
    held = Storage("memory", dtype, len(data), "cpu", MemoryBytes(data))
    return TensorRef(dtype, tuple(values.shape), values.stride(), values.storage_offset(), held)


def compared(a: torch.Tensor, b: torch.Tensor, tolerance: Tolerance = EXACT) -> TensorChange:
    (found,) = compare([Job("weight", 0, "weight", ref(a), ref(b))], tolerance)
    assert found.problem is None
    return found


def truth(a: torch.Tensor, b: torch.Tensor) -> dict[str, float | None]:
    """The same figures in float64; extreme values scaled, so that float64 squares neither vanish nor overflow."""
    wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    x, y = a.to(wide).flatten(), b.to(wide).flatten()
    good = torch.isfinite(x) & torch.isfinite(y)
    x, y = x[good], y[good]
    top = max(x.abs().max().item(), y.abs().max().item()) if x.numel() else 0.0
    scale = 2.0 ** math.frexp(top)[1] if top else 1.0
    x, y = x / scale, y / scale
    norm_a, norm_b, apart = (each.abs().square().sum().sqrt().item() for each in (x, y, y - x))
    dot = (x.conj() * y).real.sum().item()
    return {
        "norm_a": norm_a * scale,
        "norm_b": norm_b * scale,
        "difference_norm": apart * scale,
        "relative": apart / norm_a if norm_a else None,
        "cosine": dot / (norm_a * norm_b) if norm_a and norm_b else None,
        "max_abs": (y - x).abs().max().item() * scale if x.numel() else 0.0,
    }


def figures(change: Change) -> Mapping[str, float | None]:
    return {
        "norm_a": change.norm_a,
        "norm_b": change.norm_b,
        "difference_norm": change.difference_norm,
        "relative": change.relative,
        "cosine": change.cosine,
        "max_abs": change.max_abs,
    }


def agree(found: TensorChange, a: torch.Tensor, b: torch.Tensor) -> None:
    assert found.change is not None
    for key, expected in truth(a, b).items():
        actual = figures(found.change)[key]
        if expected is None or actual is None:
            assert actual is expected, key
        else:
            assert actual == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE if key == "cosine" else 1e-307), key


DTYPES_COMPARED = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.int64,
    torch.int32, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


def drawn(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    if dtype.is_complex:
        return torch.complex(*(torch.randn(shape, generator=random).double() for _ in range(2))).to(dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=random).to(dtype)
    return torch.randint(0, 2 if dtype == torch.bool else 100, shape, generator=random).to(dtype)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (33, 65), (2, BLOCK + 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES_COMPARED, ids=str)
def test_figures_agree_with_float64(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    a, b = drawn(dtype, shape, 1), drawn(dtype, shape, 2)
    agree(compared(a, b), a, b)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("step", [0.0, 1e-6, 1e-3, 1.0, 1e3])
def test_figures_of_small_changes_and_extreme_sizes(scale: float, step: float) -> None:
    a = drawn(torch.float32, (50_000,), 3) * scale
    b = a + step * scale * drawn(torch.float32, (50_000,), 4)
    agree(compared(a, b), a, b)


@pytest.mark.parametrize("exponent", [-300, -160, 160, 300])
def test_float64_of_extreme_size(exponent: int) -> None:
    a, b = (drawn(torch.float64, (1000,), seed) * 10.0**exponent for seed in (1, 2))
    agree(compared(a, b), a, b)


@pytest.mark.parametrize("second", [torch.bfloat16, torch.float16, torch.float64, torch.int32], ids=str)
def test_two_dtypes_are_compared_in_the_wider(second: torch.dtype) -> None:
    a = drawn(torch.float32, (300, 70), 1) * 3
    found = compared(a, a.to(second))
    agree(found, a, a.to(second))
    assert found.change is not None
    assert found.change.differing == int((a.double() != a.to(second).double()).sum())


def test_what_is_not_finite_is_left_out_and_nan_equals_nan() -> None:
    a = drawn(torch.float32, (1000,), 1)
    a[3], a[5] = math.nan, math.inf
    b = a.clone()
    same = compared(a, b)
    assert same.change is not None and same.bit_equal and same.change.left_out == 2
    b[3], b[7], b[9] = 1.0, math.nan, 5.0
    found = compared(a, b)
    assert found.change is not None
    assert (found.change.left_out, found.change.differing) == (3, 3)
    agree(found, a, b)
    for tolerance, beyond in ((EXACT, 3), (Tolerance(atol=1e9), 2)):
        change = compared(a, b, tolerance).change
        assert change is not None and change.beyond == beyond


def test_bits_decide_where_values_do_not() -> None:
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0])
    found = compared(a, b)
    assert found.change is not None and not found.bit_equal and found.change.max_abs == 0
    assert compared(a, b, Tolerance(atol=1e-9)).within


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.t(),
        lambda t: t[:, ::3],
        lambda t: t[5:, 2:9],
        lambda t: t.reshape(8, 4, -1).permute(2, 0, 1),
        lambda t: t,
    ],
)
def test_views_are_compared_as_the_tensors_that_they_are(view: Any) -> None:
    whole_a, whole_b = drawn(torch.float32, (64, 96), 1), drawn(torch.float32, (64, 96), 2)
    a, b = view(whole_a), view(whole_b)
    agree(compared(a, b), a, b)
    agree(compared(a, b.contiguous()), a, b)
    one = a.clone(memory_format=torch.preserve_format)
    index = tuple(size // 2 for size in a.shape)
    one[index] += 1
    for second in (one, one.contiguous()):
        assert compared(a, second).first == index


shapes = st.lists(st.integers(1, 9), max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(dtype=st.sampled_from(DTYPES_COMPARED), shape=shapes, seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_the_comparison_mirrors(dtype: torch.dtype, shape: tuple[int, ...], seeds: tuple[int, int]) -> None:
    a, b = (drawn(dtype, shape, seed) for seed in seeds)
    one, two = compared(a, b).change, compared(b, a).change
    assert one is not None and two is not None
    assert (one.norm_a, one.norm_b) == (two.norm_b, two.norm_a)
    keep = ("count", "differing", "beyond", "first", "left_out", "difference_norm", "max_abs")
    assert [getattr(one, key) for key in keep] == [getattr(two, key) for key in keep]
    assert one.cross == pytest.approx(two.cross, abs=1e-15)


@settings(max_examples=80, deadline=None)
@given(dtype=st.sampled_from(DTYPES_COMPARED), shape=shapes, data=st.data())
def test_one_flipped_bit_is_found_and_located(dtype: torch.dtype, shape: tuple[int, ...], data: st.DataObject) -> None:
    a = drawn(dtype, shape, 1)
    raw = bytearray(stored(a))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    flipped = replace(ref(a), storage=replace(ref(a).storage, data=MemoryBytes(raw)))
    (found,) = compare([Job("weight", 0, "weight", ref(a), flipped)], EXACT)
    assert found.change is not None
    assert (found.bit_equal, found.change.differing) == (False, 1)
    element = bit // 8 // a.element_size()
    assert found.first == tuple(int(part) for part in np.unravel_index(element, shape))


changes = st.integers(0, 5).flatmap(
    lambda seed: st.integers(0, 40).map(
        lambda size: (
            compared(drawn(torch.float32, (size,), seed), drawn(torch.float32, (size,), seed + size % 2)).change
        )
    )
)


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(changes, min_size=3, max_size=5))
def test_changes_are_a_monoid(parts: list[Change]) -> None:
    left = reduce(lambda x, y: x + y, parts, Change())
    right = reduce(lambda x, y: y + x, reversed(parts), Change())
    assert (left.count, left.differing, left.first, left.left_out) == (
        right.count,
        right.differing,
        right.first,
        right.left_out,
    )
    for key in FIGURES:
        one, two = figures(left)[key], figures(right)[key]
        assert one == two if one is None or two is None else one == pytest.approx(two, rel=1e-13, abs=1e-13)


def test_threads_do_not_change_a_figure() -> None:
    a, b = drawn(torch.float32, (5 * BLOCK + 3,), 1), drawn(torch.float32, (5 * BLOCK + 3,), 2)
    (one,), (four,) = (list(fold([bundle_of(ref(a), ref(b))], Comparer(EXACT), threads=n)) for n in (1, 4))
    assert one.value == four.value


def test_figures_in_the_report_are_those_of_torch(tmp_path: Path, capsys: Any) -> None:
    base = trained()
    other = changed(base)
    for tensor in other["model"].values():
        tensor.add_(1e-3 * torch.randn(tensor.shape))
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    weights = [row for row in found["tables"]["tensors"] if row["kind"] == "weight"]
    assert len(weights) == 6
    for row in weights:
        for key, expected in truth(base["model"][row["name"]], other["model"][row["name"]]).items():
            assert row[key] == pytest.approx(expected, rel=TOLERANCE)
    relative = [row["relative"] for row in found["tables"]["tensors"]]
    assert relative == sorted(relative, reverse=True)
    totals = next(r for r in found["tables"]["totals"] if (r["group_a"], r["slot"]) == (0, "weight"))
    names = ["0.weight", "2.weight", "3.weight"]
    joined = [torch.cat([saved["model"][name].flatten() for name in names]) for saved in (base, other)]
    for key, expected in truth(*joined).items():
        assert totals[key] == pytest.approx(expected, rel=TOLERANCE)


def test_a_flipped_bit_in_a_file_is_named(tmp_path: Path, capsys: Any) -> None:
    base = trained()
    other = changed(base)
    other["optimizer"]["state"][2]["exp_avg"].view(torch.int32)[1, 3] ^= 1
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    (row,) = [row for row in found["tables"]["tensors"] if not row["bit_equal"]]
    assert (row["name"], row["slot"], row["differing"], row["first_difference"]) == ("3.weight", "exp_avg", 1, [1, 3])
    (row,) = [row for row in found["tables"]["parameters"] if row["status"] != "same"]
    assert (row["name"], row["changes"]) == ("3.weight", ["state"])


def test_checksums_are_believed_only_when_asked(tmp_path: Path, capsys: Any) -> None:
    """A copy that rotted keeps the checksums of what it was."""
    base = trained()
    first, second = save(tmp_path / "a.pt", base), tmp_path / "b.pt"
    raw = bytearray(Path(first).read_bytes())
    at = raw.index(stored(base["model"]["2.weight"]))
    raw[at + 9] ^= 1
    second.write_bytes(raw)
    assert told(capsys, first, str(second), status=1)["summary"]["tensors_different"] == 1
    believed = told(capsys, first, str(second), "--trust-crc", status=0)
    assert all(row["bit_equal"] and row["norm_a"] is None for row in believed["tables"]["tensors"])
    other = changed(base)
    other["model"]["2.weight"] += 1
    found = told(capsys, first, save(second, other), "--trust-crc", status=1)
    assert [row["name"] for row in found["tables"]["tensors"] if not row["bit_equal"]] == ["2.weight"]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10), steps=st.integers(0, 3), named=st.booleans(), groups=st.booleans())
def test_a_checkpoint_is_identical_with_itself(
    seed: int, steps: int, named: bool, groups: bool, tmp_path_factory: Any
) -> None:
    saved = trained(seed, steps, named=named, groups=groups)
    folder = tmp_path_factory.mktemp("same")
    a, b = save(folder / "a.pt", saved), save(folder / "b.pt", changed(saved))
    assert optinspect.diff(a, b).summary["identical"] is True


@settings(max_examples=15, deadline=None)
@given(seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)), named=st.booleans())
def test_the_whole_report_mirrors(seeds: tuple[int, int], named: bool, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("mirror")
    a, b = (save(folder / f"{side}.pt", trained(seed, 2, named=named)) for side, seed in zip("ab", seeds, strict=True))
    one, two = optinspect.diff(a, b), optinspect.diff(b, a)
    assert one.status == two.status
    tables = [{table.key: list(table.rows) for table in report.tables} for report in (one, two)]
    for key, ignored in (
        ("groups", {"effect"}),
        ("parameters", set()),
        ("tensors", {"relative", "cosine"}),
        ("values", {"note"}),
    ):
        forward, backward = (sorted((seen(row, ignored) for row in found[key]), key=str) for found in tables)
        mirrored = sorted((mirror(row) for row in backward), key=str)
        assert forward == mirrored, key


def seen(row: Mapping[str, Any], ignored: set[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ignored}


def mirror(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it would be with the sides exchanged."""

    def other(key: str) -> str:
        exchange = {"a": "b", "b": "a"}
        stem, line, side = key.rpartition("_")
        return f"{stem}_{exchange[side]}" if line and side in exchange else exchange.get(key, key)

    happened = {"appeared": "disappeared", "disappeared": "appeared"}
    return {key: happened.get(row[other(key)], row[other(key)]) if key == "change" else row[other(key)] for key in row}
