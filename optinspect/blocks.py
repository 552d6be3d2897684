"""Reading the values of a tensor, whatever its dtype, strides and size, in bounded memory.

    read(tensor)                      a whole tensor, for small ones
    chunks(tensor)                    blocks in row-major logical order, in one reused buffer
    read_range(tensor, start, stop)   one such block

Every function reads through `Storage.data.read_into`, so several threads may read at once (each with its own Buffer).
All raise UnreadableTensor for a tensor that has a problem or no bytes, and what `read_into` raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

import numpy as np

from optinspect.decoding import Array, decode
from optinspect.tensors import Bytes, TensorRef, bytes_of

BLOCK = 1 << 18
"""Elements of a block: 1 MiB of float32, so that what is computed of it finds it in the cache (2 MiB a core is common).
For `show` on 1.5 GB on two threads, half of it takes 1.2 times as long (more calls, between which threads wait for each
other) and twice as much the same, but with more memory and, where BLAS has threads of its own, 2.4 times as long."""

_GATHER_SPAN = 8192
"""Elements that are read through rather than around: reading 32 KB costs about what one more read call costs."""

_CARRIERS: Mapping[int, str] = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}
"""itemsize → a dtype that moves the bytes of an element without looking at them."""


class Buffer:
    """Memory that is reused from block to block; one a thread and a tensor that is read in step."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data: Array = np.empty(0, np.uint8)

    def take(self, nbytes: int) -> Array:
        """`nbytes` bytes (uint8, 1-d) of undefined content; the last array taken becomes invalid."""
        if self._data.size < nbytes:
            self._data = np.empty(nbytes, np.uint8)
        return self._data[:nbytes]


def read(tensor: TensorRef) -> Array:
    """All values as an array of the tensor's shape, row-major; dtypes that numpy lacks are widened exactly.

    float4_e2m1fn_x2 holds two values an element: the last dimension is doubled.
    """
    values = read_range(tensor, 0, tensor.numel)
    if values.size == tensor.numel:
        return values.reshape(tensor.shape)
    return values.reshape((*tensor.shape[:-1], 2 * tensor.shape[-1]) if tensor.shape else (2,))


def chunks(tensor: TensorRef, elements: int = BLOCK) -> Iterator[Array]:
    """1-d arrays of at most `elements` elements in row-major logical order, each valid until the next is asked for."""
    buffer = Buffer()
    for start in range(0, tensor.numel, elements):
        yield read_range(tensor, start, min(start + elements, tensor.numel), buffer)


def read_range(tensor: TensorRef, start: int, stop: int, buffer: Buffer | None = None) -> Array:
    """Elements [start, stop) of the row-major logical order: 1-d, native byte order, read into `buffer`."""
    data = bytes_of(tensor)
    size = tensor.dtype.itemsize
    raw = (buffer or Buffer()).take((stop - start) * size)
    if start < stop:
        if tensor.is_contiguous:
            data.read_into((tensor.offset + start) * size, raw.data)
        else:
            _boxes(
                _View(data, size, tensor.shape, tensor.stride, tensor.offset), start, stop, raw.view(_CARRIERS[size])
            )
    values = decode(raw, tensor.dtype, tensor.storage.byteorder)
    if tensor.conj:
        values = np.conjugate(values)
    return np.negative(values) if tensor.neg else values


def in_storage_order(tensor: TensorRef) -> TensorRef | None:
    """The same elements as a 1-d tensor in the order they lie in; None where there are gaps between them."""
    expected = 1
    for step, size in sorted(zip(tensor.stride, tensor.shape, strict=True)):
        if size != 1 and step != expected:
            return None
        expected *= size
    return replace(tensor, shape=(tensor.numel,), stride=(1,))


class _View:
    """A strided view of bytes, without the rest of a TensorRef; all counts are elements."""

    __slots__ = ("data", "offset", "shape", "size", "stride")

    def __init__(self, data: Bytes, size: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
        self.data, self.size, self.shape, self.stride, self.offset = data, size, shape, stride, offset

    def cut(self, axis: int, start: int, stop: int) -> _View:
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return _View(self.data, self.size, shape, self.stride, self.offset + start * self.stride[axis])

    def row(self, index: int) -> _View:
        return _View(self.data, self.size, self.shape[1:], self.stride[1:], self.offset + index * self.stride[0])


def _boxes(view: _View, start: int, stop: int, out: Array) -> None:
    """Fill `out` (1-d) with elements [start, stop) of row-major order: a part of a row, whole rows, a part of a row."""
    inner = prod(view.shape[1:])
    first, last = -(-start // inner), stop // inner
    if first > last:  # within one row
        _boxes(view.row(last), start - last * inner, stop - last * inner, out)
        return
    head, tail = first * inner - start, stop - last * inner
    if head:
        _boxes(view.row(first - 1), inner - head, inner, out[:head])
    if first < last:
        box = view.cut(0, first, last)
        _gather(box, out[head : out.size - tail].reshape(box.shape))
    if tail:
        _boxes(view.row(last), 0, tail, out[out.size - tail :])


def _gather(view: _View, out: Array) -> None:
    """Fill `out` (of the view's shape). Reads through small gaps, halves the longest stride where gaps are large."""
    span = 1 + sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
    if span <= max(2 * out.size, _GATHER_SPAN):
        piece = np.empty(span, out.dtype)
        view.data.read_into(view.offset * view.size, piece.view(np.uint8).data)
        out[...] = np.ndarray(view.shape, out.dtype, piece, strides=tuple(step * view.size for step in view.stride))
        return
    axis = max((a for a in range(len(view.shape)) if view.shape[a] > 1), key=lambda a: view.stride[a])
    middle = view.shape[axis] // 2
    _gather(view.cut(axis, 0, middle), out[(slice(None),) * axis + (slice(0, middle),)])
    _gather(view.cut(axis, middle, view.shape[axis]), out[(slice(None),) * axis + (slice(middle, None),)])
