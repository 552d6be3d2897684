"""From the bytes of a storage to numpy values, exactly: every dtype of torch 2.13 that is a number.

numpy's own dtypes are viewed without a copy; what numpy lacks is widened to the smallest numpy dtype that holds every
value: bfloat16 and the float8 and float4 formats to float32, complex32 to complex64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from optinspect.errors import UnreadableTensor
from optinspect.tensors import ByteOrder, DType

Array = npt.NDArray[Any]

_NATIVE: Mapping[str, str] = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "complex128": "c16",
    "complex64": "c8",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "?",
    # quantized values as their integers (torch's int_repr); scale and zero point belong to the whole
    "qint8": "i1",
    "quint8": "u1",
    "qint32": "i4",
}
"""torch name → numpy type code without byte order."""


def decode(raw: Array, dtype: DType, byteorder: ByteOrder = "little") -> Array:
    """Values of `raw` (uint8, 1-d, a multiple of `dtype.itemsize`): 1-d, native byte order.

    A view of `raw` where numpy has the dtype and the bytes are in native order, else a new array. float4_e2m1fn_x2
    gives two values a byte, the low half first. Raises UnreadableTensor for dtypes that are no numbers (bits, int4).
    """
    order: Literal["<", ">"] = "<" if byteorder == "little" else ">"
    code = _NATIVE.get(dtype.name)
    if code is not None:
        values: Array = raw.view(np.dtype(code).newbyteorder(order))
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        return values
    widen = _WIDENED.get(dtype.name)
    if widen is None:
        raise UnreadableTensor(f"{dtype.name}: values cannot be read (expected numbers of one byte or more)")
    return widen(raw, order)


def _bfloat16(raw: Array, order: str) -> Array:
    """A bfloat16 is the upper half of a float32."""
    upper: Array = np.left_shift(raw.view(order + "u2"), np.uint32(16), dtype=np.uint32)
    return upper.view(np.float32)


def _complex32(raw: Array, order: str) -> Array:
    """Pairs of float16."""
    values: Array = raw.view(order + "f2").astype(np.float32).view(np.complex64)
    return values


def _by_table(exponent_bits: int, bias: int, rule: str) -> Callable[[Array, str], Array]:
    return lambda raw, _order: np.take(_float8_table(exponent_bits, bias, rule), raw)


@cache
def _float8_table(exponent_bits: int, bias: int, rule: str) -> npt.NDArray[np.float32]:
    """The 256 values of a float8 format: (−1)^s · 2^(e−bias) · 1.m, and 2^(1−bias) · 0.m for e = 0.

    rule  which codes are no numbers: "ieee": the highest exponent is Inf and NaN; "fn": only all ones is NaN, no Inf;
          "fnuz": only minus zero is NaN, no Inf.
    Source: Micikevicius et al. 2022, arXiv:2209.05433 (e4m3fn, e5m2); Noune et al. 2022, arXiv:2206.02915 (fnuz).
    """
    codes = np.arange(256)
    mantissa_bits = 7 - exponent_bits
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    magnitude = np.where(exponent == 0, np.ldexp(fraction, 1 - bias), np.ldexp(1 + fraction, exponent - bias))
    if rule == "ieee":
        magnitude[exponent == (1 << exponent_bits) - 1] = np.nan
        magnitude[(codes & 127) == ((1 << exponent_bits) - 1) << mantissa_bits] = np.inf
    elif rule == "fn":
        magnitude[(codes & 127) == 127] = np.nan
    else:
        magnitude[codes == 128] = np.nan
    return np.where(codes < 128, magnitude, -magnitude).astype(np.float32)


def _float8_e8m0fnu(raw: Array, _order: str) -> Array:
    """A bare exponent: 2^(e−127), 255 is NaN (OCP Microscaling Formats 1.0). 2^-127 is a subnormal float32."""
    return np.where(raw == 255, np.nan, np.ldexp(np.float64(1), raw.astype(np.int32) - 127)).astype(np.float32)


def _float4_e2m1fn_x2(raw: Array, _order: str) -> Array:
    """Two values a byte, the low half first; magnitudes 0, ½, 1, 1½, 2, 3, 4, 6 (OCP Microscaling Formats 1.0)."""
    magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    table = np.concatenate([magnitudes, -magnitudes])
    return np.take(table, np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1))


_WIDENED: Mapping[str, Callable[[Array, str], Array]] = {
    "bfloat16": _bfloat16,
    "complex32": _complex32,
    "float8_e4m3fn": _by_table(4, 7, "fn"),
    "float8_e5m2": _by_table(5, 15, "ieee"),
    "float8_e4m3fnuz": _by_table(4, 8, "fnuz"),
    "float8_e5m2fnuz": _by_table(5, 16, "fnuz"),
    "float8_e8m0fnu": _float8_e8m0fnu,
    "float4_e2m1fn_x2": _float4_e2m1fn_x2,
}
