"""Reading trees of bytes in tests, and comparing them with what torch says."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

from optinspect.containers import Limits, open_source
from optinspect.containers.base import Tree
from optinspect.containers.source import Source
from optinspect.opaque import Device, Opaque
from optinspect.tensors import MemoryBytes, TensorRef


def opened(data: bytes, limits: Limits | None = None) -> Tree:
    return open_source(Source("x.pt", MemoryBytes(data)), limits or Limits())


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def content(tensor: TensorRef) -> bytes:
    """Its elements in row-major order, little-endian, by numpy's strides on the raw storage."""
    assert tensor.problem is None
    if tensor.numel == 0:
        return b""
    assert tensor.storage.data is not None
    buffer = bytearray(tensor.storage.nbytes)
    tensor.storage.data.read_into(0, memoryview(buffer))
    size = tensor.dtype.itemsize
    elements = np.frombuffer(buffer, dtype=f"V{size}")[tensor.offset :]
    view = np.lib.stride_tricks.as_strided(elements, tensor.shape, [step * size for step in tensor.stride])
    raw = view.tobytes()
    if tensor.storage.byteorder == "little":
        return raw
    unit = size // 2 if tensor.dtype.kind == "complex" else size
    return b"".join(raw[at : at + unit][::-1] for at in range(0, len(raw), unit))


def torch_content(tensor: torch.Tensor) -> bytes:
    """The same bytes, by torch: a contiguous copy of its storage."""
    plain = tensor.detach()
    plain = torch.view_as_complex(torch.view_as_real(plain.conj()).clone()) if plain.is_conj() else plain
    copy = torch.empty(plain.shape, dtype=plain.dtype)
    copy.copy_(plain)
    return bytes(copy.untyped_storage().tolist())


def assert_same(ours: Any, theirs: Any, route: str = "root") -> None:
    """Structure, types and every byte."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, TensorRef), route
        assert (ours.shape, ours.stride) == (tuple(theirs.shape), tuple(theirs.stride())), route
        assert f"torch.{ours.dtype.name}" == str(theirs.dtype), route
        assert ours.requires_grad == theirs.requires_grad, route
        assert ours.is_parameter == isinstance(theirs, torch.nn.Parameter), route
        assert content(ours) == torch_content(theirs), route
    elif isinstance(theirs, dict):
        assert isinstance(ours, dict) and list(map(repr, ours)) == list(map(repr, theirs)), route
        for mine, (key, other) in zip(ours.values(), theirs.items(), strict=True):
            assert_same(mine, other, f"{route}.{key}")
    elif isinstance(theirs, list | tuple):
        assert isinstance(ours, list if isinstance(theirs, list) else tuple) and len(ours) == len(theirs), route
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, f"{route}[{number}]")
    elif isinstance(theirs, torch.device):
        assert ours == Device(theirs.type, theirs.index), route
    elif isinstance(theirs, torch.dtype):
        assert isinstance(ours, Opaque) and ours.name == str(theirs), route
    else:
        assert type(ours) is type(theirs) and repr(ours) == repr(theirs), route
