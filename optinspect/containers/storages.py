"""Storages as torch's pickles name them: a persistent id ('storage', class, key, location, number of elements)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from optinspect.containers.pickle_machine import Machine
from optinspect.containers.wording import printable
from optinspect.opaque import Opaque
from optinspect.tensors import DTYPES, DType, Storage

_CLASSES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexDouble": "complex128",
    "ComplexFloat": "complex64", "QUInt8": "quint8", "QInt8": "qint8", "QInt32": "qint32", "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4", "Untyped": "uint8",
}  # fmt: skip
_BY_NAME = {
    f"{module}.{name}Storage": DTYPES[dtype]
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, dtype in _CLASSES.items()
}
_MAX_NBYTES = 1 << 62


class StorageId(NamedTuple):
    """What the pickle declares of a storage."""

    key: str
    dtype: DType
    numel: int
    device: str

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


Locate = Callable[[Machine, StorageId], Storage]
"""Gives a declared storage its bytes; says what is wrong with them by `machine.broken`."""


class StorageTable:
    """One Storage per key, made by `locate` when the pickle first names it."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self.declared: dict[str, StorageId] = {}
        self.made: dict[str, Storage] = {}

    def __call__(self, m: Machine, identity: Any) -> Any:
        if type(identity) is tuple and len(identity) == 4 and identity[0] == "module":
            return identity[1]  # ('module', class, file, source): the source code is ignored
        declared = storage_id(m, identity)
        known = self.declared.get(declared.key)
        if known is not None:
            if (known.dtype, known.numel) != (declared.dtype, declared.numel):
                raise m.malformed(f"storage {printable(declared.key, 20)} is declared twice, with different sizes")
            return self.made[declared.key]
        m.spent += 600
        self.declared[declared.key] = declared
        made = self.made[declared.key] = self._locate(m, declared)
        return made


def storage_id(m: Machine, identity: Any) -> StorageId:
    """Check a persistent id. Raises MalformedCheckpoint."""
    if type(identity) is not tuple or not 5 <= len(identity) <= 6 or identity[0] != "storage":
        raise m.malformed("a persistent id that names no storage")
    _, kind, key, location, numel = identity[:5]
    if len(identity) == 6 and identity[5] is not None:
        raise m.malformed("a storage that is a view of another (torch before 0.4): save it again with a newer torch")
    dtype = _BY_NAME.get(kind.name) if isinstance(kind, Opaque) else None
    if dtype is None:
        found = kind.name if isinstance(kind, Opaque) else type(kind).__name__
        raise m.malformed(f"a storage of class {printable(found)} (one of torch's expected)")
    if type(key) is not str or type(location) is not str:
        raise m.malformed("a storage whose key or location is no text")
    if type(numel) is not int or not 0 <= numel * dtype.itemsize < _MAX_NBYTES:
        raise m.malformed(f"storage {printable(key, 20)} declares an impossible number of elements")
    return StorageId(key, dtype, numel, location)
