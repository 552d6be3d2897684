"""From a TensorRef to a torch tensor, bit for bit: the bytes are moved as integers and then called what they are.

    to_torch(tensor)                     the whole tensor, with its strides where its elements lie without gaps
    read_torch(tensor, start, stop)      elements of the row-major order, 1-d

torch is imported inside the functions: who only looks at files never loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from optinspect.errors import UnreadableTensor
from optinspect.tensors import DTYPES, DType, TensorRef

if TYPE_CHECKING:
    import torch

_CARRIERS: Mapping[int, DType] = {size: DTYPES[f"int{8 * size}"] for size in (1, 2, 4, 8)}
"""itemsize → integers that keep every bit, NaN payloads too, and that numpy swaps the bytes of."""


def to_torch(tensor: TensorRef) -> torch.Tensor:
    """A new CPU tensor with the values of `tensor`: same dtype, shape and bits.

    Strides are kept where the elements lie without gaps (transposed, channels last), else row-major.
    Raises UnreadableTensor where the values cannot be had, or where this torch lacks the dtype.
    """
    order = storage_order(tensor)
    flat = read_torch(permuted(tensor, order), 0, tensor.numel)
    return shaped(flat, tensor.shape, order)


def read_torch(tensor: TensorRef, start: int, stop: int) -> torch.Tensor:
    """Elements [start, stop) of the row-major logical order: 1-d, memory of its own. Raises as `to_torch` does."""
    import torch  # noqa: PLC0415

    from optinspect.blocks import read_range  # noqa: PLC0415  numpy comes with the first value

    dtype = torch_dtype(tensor.dtype)
    parts = 2 if tensor.dtype.kind == "complex" else 1
    values = torch.from_numpy(read_range(_carrier(tensor, parts), start * parts, stop * parts))
    if parts == 2:
        real = {4: torch.float16, 8: torch.float32, 16: torch.float64}[tensor.dtype.itemsize]
        values = torch.view_as_complex(values.view(real).view(-1, 2))
    elif dtype != values.dtype:
        values = values.view(dtype)
    values = values.conj().resolve_conj() if tensor.conj else values
    return -values if tensor.neg else values


def torch_dtype(dtype: DType) -> torch.dtype:
    """torch's dtype of that name. Raises UnreadableTensor where it has none."""
    import torch  # noqa: PLC0415

    found = vars(torch).get(dtype.name)
    if dtype.kind == "quantized" or not isinstance(found, torch.dtype):
        raise UnreadableTensor(f"{dtype.name}: no plain tensor of torch {torch.__version__} holds it")
    return found


def storage_order(tensor: TensorRef) -> tuple[int, ...]:
    """The dimensions from the longest stride to the shortest where that has no gaps, else as they are."""
    order = sorted(range(len(tensor.shape)), key=lambda axis: -tensor.stride[axis] if tensor.shape[axis] > 1 else 0)
    return tuple(order) if permuted(tensor, tuple(order)).is_contiguous else tuple(range(len(tensor.shape)))


def permuted(tensor: TensorRef, order: tuple[int, ...]) -> TensorRef:
    """The same elements with the dimensions in another order."""
    shape, stride = (tuple(values[axis] for axis in order) for values in (tensor.shape, tensor.stride))
    return replace(tensor, shape=shape, stride=stride)


def shaped(flat: torch.Tensor, shape: tuple[int, ...], order: tuple[int, ...]) -> torch.Tensor:
    """`flat`, which holds the elements in `order`, as a tensor of `shape`; no copy."""
    back = sorted(range(len(order)), key=order.__getitem__)
    return flat.view([shape[axis] for axis in order]).permute(back)


def _carrier(tensor: TensorRef, parts: int) -> TensorRef:
    """The same bytes as integers; a complex element is two of them, so that bytes are swapped within each."""
    dtype = _CARRIERS[tensor.dtype.itemsize // parts]
    plain = replace(tensor, dtype=dtype, conj=False, neg=False)
    if parts == 1:
        return plain
    stride = (*(2 * step for step in tensor.stride), 1)
    return replace(plain, shape=(*tensor.shape, 2), stride=stride, offset=2 * tensor.offset)
