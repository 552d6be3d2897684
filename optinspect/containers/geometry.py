"""Whether a tensor lies inside its storage: the check that torch leaves to luck."""

from __future__ import annotations

from typing import Any

from optinspect.tensors import DType, Storage, TensorRef

MAX_RANK = 64
_MAX_INT = 1 << 62
_SEQUENCES = (tuple, list)


def integers(values: Any) -> bool:
    """A tuple or list of at most 64 true integers of any size."""
    return type(values) in (tuple, list) and len(values) <= MAX_RANK and all(type(value) is int for value in values)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides."""
    stride, step = [], 1
    for size in reversed(shape):
        stride.append(step)
        step *= max(size, 1)
    return tuple(reversed(stride))


def fault(dtype: DType, shape: Any, stride: Any, offset: Any, nbytes: int) -> str | None:
    """What is wrong with a view of a storage of `nbytes` bytes; None when all its elements lie inside."""
    if type(shape) not in _SEQUENCES or type(stride) not in _SEQUENCES or len(shape) != len(stride):
        return _explained(shape, stride, offset)
    if type(offset) is not int or not 0 <= offset < _MAX_INT or len(shape) > MAX_RANK:
        return _explained(shape, stride, offset)
    reach, elements = offset + 1, 1
    for size, step in zip(shape, stride):  # noqa: B905 - of one length, and this is the inner loop of listing
        if type(size) is not int or type(step) is not int or not 0 <= size < _MAX_INT or not 0 <= step < _MAX_INT:
            return _explained(shape, stride, offset)
        reach += (size - 1) * step
        elements *= size
    if elements >= 1 << 63:
        return "tensor with more elements than 64 bits can count"
    if elements and reach * dtype.itemsize > nbytes:
        return f"tensor reaches element {reach:,} of a storage of {nbytes // dtype.itemsize:,}"
    return None


def _explained(shape: Any, stride: Any, offset: Any) -> str:
    """Words for a shape, stride or offset that cannot be."""
    if type(shape) in _SEQUENCES and len(shape) > MAX_RANK:
        return f"tensor of {len(shape):,} dimensions (at most {MAX_RANK})"
    if not integers(shape) or not integers(stride) or type(offset) is not int:
        return "tensor whose shape, stride or offset are no integers"
    for what, values in (("size", shape), ("stride", stride), ("offset", (offset,))):
        for value in values:
            if not 0 <= value < _MAX_INT:
                return f"tensor with {what} {value if abs(value) < 10**24 else 'beyond 64 bits'}"
    return f"tensor of {len(shape)} dimensions with {len(stride)} strides"


def view(storage: Storage, dtype: DType, shape: Any, stride: Any, offset: Any) -> tuple[TensorRef, str | None]:
    """A tensor, and what is wrong with its geometry. A broken one keeps as much of its shape as makes sense."""
    problem = fault(dtype, shape, stride, offset, storage.nbytes)
    if problem is None:
        return TensorRef(dtype, tuple(shape), tuple(stride), offset, storage, problem=storage.problem), None
    sane = integers(shape) and all(0 <= size < _MAX_INT for size in shape)
    kept = tuple(shape) if sane else ()
    return TensorRef(dtype, kept, contiguous(kept), 0, storage, problem=problem), problem
