"""Tensors in memory as descriptions: a TensorRef whose bytes are the tensor's own, read where they lie.

    memory = Memory()
    memory.ref(tensor)      views of one storage share a Storage, so tied tensors are known as in a file
    memory.tree(value)      dicts and lists with their tensors as refs, anything that is no plain data as an Opaque

Tensors on the CPU are not copied; those of other devices are copied block by block, as they are read. What has no
values (meta) or no memory to read (freed, functional) says so in its `problem`. Nothing is changed, nothing computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from optinspect.live.composites import composite
from optinspect.opaque import Device, Opaque
from optinspect.tensors import DTYPES, AnyTensor, Bytes, DType, MemoryBytes, Storage, TensorRef

if TYPE_CHECKING:
    import torch

META = "a meta tensor: it has a shape but no values"
LAZY = "not initialised yet: a lazy parameter has no shape before the first forward pass"
FREED = "its memory was freed (resharded or moved)"
CLOSED = "its memory cannot be read"

PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None))
MAX_DEPTH = 40
"""Levels of containers, as the reader of files bounds them; objects inside objects are opened OBJECTS deep."""
OBJECTS = 4


class DeviceBytes:
    """The bytes of a storage that is not the CPU's: every read copies its own range and no more."""

    __slots__ = ("_raw",)

    def __init__(self, raw: torch.Tensor) -> None:
        self._raw = raw  # uint8, 1-d, over the whole storage

    @property
    def size(self) -> int:
        return self._raw.numel()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._raw[offset : offset + len(buffer)].cpu().numpy().data


class Memory:
    """Describes live tensors; keeps them alive as long as it lives itself."""

    def __init__(self) -> None:
        self._refs: dict[int, tuple[Any, AnyTensor]] = {}
        self._storages: dict[tuple[str, int, int], Storage] = {}

    def ref(self, tensor: torch.Tensor) -> AnyTensor:
        """The same ref for the same object. Never raises: what cannot be read has a problem."""
        known = self._refs.get(id(tensor))
        if known is None:
            known = self._refs[id(tensor)] = (tensor, self._described(tensor))
        return known[1]

    def _described(self, tensor: torch.Tensor) -> AnyTensor:
        if is_lazy(tensor):
            return _valueless(tensor, (0,), LAZY)
        try:
            made = composite(tensor, self.ref)
            return self._strided(tensor) if made is None else made
        except (RuntimeError, NotImplementedError, AttributeError, TypeError):
            # subclasses and functional wrappers refuse what they have not: a storage, strides, a pointer
            return _valueless(tensor, tuple(tensor.shape), f"{CLOSED} ({type(tensor).__name__})")

    def _strided(self, tensor: torch.Tensor) -> TensorRef:
        shape, storage = tuple(tensor.shape), tensor.untyped_storage()
        if "meta" in (tensor.device.type, storage.device.type):  # a fake tensor says another device
            return _valueless(tensor, shape, META)
        if tensor.numel() and not (storage.nbytes() and storage.data_ptr()):
            return _valueless(tensor, shape, FREED)
        return TensorRef(
            dtype_of(tensor),
            shape,
            tuple(tensor.stride()),
            int(tensor.storage_offset()),
            self._storage(tensor, storage),
            requires_grad=tensor.requires_grad,
            is_parameter=is_parameter(tensor),
            conj=tensor.is_conj(),
            neg=tensor.is_neg(),
        )

    def _storage(self, tensor: torch.Tensor, storage: torch.UntypedStorage) -> Storage:
        key = (str(tensor.device), storage.data_ptr(), storage.nbytes())
        known = self._storages.get(key) if key[1] else None
        if known is None:
            known = self._storages[key] = Storage("memory", dtype_of(tensor), key[2], key[0], _bytes_of(storage))
        return known

    def tree(self, value: Any) -> Any:
        """`value` as a container of files would give it: dict, list, tuple, set, plain values, refs, Opaques."""
        return self._tree(value, MAX_DEPTH, OBJECTS)

    def _tree(self, value: Any, depth: int, objects: int) -> Any:
        import torch  # noqa: PLC0415

        if isinstance(value, torch.Tensor):
            return self.ref(value)
        if type(value) in PLAIN or depth == 0:
            return value if type(value) in PLAIN else Opaque(name_of(type(value)))
        if isinstance(value, Mapping):
            return {_key(key): self._tree(item, depth - 1, objects) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | deque):
            items = [self._tree(item, depth - 1, objects) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        return self._other(value, depth, objects)

    def _other(self, value: Any, depth: int, objects: int) -> Any:
        """numpy's scalars and arrays, devices and dtypes; objects with what they hold, classes by name."""
        import numpy as np  # noqa: PLC0415
        import torch  # noqa: PLC0415

        if isinstance(value, Enum):
            return Opaque(name_of(type(value)), (value.value,))
        if isinstance(value, np.generic | str):  # numpy's scalars; texts of a class of their own (TorchVersion)
            return self._tree(value.item() if isinstance(value, np.generic) else str(value), 0, 0)
        if isinstance(value, np.ndarray) and value.dtype.name in DTYPES:
            return _of_array(value)
        if isinstance(value, torch.device):
            return Device(value.type, value.index)
        if isinstance(value, torch.dtype | torch.layout):
            return Opaque(str(value))
        if isinstance(value, type) or callable(value) or objects == 0:
            return Opaque(name_of(value if hasattr(value, "__qualname__") else type(value)))
        made = Opaque(name_of(type(value)), ())
        made.state = self._tree(getattr(value, "__dict__", {}), depth - 1, objects - 1)
        return made


def is_parameter(tensor: Any) -> bool:
    import torch  # noqa: PLC0415

    return isinstance(tensor, torch.nn.Parameter)


def is_lazy(tensor: torch.Tensor) -> bool:
    """A parameter or buffer of a lazy module that has not run yet: even its shape raises."""
    from torch.nn.parameter import UninitializedBuffer, UninitializedParameter  # noqa: PLC0415

    return isinstance(tensor, UninitializedParameter | UninitializedBuffer)


def dtype_of(tensor: torch.Tensor) -> DType:
    name = str(tensor.dtype).removeprefix("torch.")
    return DTYPES.get(name) or DType(name, tensor.dtype.itemsize, "bits")


def name_of(value: Any) -> str:
    """A class or function as a pickle would name it."""
    return f"{value.__module__}.{value.__qualname__}"


def _bytes_of(storage: torch.UntypedStorage) -> Bytes:
    import torch  # noqa: PLC0415

    raw = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    return MemoryBytes(raw.numpy().data) if storage.device.type == "cpu" else DeviceBytes(raw)


def _valueless(tensor: torch.Tensor, shape: tuple[int, ...], problem: str) -> TensorRef:
    """A tensor whose values cannot be had: shape and dtype, and why."""
    dtype, device = dtype_of(tensor), str(tensor.device)
    storage = Storage("memory", dtype, 0, device, None, problem=problem)
    strides = tuple(tensor.stride()) if problem == META else (0,) * len(shape)
    return TensorRef(dtype, shape, strides, 0, storage, tensor.requires_grad, is_parameter(tensor), problem)


def _of_array(array: Any) -> TensorRef:
    import numpy as np  # noqa: PLC0415

    held = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    dtype = DTYPES[array.dtype.name]
    storage = Storage("memory", dtype, held.nbytes, "cpu", MemoryBytes(held.view(np.uint8).data if held.size else b""))
    shape = tuple(array.shape)
    stride = np.empty(shape, np.uint8).strides if held.size else shape  # row-major, counted in elements
    return TensorRef(dtype, shape, stride, 0, storage)


def _key(key: Any) -> Any:
    """Keys that a file could have too stay; any other is told by its class."""
    return key if isinstance(key, PLAIN) else f"<{type(key).__name__}>"
