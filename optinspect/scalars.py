"""The one number of a tensor of one element, without numpy: step counters, and settings that may be tensors."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from optinspect.errors import UnreadableTensor
from optinspect.tensors import TensorRef, bytes_of

_SCALARS: Mapping[str, tuple[struct.Struct, struct.Struct]] = {
    name: (struct.Struct("<" + code), struct.Struct(">" + code))
    for name, code in (
        ("float32", "f"),
        ("float64", "d"),
        ("float16", "e"),
        ("int64", "q"),
        ("int32", "i"),
        ("int16", "h"),
        ("uint8", "B"),
        ("int8", "b"),
        ("bool", "?"),
    )
}


def item(tensor: TensorRef) -> int | float | bool | complex:
    """The value of a tensor of one element. Cheap: a file has one step counter for every parameter."""
    if tensor.numel != 1 or tensor.dtype.name == "float4_e2m1fn_x2":
        raise UnreadableTensor(
            f"{tensor.storage.key}: shape {list(tensor.shape)} of {tensor.dtype.name} (expected one element)"
        )
    codes = _SCALARS.get(tensor.dtype.name)
    if codes is None or tensor.conj or tensor.neg:
        from optinspect.blocks import read_range  # noqa: PLC0415  numpy only where struct has no code for the dtype

        value: int | float | bool | complex = read_range(tensor, 0, 1)[0].item()
        return value
    code = codes[tensor.storage.byteorder == "big"]
    raw = bytearray(code.size)
    bytes_of(tensor).read_into(tensor.offset * code.size, memoryview(raw))
    number: int | float | bool = code.unpack(raw)[0]
    return number
