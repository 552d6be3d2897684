"""TensorRef → torch tensor: the same bits as torch.load gives, for every dtype, layout and byte order."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optinspect.containers import open_tree
from optinspect.errors import UnreadableTensor
from optinspect.tensors import DTYPES, MemoryBytes, Storage, TensorRef
from optinspect.torch_bridge import read_torch, to_torch

PLAIN = [
    name
    for name, dtype in DTYPES.items()
    if dtype.kind != "quantized" and isinstance(getattr(torch, name, None), torch.dtype)
]


def bytes_of(tensor: torch.Tensor) -> bytes:
    """What the elements are in memory, in row-major order."""
    return bytes(torch.empty(0, dtype=torch.uint8).set_(tensor.contiguous().untyped_storage()).numpy())[
        : tensor.numel() * tensor.element_size()
    ]


@pytest.mark.parametrize("name", PLAIN)
def test_every_bit_of_every_dtype(name: str) -> None:
    """All byte values, NaN payloads and negative zeros among them."""
    dtype = DTYPES[name]
    raw = bytes(range(256)) * 4
    count = len(raw) // dtype.itemsize
    storage = Storage("0", dtype, len(raw), "cpu", MemoryBytes(raw))
    tensor = to_torch(TensorRef(dtype, (count,), (1,), 0, storage))
    assert tensor.dtype == getattr(torch, name)
    assert bytes_of(tensor) == raw


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float64", "int64"])
def test_saved_views_come_back_with_their_strides(name: str, tmp_path: Path) -> None:
    whole = torch.arange(240).to(getattr(torch, name))
    views = {
        "transposed": whole.view(12, 20).t(),
        "channels last": whole.view(2, 5, 4, 6).to(memory_format=torch.channels_last),
        "offset": whole[17:57],
        "strided": whole.view(24, 10)[:, ::3],
        "scalar": whole[3],
        "empty": whole[:0].view(0, 4),
        "one row": whole.view(240, 1)[5:6],
    }
    torch.save(views, tmp_path / "views.pt")
    loaded = torch.load(tmp_path / "views.pt", weights_only=True)
    with open_tree(tmp_path / "views.pt") as tree:
        for key, ref in tree.root.items():
            mine = to_torch(ref)
            assert torch.equal(mine, loaded[key]), key
            if key in ("transposed", "channels last"):
                assert mine.stride() == loaded[key].stride(), key


def test_conjugates_and_negatives_are_resolved(tmp_path: Path) -> None:
    z = torch.randn(5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    for name, view in {"conj": z.conj(), "imag of conj": z.conj().imag}.items():
        torch.save({name: view}, tmp_path / "z.pt")
        loaded = torch.load(tmp_path / "z.pt", weights_only=True)[name]
        with open_tree(tmp_path / "z.pt") as tree:
            assert torch.equal(to_torch(tree.root[name]), loaded.resolve_conj().resolve_neg()), name


@pytest.mark.parametrize(("name", "code"), [("float32", "f"), ("float64", "d"), ("complex64", "ff"), ("int16", "h")])
def test_big_endian_bytes_are_swapped_within_each_number(name: str, code: str) -> None:
    numbers = [1.5, -2.0] if code != "h" else [300]
    raw = struct.pack(f">{code}", *numbers[: len(code)])
    storage = Storage("0", DTYPES[name], len(raw), "cpu", MemoryBytes(raw), byteorder="big")
    value = to_torch(TensorRef(DTYPES[name], (1,), (1,), 0, storage)).item()
    assert value == (complex(*numbers) if name == "complex64" else numbers[0])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False), st.data())
def test_any_part_of_any_permutation(shape: list[int], random: object, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    tensor = torch.arange(float(torch.tensor(shape).prod())).view(shape).permute(*order)
    raw = bytes_of(torch.arange(tensor.numel(), dtype=torch.float32))
    storage = Storage("0", DTYPES["float32"], len(raw), "cpu", MemoryBytes(raw))
    ref = TensorRef(DTYPES["float32"], tuple(tensor.shape), tensor.stride(), 0, storage)
    start = data.draw(st.integers(0, tensor.numel()))
    stop = data.draw(st.integers(start, tensor.numel()))
    assert torch.equal(to_torch(ref), tensor)
    assert torch.equal(read_torch(ref, start, stop), tensor.reshape(-1)[start:stop])


def test_what_torch_has_no_plain_tensor_for() -> None:
    storage = Storage("0", DTYPES["qint8"], 4, "cpu", MemoryBytes(bytes(4)))
    with pytest.raises(UnreadableTensor, match="qint8"):
        to_torch(TensorRef(DTYPES["qint8"], (4,), (1,), 0, storage))
