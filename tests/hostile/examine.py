"""Read bytes as a checkpoint to the last record, and hold the reader to what it promises about any input."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from optinspect.containers import Limits, open_source
from optinspect.containers.base import Tree
from optinspect.containers.source import Source
from optinspect.errors import MAX_MESSAGE, OptinspectError
from optinspect.routes import format_route, walk
from optinspect.tensors import CompositeRef, MemoryBytes, TensorRef

LIMITS = Limits(objects=64 << 20, opcodes=2_000_000)
_READ = 1 << 16


def examine(data: bytes) -> str:
    """What became of it: "read", or the kind of error. Raises AssertionError where a promise is broken."""
    try:
        tree = open_source(Source("fuzz.pt", MemoryBytes(data)), LIMITS)
        for _, tensor in tensors(tree):
            check_tensor(tensor)
        for problem in tree.problems:
            assert "\n" not in problem.message and len(problem.message) <= MAX_MESSAGE
        for record in tree.records:
            read(record.data, min(record.size, _READ))
    except OptinspectError as error:
        assert "\n" not in error.message, error.message
        assert len(error.message) <= MAX_MESSAGE, error.message
        assert error.message.isprintable(), error.message
        return error.kind
    return "read"


def tensors(tree: Tree) -> Iterator[tuple[str, TensorRef]]:
    for route, value in walk(tree.root):
        if isinstance(value, TensorRef):
            yield format_route(route), value
        elif isinstance(value, CompositeRef):
            for name, part in value.parts.items():
                yield f"{format_route(route)}.{name}", part


def check_tensor(tensor: TensorRef) -> None:
    """A tensor without a problem lies inside its storage, and its storage can be read."""
    assert len(tensor.shape) == len(tensor.stride) <= 64
    assert all(type(size) is int and size >= 0 for size in (*tensor.shape, *tensor.stride, tensor.offset))
    assert isinstance(tensor.is_contiguous, bool)
    if tensor.problem is not None:
        return
    reach = tensor.offset + 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))
    if 0 in tensor.shape:
        return
    assert reach * tensor.dtype.itemsize <= tensor.storage.nbytes
    assert tensor.storage.data is not None and tensor.storage.problem is None
    assert tensor.storage.data.size >= tensor.storage.nbytes
    read(tensor.storage.data, min(tensor.storage.nbytes, _READ))


def read(data: object, size: int) -> int:
    """The checksum of the first `size` bytes."""
    if data is None:
        return 0
    buffer = bytearray(size)
    data.read_into(0, memoryview(buffer))  # type: ignore[attr-defined]
    return zlib.crc32(buffer)
