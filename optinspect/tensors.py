"""Tensors as descriptions: a dtype, a shape, and where the bytes lie. Reading the values is `blocks.py`.

    TensorRef ──▶ Storage ──▶ Bytes        a tensor is a view of a storage, a storage is a byte range

Nothing here reads a file or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, Protocol

from optinspect.errors import UnreadableTensor

Kind = Literal["float", "complex", "int", "bool", "quantized", "bits"]
ByteOrder = Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class DType:
    """An element type by torch's name ("bfloat16"), its size in bytes and what kind of number it is."""

    name: str
    itemsize: int
    kind: Kind

    @property
    def is_floating(self) -> bool:
        return self.kind in ("float", "complex")


def _table(*rows: tuple[Kind, int, str]) -> Mapping[str, DType]:
    return {name: DType(name, size, kind) for kind, size, names in rows for name in names.split()}


DTYPES: Mapping[str, DType] = _table(
    ("float", 8, "float64"),
    ("float", 4, "float32"),
    ("float", 2, "float16 bfloat16"),
    ("float", 1, "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2"),
    ("complex", 4, "complex32"),
    ("complex", 8, "complex64"),
    ("complex", 16, "complex128"),
    ("int", 8, "int64 uint64"),
    ("int", 4, "int32 uint32"),
    ("int", 2, "int16 uint16"),
    ("int", 1, "int8 uint8 int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7"),
    ("bool", 1, "bool"),
    ("quantized", 1, "qint8 quint8 quint4x2 quint2x4"),
    ("quantized", 4, "qint32"),
    ("bits", 1, "bits8 bits1x8 bits2x4 bits4x2"),
    ("bits", 2, "bits16"),
)
"""All dtypes of torch 2.13 that a file can name."""


class Bytes(Protocol):
    """A byte range that can be read at any offset, from several threads at once."""

    @property
    def size(self) -> int: ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` whole from `offset`. Raises UnreadableFile or TruncatedCheckpoint when it cannot."""
        ...


class MemoryBytes:
    """Bytes that are already in memory."""

    __slots__ = ("_view",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")

    @property
    def size(self) -> int:
        return len(self._view)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._view[offset : offset + len(buffer)]


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A run of elements that one or several tensors view; identity is what ties weights."""

    key: str
    """As the file calls it: a record ("data/12"), a legacy key, a safetensors name."""
    dtype: DType
    nbytes: int
    """Declared size in bytes."""
    device: str
    """As saved ("cuda:0"); text only."""
    data: Bytes | None
    """None: nothing in the file (meta device, record missing, cut off)."""
    byteorder: ByteOrder = "little"
    problem: str | None = None
    """Why the bytes cannot be trusted or read; None when whole."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A strided view of a storage. `offset` and `stride` count elements of `dtype`."""

    dtype: DType
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: Storage
    requires_grad: bool = False
    is_parameter: bool = False
    """Saved as torch.nn.Parameter (a whole module, or a dict of parameters)."""
    problem: str | None = None
    """Why its values cannot be read (geometry, missing bytes); None when they can."""
    conj: bool = False
    """Saved with the lazy conjugate bit: the bytes hold the conjugate of the values."""
    neg: bool = False

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its own elements, whatever the storage holds."""
        return self.numel * self.dtype.itemsize

    @property
    def device(self) -> str:
        return self.storage.device

    @property
    def is_contiguous(self) -> bool:
        """Row-major without gaps; dimensions of size 1 may have any stride."""
        expected = 1
        for size, step in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if size != 1 and step != expected:
                return self.numel == 0
            expected *= size
        return True

    @property
    def is_expanded(self) -> bool:
        """More elements than the storage has: some stride is 0. Listed, never iterated."""
        return self.numel * self.dtype.itemsize > self.storage.nbytes

    def same_bytes(self, other: TensorRef) -> bool:
        """The same elements of the same storage: tied weights, aliased moments."""
        return self.storage is other.storage and (self.dtype, self.shape, self.stride, self.offset) == (
            other.dtype,
            other.shape,
            other.stride,
            other.offset,
        )


@dataclass(frozen=True, slots=True, eq=False)
class CompositeRef:
    """A tensor made of tensors: sparse, quantized, a tensor subclass (torchao), a DTensor.

    `parts` are listed and measured; the whole is never assembled.
    """

    kind: str
    """"sparse_coo", "sparse_csr", "quantized", or the subclass' name in the file."""
    shape: tuple[int, ...]
    dtype: DType | None
    parts: Mapping[str, TensorRef]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Plain data that belongs to it: scale, zero point, block size, device mesh."""

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())

    @property
    def device(self) -> str:
        return next((part.device for part in self.parts.values()), "cpu")


AnyTensor = TensorRef | CompositeRef


def is_tensor(value: object) -> bool:
    return isinstance(value, TensorRef | CompositeRef)


def obstacle(tensor: TensorRef) -> str | None:
    """Why the values of `tensor` are not to be read; None when they are."""
    if tensor.problem or tensor.storage.problem:
        return tensor.problem or tensor.storage.problem
    if tensor.storage.data is None:
        return "its bytes are not in the file"
    if tensor.is_expanded:
        held = tensor.storage.nbytes // tensor.dtype.itemsize
        return f"repeats {held:,} stored elements to {tensor.numel:,} (expanded view)"
    return None


def bytes_of(tensor: TensorRef) -> Bytes:
    """What its storage is read through. Raises UnreadableTensor where there is an obstacle."""
    reason = obstacle(tensor)
    if reason is not None or tensor.storage.data is None:
        raise UnreadableTensor(f"{tensor.storage.key}: {reason} (expected readable values)")
    return tensor.storage.data
