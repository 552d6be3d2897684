"""numpy's scalars, dtypes and arrays, decoded from their pickled form without numpy.

A dtype is an Opaque("numpy.dtype", ("f8", False, True)) whose state holds the byte order; an array's state is
(version, shape, dtype, column-major, raw bytes). Format: numpy/core/src/multiarray (arraydescr_reduce, array_reduce).
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from optinspect.containers.geometry import contiguous, integers
from optinspect.containers.pickle_machine import Builder, Machine, NotPlain
from optinspect.opaque import Opaque
from optinspect.tensors import DTYPES, ByteOrder, MemoryBytes, Storage, TensorRef

_DTYPE = "numpy.dtype"
_ARRAY = "numpy.ndarray"
_CODES = {
    "b1": ("bool", "?"), "i1": ("int8", "b"), "u1": ("uint8", "B"), "i2": ("int16", "h"), "u2": ("uint16", "H"),
    "i4": ("int32", "i"), "u4": ("uint32", "I"), "i8": ("int64", "q"), "u8": ("uint64", "Q"), "f2": ("float16", "e"),
    "f4": ("float32", "f"), "f8": ("float64", "d"), "c8": ("complex64", "ff"), "c16": ("complex128", "dd"),
}  # fmt: skip
_MAX_NUMEL = 1 << 40


class _Layout(NamedTuple):
    """A dtype's code without byte order ("f8", "U5", "M8") and the order."""

    code: str
    byteorder: ByteOrder


def _layout(value: Any) -> _Layout:
    if not isinstance(value, Opaque) or value.name != _DTYPE or not value.args or type(value.args[0]) is not str:
        raise NotPlain
    state = value.state if type(value.state) is tuple else ()
    order = state[1] if len(state) > 1 else "<"
    if len(state) > 3 and (state[2] is not None or state[3] is not None):
        raise NotPlain  # a subarray or a record
    code = value.args[0]
    if code[:1] in "<>|=":
        order, code = code[:1], code[1:]
    return _Layout(code, "big" if order == ">" else "little")


def dtype(m: Machine, arguments: tuple[Any, ...]) -> Opaque:
    """numpy.dtype(code, align, copy): a description, read when it is used."""
    m.charge(400)
    return Opaque(_DTYPE, arguments)


def scalar(m: Machine, arguments: tuple[Any, ...]) -> Any:
    """numpy.core.multiarray.scalar(dtype, bytes) → int, float, bool, complex or str."""
    if len(arguments) != 2:
        raise NotPlain
    code, byteorder = _layout(arguments[0])
    raw = arguments[1]
    if type(raw) is not bytes:
        raise NotPlain
    m.charge(64 + 4 * len(raw))
    if code[:1] == "S":
        return raw.rstrip(b"\0")
    if code[:1] == "U":
        return _text(raw, byteorder)
    if code not in _CODES or len(raw) != DTYPES[_CODES[code][0]].itemsize:
        raise NotPlain
    values = struct.unpack((">" if byteorder == "big" else "<") + _CODES[code][1], raw)
    return values[0] if len(values) == 1 else complex(*values)


def _text(raw: bytes, byteorder: ByteOrder) -> str:
    decode = codecs.utf_32_be_decode if byteorder == "big" else codecs.utf_32_le_decode
    try:
        return decode(raw, "strict", True)[0].rstrip("\0")
    except UnicodeDecodeError:
        raise NotPlain from None


def empty_array(m: Machine, arguments: tuple[Any, ...]) -> Opaque:
    """_reconstruct(numpy.ndarray, (0,), b"b"): an array whose contents BUILD brings."""
    if not arguments or not isinstance(arguments[0], Opaque) or arguments[0].name != _ARRAY:
        raise NotPlain
    m.charge(400)
    return Opaque(_ARRAY, ())


def finish_array(m: Machine, target: Opaque) -> TensorRef | None:
    """The tensor of an array that has its state now; None when it stays opaque (objects, records, text)."""
    if target.name != _ARRAY:
        return None
    state = target.state
    if type(state) is tuple and len(state) == 5:
        _, shape, kind, column_major, raw = state
        try:
            return _array(m, shape, kind, column_major is True, raw)
        except NotPlain:
            pass
    m.inert[_ARRAY] = m.inert.get(_ARRAY, 0) + 1
    return None


def buffer_array(m: Machine, arguments: tuple[Any, ...]) -> TensorRef:
    """_frombuffer(bytes, dtype, shape, order): protocol 5."""
    if len(arguments) != 4:
        raise NotPlain
    raw, kind, shape, order = arguments
    return _array(m, shape, kind, order == "F", bytes(raw) if type(raw) is bytearray else raw)


def _array(m: Machine, shape: Any, kind: Any, column_major: bool, raw: Any) -> TensorRef:
    code, byteorder = _layout(kind)
    if code not in _CODES or type(raw) is not bytes or not integers(shape) or any(size < 0 for size in shape):
        raise NotPlain
    element = DTYPES[_CODES[code][0]]
    numel = 1
    for size in shape:
        numel *= size
        if numel > _MAX_NUMEL:
            raise NotPlain
    if numel * element.itemsize != len(raw):
        raise NotPlain
    m.charge(600)
    storage = Storage("inside the pickle", element, len(raw), "cpu", MemoryBytes(raw), byteorder)
    shape = tuple(shape)
    stride = tuple(reversed(contiguous(shape[::-1]))) if column_major else contiguous(shape)
    return TensorRef(element, shape, stride, 0, storage)


NUMPY: Mapping[str, Builder] = {
    _DTYPE: dtype,
    **{
        f"numpy.{core}.{name}": builder
        for core in ("core", "_core")
        for name, builder in (
            ("multiarray.scalar", scalar),
            ("multiarray._reconstruct", empty_array),
            ("numeric._frombuffer", buffer_array),
        )
    },
}
