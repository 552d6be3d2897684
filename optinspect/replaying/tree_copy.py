"""A tree of plain data and TensorRefs as torch.save can write it: tensors over copied storages, nothing of classes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from numbers import Integral, Number, Real
from typing import TYPE_CHECKING, Any

from optinspect.errors import UnreadableTensor
from optinspect.opaque import Device, Opaque
from optinspect.tensors import Storage, TensorRef, obstacle
from optinspect.torch_bridge import read_torch, torch_dtype

if TYPE_CHECKING:
    import torch

MAX_DEPTH = 100


@dataclass
class TreeCopy:
    """Plain data and tensors of a tree, copied; `made` finds the copy of a container or tensor by identity."""

    made: dict[int, Any] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    _storages: dict[Storage, torch.Tensor] = field(default_factory=dict)

    def of(self, value: Any, depth: int) -> Any:
        if id(value) in self.made:
            return self.made[id(value)]
        if isinstance(value, TensorRef):
            return self._kept(value, self._tensor(value))
        if depth > MAX_DEPTH:
            return None
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list):
            items: list[Any] = self._kept(value, [])
            items.extend(self.of(item, depth + 1) for item in value)
            return items
        if isinstance(value, tuple):
            return tuple(self.of(item, depth + 1) for item in value)
        return self._leaf(value)

    def _kept(self, value: Any, made: Any) -> Any:
        self.made[id(value)] = made
        return made

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        made: dict[Any, Any] = self._kept(value, OrderedDict() if isinstance(value, OrderedDict) else {})
        for key, item in value.items():
            if not isinstance(item, Opaque):
                made[self.of(key, depth + 1)] = self.of(item, depth + 1)
            else:
                self.left_out.add(item.name)
        return made

    def _leaf(self, value: Any) -> Any:
        import torch  # noqa: PLC0415

        if value is None or isinstance(value, str | bytes | bool):
            return value
        if isinstance(value, Number):
            return int(value) if isinstance(value, Integral) else _real(value)
        if isinstance(value, Device):
            return torch.device("cpu")
        if isinstance(value, set | frozenset):
            return sorted(value, key=repr)
        self.left_out.add(value.name if isinstance(value, Opaque) else type(value).__name__)
        return None

    def _tensor(self, tensor: TensorRef) -> Any:
        """A view of the copied storage: what was tied stays tied."""
        import torch  # noqa: PLC0415

        reason = None if tensor.is_expanded else obstacle(tensor)
        if reason is not None:
            raise UnreadableTensor(f"{tensor.storage.key}: {reason} (expected readable values)")
        whole = self._storages.get(tensor.storage)
        if whole is None:
            whole = self._storages[tensor.storage] = _storage(tensor)
        view = torch.empty(0, dtype=torch_dtype(tensor.dtype))
        view.set_(whole.untyped_storage(), tensor.offset, tensor.shape, tensor.stride)
        view = view.conj().resolve_conj() if tensor.conj else view
        return torch.nn.Parameter(view, tensor.requires_grad) if tensor.is_parameter and _trainable(view) else view


def _trainable(view: torch.Tensor) -> bool:
    return view.is_floating_point() or view.is_complex()


def _storage(tensor: TensorRef) -> torch.Tensor:
    """All of the storage behind a tensor, as elements of its dtype."""
    elements = tensor.storage.nbytes // tensor.dtype.itemsize
    whole = replace(tensor, shape=(elements,), stride=(1,), offset=0, conj=False, neg=False)
    return read_torch(whole, 0, elements)


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, Real) else complex(value)
