"""Tensors made of tensors, in memory: sparse, quantized, nested, and subclasses that wrap others (torchao, DTensor).

They are described by their parts, under the names that a saved file gives them; the whole is never put together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from optinspect.tensors import DTYPES, AnyTensor, CompositeRef, TensorRef

if TYPE_CHECKING:
    import torch

SHARD = "_local_tensor"
"""The part of a DTensor that is on this rank."""

Describe = Callable[["torch.Tensor"], AnyTensor]

Parts = Callable[["torch.Tensor"], Mapping[str, "torch.Tensor"]]

SPARSE: Mapping[str, Parts] = {
    "torch.sparse_coo": lambda t: {"indices": t._indices(), "values": t._values()},  # coalesced or not
    "torch.sparse_csr": lambda t: {"crow_indices": t.crow_indices(), "col_indices": t.col_indices(), **_values(t)},
    "torch.sparse_csc": lambda t: {"ccol_indices": t.ccol_indices(), "row_indices": t.row_indices(), **_values(t)},
    "torch.sparse_bsr": lambda t: {"crow_indices": t.crow_indices(), "col_indices": t.col_indices(), **_values(t)},
    "torch.sparse_bsc": lambda t: {"ccol_indices": t.ccol_indices(), "row_indices": t.row_indices(), **_values(t)},
}
"""Layout → its parts, as they are kept."""


def composite(tensor: torch.Tensor, describe: Describe) -> CompositeRef | None:
    """The parts of `tensor` through `describe`; None for a tensor that has its own elements."""
    layout = str(tensor.layout)
    if layout in SPARSE:
        attributes = {"is_coalesced": tensor.is_coalesced()} if layout == "torch.sparse_coo" else {}
        return _made(layout.removeprefix("torch."), tensor, SPARSE[layout](tensor.detach()), attributes, describe)
    if tensor.is_quantized:  # its integers are the one thing that is copied
        return _made("quantized", tensor, {"codes": tensor.int_repr()}, {"scheme": str(tensor.qscheme())}, describe)
    if tensor.is_nested and layout == "torch.strided":
        sizes = {"sizes": tensor._nested_tensor_size(), "strides": tensor._nested_tensor_strides()}
        return _made("nested", tensor, {"buffer": tensor.detach().values(), **sizes}, {}, describe)
    return _wrapper(tensor, describe) if _is_wrapper(tensor) else None


def _values(tensor: torch.Tensor) -> Mapping[str, torch.Tensor]:
    return {"values": tensor.values()}


def _is_wrapper(tensor: torch.Tensor) -> bool:
    """A subclass with operations of its own: its elements are, as a rule, in other tensors."""
    import torch  # noqa: PLC0415

    return type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__


def _wrapper(tensor: torch.Tensor, describe: Describe) -> CompositeRef | None:
    """The tensors among its attributes; None where it has none (a fake tensor)."""
    import torch  # noqa: PLC0415

    held = {**_slots(tensor), **vars(tensor)}
    parts = {name: value for name, value in held.items() if isinstance(value, torch.Tensor)}
    rest = {name: value for name, value in held.items() if isinstance(value, str | bool | int | float)}
    kind = f"{type(tensor).__module__}.{type(tensor).__qualname__}"
    return _made(kind, tensor, parts, rest, describe) if parts else None


def _slots(tensor: torch.Tensor) -> Mapping[str, Any]:
    """Attributes that its classes keep in slots (DTensor); one that was never set is left out."""
    names = [name for kind in type(tensor).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    return {name: value for name in names if (value := getattr(tensor, name, None)) is not None}


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _made(
    kind: str,
    tensor: torch.Tensor,
    parts: Mapping[str, torch.Tensor],
    attributes: Mapping[str, Any],
    describe: Describe,
) -> CompositeRef:
    """Parts that are made of tensors themselves come as `part.its_part`, as in a file."""
    found: dict[str, TensorRef] = {}
    for name, part in parts.items():
        described = describe(part)
        if isinstance(described, TensorRef):
            found[name] = described
        else:
            found.update((f"{name}.{inner}", ref) for inner, ref in described.parts.items())
    shape = () if tensor.is_nested else tuple(tensor.shape)
    return CompositeRef(kind, shape, DTYPES.get(str(tensor.dtype).removeprefix("torch.")), found, attributes)
