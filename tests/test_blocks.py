"""Reading values: torch is the truth, bit for bit, for every dtype, byte order and stride."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optinspect.blocks import chunks, in_storage_order, read, read_range
from optinspect.errors import UnreadableTensor
from optinspect.scalars import item
from optinspect.tensors import DTYPES, MemoryBytes, Storage, TensorRef

NUMBERS = [
    name
    for name, dtype in DTYPES.items()
    if dtype.kind in ("float", "complex", "int", "bool") and name != "float4_e2m1fn_x2" and "int" not in name
] + ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
WIDER = {"bfloat16": torch.float32, "complex32": torch.complex64} | {
    name: torch.float32 for name in DTYPES if name.startswith("float8")
}


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """The bytes of the whole storage."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes()


def ref(tensor: torch.Tensor, data: bytes | None = None, **changes: object) -> TensorRef:
    name = str(tensor.dtype).removeprefix("torch.")
    data = raw_bytes(tensor) if data is None else data
    order = changes.pop("byteorder", "little")
    storage = Storage("data/0", DTYPES[name], len(data), "cpu", MemoryBytes(data), order, changes.pop("broken", None))
    return TensorRef(DTYPES[name], tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), storage, **changes)


def arbitrary(name: str, count: int) -> torch.Tensor:
    """Every bit pattern is a value: all codes of one-byte dtypes, random ones of the rest."""
    size = DTYPES[name].itemsize
    data = bytes(range(256)) * size + np.random.default_rng(0).bytes(count * size)
    if name == "bool":
        data = bytes(byte & 1 for byte in data)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(getattr(torch, name))


def assert_bits(ours: np.ndarray, truth: torch.Tensor) -> None:
    """Equal bit for bit, NaN payloads included, but for widened NaNs, whose payload has no meaning."""
    expected = truth.resolve_conj().resolve_neg().contiguous().numpy()
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    real = ours.view(ours.real.dtype) if ours.dtype.kind == "c" else ours
    nan = np.isnan(real) if real.dtype.kind == "f" else np.zeros(real.shape, bool)
    wide = expected.view(expected.real.dtype) if ours.dtype.kind == "c" else expected
    kind = f"u{real.itemsize}"
    np.testing.assert_array_equal(np.isnan(wide) if wide.dtype.kind == "f" else nan, nan)
    np.testing.assert_array_equal(real.view(kind)[~nan], wide.view(kind)[~nan])


@pytest.mark.parametrize("name", NUMBERS)
def test_every_dtype_reads_as_torch_does(name: str) -> None:
    values = arbitrary(name, 1000)
    assert_bits(read(ref(values)), values.to(WIDER.get(name, values.dtype)))


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16", "complex64", "complex128", "complex32"])
def test_big_endian_storages(name: str) -> None:
    values = arbitrary(name, 1000)
    parts = DTYPES[name].itemsize // (2 if DTYPES[name].kind == "complex" else 1)
    swapped = np.frombuffer(raw_bytes(values), f"u{parts}").byteswap().tobytes()
    assert_bits(read(ref(values, swapped, byteorder="big")), values.to(WIDER.get(name, values.dtype)))
    one = ref(values[3], swapped, byteorder="big")
    np.testing.assert_equal(item(one), values[3].to(WIDER.get(name, values.dtype)).item())


def test_float4_holds_two_values_a_byte_low_half_first() -> None:
    packed = torch.tensor([0x10, 0x7F, 0x98], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    np.testing.assert_array_equal(read(ref(packed)), np.float32([0, 0.5, -6, 6, -0.0, -0.5]))


VIEWS = {
    "transposed": lambda t: t.reshape(40, -1).t(),
    "channels_last": lambda t: t.reshape(4, 6, 5, -1).contiguous(memory_format=torch.channels_last),
    "column": lambda t: t.reshape(30, -1)[:, 3],
    "every third": lambda t: t[5::3],
    "corner": lambda t: t.reshape(30, -1)[7:19, 2:21],
    "diagonal": lambda t: t.reshape(40, -1).diagonal(),
    "windows that overlap": lambda t: t.unfold(0, 4, 1)[: t.numel() // 8],
    "one repeated row": lambda t: t.reshape(40, -1)[:1].expand(3, -1),
    "empty": lambda t: t.reshape(40, -1)[:0],
    "scalar": lambda t: t[17],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("elements", [1, 7, 100, 10**6])
def test_views_are_read_in_logical_order(view: str, elements: int) -> None:
    tensor = VIEWS[view](torch.arange(6000, dtype=torch.int32))
    blocks = [block.copy() for block in chunks(ref(tensor), elements)]
    assert all(0 < block.size <= elements for block in blocks)
    ours = np.concatenate(blocks) if blocks else np.empty(0, np.int32)
    np.testing.assert_array_equal(ours, tensor.contiguous().numpy().reshape(-1))


@st.composite
def strided(draw: st.DrawFn) -> torch.Tensor:
    """A random view of a random storage, gaps and overlaps included."""
    shape = draw(st.lists(st.integers(0, 6), min_size=0, max_size=4))
    stride = [draw(st.integers(0, 40)) for _ in shape]
    offset = draw(st.integers(0, 5))
    size = offset + 1 + sum(max(d - 1, 0) * s for d, s in zip(shape, stride, strict=True))
    size = max(size, int(np.prod(shape, dtype=int)))  # more elements than the storage has are refused: another test
    return torch.arange(size, dtype=torch.float64).as_strided(shape, stride, offset)


@given(strided(), st.integers(1, 50), st.data())
@settings(max_examples=300, deadline=None)
def test_any_strides_any_range(tensor: torch.Tensor, elements: int, data: st.DataObject) -> None:
    truth = tensor.contiguous().numpy().reshape(-1)
    blocks = [block.copy() for block in chunks(ref(tensor), elements)]
    np.testing.assert_array_equal(np.concatenate([np.empty(0), *blocks]), truth)
    start = data.draw(st.integers(0, truth.size))
    stop = data.draw(st.integers(start, truth.size))
    np.testing.assert_array_equal(read_range(ref(tensor), start, stop), truth[start:stop])
    np.testing.assert_array_equal(read(ref(tensor)), tensor.numpy())


class Counting(MemoryBytes):
    """Counts reads and the bytes they ask for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.calls = self.bytes = self.largest = 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        super().read_into(offset, buffer)
        self.calls += 1
        self.bytes += len(buffer)
        self.largest = max(self.largest, len(buffer))


def test_a_transposed_matrix_is_read_in_bounded_pieces() -> None:
    matrix = torch.arange(2_000_000, dtype=torch.float32).reshape(2000, 1000).t()
    counting = Counting(raw_bytes(matrix))
    storage = Storage("k", DTYPES["float32"], counting.size, "cpu", counting)
    tensor = TensorRef(DTYPES["float32"], (1000, 2000), (1, 1000), 0, storage)
    ours = np.concatenate([block.copy() for block in chunks(tensor, 1 << 16)])
    np.testing.assert_array_equal(ours, matrix.contiguous().numpy().reshape(-1))
    assert counting.largest <= 2 * 4 * (1 << 16)
    assert counting.calls < 2_000_000 / 10  # runs of neighbours, not element by element


def test_storage_order_of_dense_views() -> None:
    matrix = torch.arange(12.0).reshape(3, 4)
    flat = in_storage_order(ref(matrix.t()))
    assert flat is not None
    np.testing.assert_array_equal(read(flat), np.arange(12.0))
    assert in_storage_order(ref(matrix[:, :2])) is None
    assert in_storage_order(ref(matrix[:1].expand(2, -1))) is None


def test_lazy_conjugate_and_negative_bits() -> None:
    values = torch.randn(7, dtype=torch.complex64)
    assert_bits(read(ref(values, conj=True)), values.conj())
    negative = values.conj().imag
    assert negative.is_neg()
    assert_bits(read(ref(negative, raw_bytes(values), neg=True)), negative)
    assert item(ref(negative[:1], raw_bytes(values), neg=True)) == negative[0].item()


@pytest.mark.parametrize("name", NUMBERS)
def test_item_is_torchs_item(name: str) -> None:
    values = arbitrary(name, 100)
    wide = values.to(WIDER.get(name, values.dtype))
    for index in (0, 1, 77):
        ours = item(ref(values[index : index + 1]))
        np.testing.assert_equal(ours, wide[index].item())
        assert type(ours) is type(wide[index].item())


def test_what_cannot_be_read_says_why() -> None:
    good = torch.zeros(4)
    broken = ref(good, problem="tensor reaches element 99 of a storage of 4")
    expanded = ref(torch.zeros(2, 1).expand(2, 1000))
    missing = TensorRef(DTYPES["float32"], (4,), (1,), 0, Storage("data/7", DTYPES["float32"], 16, "meta", None))
    untrusted = ref(good, broken="CRC mismatch")
    for tensor, words in (
        (broken, "element 99"),
        (expanded, "expanded"),
        (missing, "not in the file"),
        (untrusted, "CRC mismatch"),
    ):
        with pytest.raises(UnreadableTensor, match=words):
            read(tensor)
        with pytest.raises(UnreadableTensor, match=words):
            next(chunks(tensor))
    with pytest.raises(UnreadableTensor, match="expected one element"):
        item(ref(good))
    with pytest.raises(UnreadableTensor, match="bits16"):
        read(
            TensorRef(DTYPES["bits16"], (2,), (1,), 0, Storage("k", DTYPES["bits16"], 4, "cpu", MemoryBytes(bytes(4))))
        )


def test_threads_may_read_one_tensor_at_once() -> None:
    truth = torch.randn(100_000)
    tensor, results = ref(truth), []
    work = [
        threading.Thread(target=lambda: results.append(np.concatenate([b.copy() for b in chunks(tensor, 999)])))
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(results) == 4
    for ours in results:
        np.testing.assert_array_equal(ours, truth.numpy())
