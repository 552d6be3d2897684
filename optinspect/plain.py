"""Any value of a checkpoint as plain data that every format can write: None, bool, int, float, str, list, dict.

A pickle can hold cycles, and lists that contain each other twice at every level: the number of nodes and the depth
that one value may take are bounded, and what lies beyond is the text "…".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from enum import Enum
from numbers import Complex, Integral, Real
from pathlib import PurePath
from typing import Any

from optinspect.opaque import Opaque
from optinspect.tensors import CompositeRef, TensorRef

MAX_NODES = 10_000
MAX_DEPTH = 12
MAX_BYTES = 64
BEYOND = "…"


def plain(value: Any, *, nodes: int = MAX_NODES) -> Any:
    """`value` without tensors, classes or cycles; at most `nodes` values in it."""
    return _Plain(nodes).convert(value, MAX_DEPTH)


class _Plain:
    def __init__(self, nodes: int) -> None:
        self.nodes = nodes

    def convert(self, value: Any, depth: int) -> Any:
        self.nodes -= 1
        if self.nodes < 0:
            return BEYOND
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, Enum):
            return self.convert(value.value, depth - 1)
        if isinstance(value, Complex):
            return _number(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._nested(value, depth - 1)
        return _described(value)

    def _nested(self, value: Mapping[Any, Any] | Iterable[Any], depth: int) -> Any:
        if depth <= 0:
            return BEYOND
        if isinstance(value, Mapping):
            result: dict[str, Any] = {}
            for key, item in value.items():
                if self.nodes <= 0:
                    return result | {BEYOND: len(value) - len(result)}
                result[key if isinstance(key, str) else _key(key)] = self.convert(item, depth)
            return result
        items: list[Any] = []
        for item in value:
            items.append(self.convert(item, depth))
            if self.nodes <= 0:
                break
        return items


def _number(value: Complex) -> Any:
    """numpy's scalars count as numbers too; a complex number becomes [real, imaginary]."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    number = complex(value)
    return [number.real, number.imag]


def _key(key: Any) -> str:
    return str(plain(key, nodes=20))


def _described(value: object) -> Any:
    """What has no plain form: said in words, tensors by dtype and shape, classes by name."""
    if isinstance(value, TensorRef | CompositeRef):
        return {"tensor": value.dtype.name if value.dtype else None, "shape": list(value.shape)}
    if isinstance(value, Opaque):
        return {"opaque": value.name}
    if isinstance(value, bytes | bytearray):
        return value[:MAX_BYTES].hex() + (BEYOND if len(value) > MAX_BYTES else "")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta | PurePath):
        return str(value)
    return f"<{type(value).__name__}>"
