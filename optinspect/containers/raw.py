"""The bytes of a tensor's elements in row-major order, whatever its strides: what shards are assembled from."""

from __future__ import annotations

from dataclasses import replace

from optinspect.errors import UnreadableTensor
from optinspect.tensors import DTYPES, Bytes, TensorRef

_CARRIERS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "complex128"}


def elements_of(tensor: TensorRef) -> Bytes:
    """Raises UnreadableTensor for a tensor whose bytes are not there."""
    from optinspect.containers.source import ByteRange  # noqa: PLC0415

    data = tensor.storage.data
    reason = tensor.problem or tensor.storage.problem or ("no bytes" if data is None else None)
    if reason is not None or data is None or tensor.is_expanded or tensor.conj or tensor.neg:
        raise UnreadableTensor(f"{tensor.storage.key}: {reason or 'a view that cannot be assembled'}")
    if tensor.is_contiguous:
        return ByteRange(data, tensor.offset * tensor.dtype.itemsize, tensor.nbytes)
    return _Strided(tensor)


class _Strided:
    """Elements gathered as they are read."""

    def __init__(self, tensor: TensorRef) -> None:
        storage = replace(tensor.storage, byteorder="little")  # the bytes as they are
        self._tensor = replace(tensor, dtype=DTYPES[_CARRIERS[tensor.dtype.itemsize]], storage=storage)

    @property
    def size(self) -> int:
        return self._tensor.nbytes

    def read_into(self, offset: int, buffer: memoryview) -> None:
        from optinspect.blocks import read_range  # noqa: PLC0415  numpy comes with the first value that is read

        size = self._tensor.dtype.itemsize
        first, last = offset // size, -(-(offset + len(buffer)) // size)
        values = read_range(self._tensor, first, last)
        skip = offset - first * size
        buffer[:] = values.data.cast("B")[skip : skip + len(buffer)]
