"""Any other value, by path: schedulers, scalers, counters, random states, configurations; old and new.

Two trees are walked in step, by an explicit stack (a file may nest deeply) and each two containers once (a file may
hold cycles). Long lists of numbers that differ in many places are one row.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from math import isinf, isnan
from typing import Any, Final, Literal

from optinspect.layouts.base import join
from optinspect.opaque import Opaque
from optinspect.plain import plain
from optinspect.routes import steps
from optinspect.tensors import CompositeRef, TensorRef

NODES = 2_000
"""Values that one cell of a row repeats."""
LONG = 16
"""Items of a list beyond which it is one row, where more than a few of them differ."""
FEW = 4


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""No value at all, which None is not."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|a − b| ≤ atol + rtol·max(|a|, |b|): the same whichever comes first. Both 0: exactly."""

    rtol: float = 0.0
    atol: float = 0.0

    @property
    def exact(self) -> bool:
        return self.rtol == 0 and self.atol == 0

    def allows(self, a: float, b: float) -> bool:
        if a == b or (isnan(a) and isnan(b)):
            return True
        if self.exact or isnan(a) or isnan(b) or isinf(a) or isinf(b):
            return False
        return abs(a - b) <= self.atol + self.rtol * max(abs(a), abs(b))


EXACT = Tolerance()


@dataclass(frozen=True, slots=True)
class Value:
    """A plain value that differs; a or b is None where there is none (`happened` tells)."""

    route: str
    a: Any
    b: Any
    happened: Literal["changed", "appeared", "disappeared"]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TensorPair:
    """Two tensors met at one path, whose values are still to be compared."""

    route: str
    a: TensorRef
    b: TensorRef


def same(a: Any, b: Any, tolerance: Tolerance = EXACT) -> bool:
    """Equal as plain data: NaN is NaN, 1 is 1.0 but not True, a tuple is a list of the same items."""
    return a is b or next(differences("", a, b, tolerance), None) is None


def differences(route: str, a: Any, b: Any, tolerance: Tolerance = EXACT) -> Iterator[Value | TensorPair]:
    """What differs at or below `route`; pairs of tensors of one shape and dtype are handed on to be compared."""
    pending: list[tuple[str, Any, Any]] = [(route, a, b)]
    entered: set[tuple[int, int]] = set()
    while pending:
        at, one, two = pending.pop()
        if one is two or (id(one), id(two)) in entered:
            continue
        kind = _kind(one)
        if kind != _kind(two) or (isinstance(one, Opaque) and one.name != two.name):
            yield _value(at, one, two)
        elif isinstance(one, TensorRef):
            alike = one.shape == two.shape and one.dtype == two.dtype
            yield TensorPair(at, one, two) if alike else _value(at, one, two)
        elif kind == "leaf":
            if not _same_leaf(one, two, tolerance):
                yield _value(at, one, two)
        else:
            entered.add((id(one), id(two)))
            folded = _folded(at, one, two, tolerance)
            if folded is not None:
                yield folded
            elif not _is_long(one, two):
                pending.extend(reversed(list(_members(at, one, two))))
            else:
                pending.extend(reversed([each for each in _members(at, one, two) if not same(*each[1:], tolerance)]))


def _kind(value: Any) -> Hashable:
    """What can be compared with what: containers by kind, all leaves with each other."""
    if isinstance(value, dict):
        return "mapping"
    if isinstance(value, list | tuple):
        return "sequence"
    if isinstance(value, set | frozenset):
        return "leaf"
    return type(value).__name__ if isinstance(value, Opaque | TensorRef | CompositeRef) else "leaf"


def _members(route: str, one: Any, two: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, CompositeRef):
        one, two = _composite(one), _composite(two)
    left, right = dict(_counted(one)), dict(_counted(two))
    for key in dict.fromkeys((*left, *right)):
        yield join(route, key[0]), left.get(key, ABSENT), right.get(key, ABSENT)


def _counted(value: Any) -> Iterator[tuple[tuple[Any, int], Any]]:
    """Steps as keys; a step that an object has twice is told apart by its number."""
    seen: dict[Any, int] = {}
    for step, child in steps(value):
        key = step if isinstance(step, Hashable) else repr(step)
        number = seen[key] = seen.get(key, -1) + 1
        yield (key, number), child


def _composite(value: CompositeRef) -> dict[str, Any]:
    return {"kind": value.kind, "shape": value.shape, **value.parts, **value.attributes}


def _is_long(one: Any, two: Any) -> bool:
    return isinstance(one, list | tuple) and max(len(one), len(two)) > LONG


def _folded(route: str, one: Any, two: Any, tolerance: Tolerance) -> Value | None:
    """One row for two long lists of plain values that differ in many places."""
    if not _is_long(one, two) or not all(_kind(item) == "leaf" for items in (one, two) for item in items):
        return None
    common = min(len(one), len(two))
    apart = [at for at in range(common) if not _same_leaf(one[at], two[at], tolerance)]
    if len(apart) + abs(len(one) - len(two)) <= FEW:
        return None
    note = f"{len(apart):,} of {common:,} items differ"
    note += f", the first at [{apart[0]}]" if apart else ""
    return Value(route, f"{len(one):,} items", f"{len(two):,} items", "changed", note)


def _same_leaf(a: Any, b: Any, tolerance: Tolerance) -> bool:
    if a is ABSENT or b is ABSENT:
        return a is b
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    try:
        if isinstance(a, int | float) and isinstance(b, int | float):
            return tolerance.allows(float(a), float(b))
        return bool(a == b) if type(a) is type(b) else bool(plain(a) == plain(b))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False


def _value(route: str, a: Any, b: Any) -> Value:
    happened: Literal["changed", "appeared", "disappeared"] = "changed"
    if a is ABSENT or b is ABSENT:
        happened = "appeared" if a is ABSENT else "disappeared"
    return Value(route, _shown(a), _shown(b), happened)


def _shown(value: Any) -> Any:
    return None if value is ABSENT else plain(value, nodes=NODES)
