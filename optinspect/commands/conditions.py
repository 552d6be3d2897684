"""--where: conditions on the cells of a report, "update_ratio>1e-3" or "dtype=float32". Nothing is evaluated.

    COLUMN OP VALUE     OP one of > >= < <= = != ~ (a glob)

A number may have an exponent, a % (of 1) or a size: k M G T are powers of 1000, Ki Mi Gi Ti of 1024, a B behind them
says nothing. A cell without a value matches nothing. NaN is `= nan`, is `!=` everything else, and has no order. Texts
are compared as they are sorted, the numbers in them counted. A list is = what it is written as, and to each text
in it; so with ~.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isnan
from operator import ge, gt, le, lt
from typing import Any

from optinspect.commands.ordering import rank
from optinspect.errors import UsageError
from optinspect.report import Column, Unit

CONDITION = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*(>=|<=|!=|==|=|>|<|~)\s*(.*?)\s*", re.ASCII | re.DOTALL)
NUMBER = re.compile(
    r"([+-]?(?:\d{1,40}(?:_\d{1,40}){0,20}\.?\d{0,40}|\.\d{1,40})(?:e[+-]?\d{1,4})?|[+-]?inf(?:inity)?|nan)"
    r"\s*(%|(?:[kmgt]i?)?b?)",
    re.ASCII | re.IGNORECASE,
)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}
EXPECTED = "expected COLUMN OP VALUE, OP one of > >= < <= = != ~, as update_ratio>1e-3"

NUMERIC = frozenset(
    {Unit.COUNT, Unit.BYTES, Unit.REAL, Unit.ROUGH, Unit.RATIO, Unit.PERCENT, Unit.STEP, Unit.COSINE, Unit.BAR}
)
UNORDERED = frozenset({Unit.SHAPE, Unit.LIST, Unit.RANGES, Unit.HISTOGRAM})


@dataclass(frozen=True, slots=True)
class Condition:
    """One of them. `number` is what `value` is as a number, if it is one."""

    text: str
    column: str
    operator: str
    value: str
    number: float | int | None

    def check(self, column: Column) -> None:
        """Raises UsageError where no cell of the column can be compared so."""
        if self.operator in ORDERS and column.unit in UNORDERED:
            raise UsageError(f"--where {self.text:.60}: {column.key} holds lists (expected =, != or ~)")
        if self.operator != "~" and column.unit in NUMERIC and self.number is None:
            raise UsageError(f"--where {self.text:.60}: {self.value[:40]!r} is no number, as {column.key} is")

    def takes(self, cell: Any) -> bool:
        """Whether a cell matches."""
        if cell is None:
            return False
        if self.operator == "~":
            return any(fnmatchcase(text, self.value) for text in _texts(cell))
        if self.operator in ("=", "!="):
            return self._equals(cell) == (self.operator == "=")
        order = ORDERS[self.operator]
        if isinstance(cell, int | float):
            return self.number is not None and order(cell, self.number)
        return isinstance(cell, str) and order(rank(cell), rank(self.value))

    def _equals(self, cell: Any) -> bool:
        if isinstance(cell, bool):
            return self.value.lower() == str(cell).lower()
        if isinstance(cell, int | float):
            number = self.number
            return number is not None and (cell == number or (isnan(cell) and isnan(number)))
        return self.value in _texts(cell)


def parse(text: str) -> Condition:
    """The condition that `text` states. Raises UsageError."""
    found = CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(f"--where {text:.60}: no condition ({EXPECTED})")
    column, operator, value = found.groups()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if not value:
        raise UsageError(f"--where {text:.60}: no value ({EXPECTED})")
    return Condition(f"{column}{operator}{value}", column, "=" if operator == "==" else operator, value, number(value))


def number(text: str) -> float | int | None:
    """ "1e-3", "0.5", "12", "10%", "1.5M", "2GiB", "nan", "-inf" as a number; None where it is none."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return None
    digits, suffix = found[1].replace("_", ""), found[2].lower()
    value: float | int = int(digits) if digits.lstrip("+-").isdigit() else float(digits)
    if suffix == "%":
        return value / 100
    prefix = suffix.removesuffix("b")
    factor: int = (1024 if prefix.endswith("i") else 1000) ** POWERS[prefix.removesuffix("i")]
    return value * factor


def _texts(cell: Any) -> list[str]:
    """How a cell may be written: a list as a whole ("768x3072" or "0.9,0.95") and item by item."""
    if isinstance(cell, list | tuple):
        items = [str(item) for item in cell]
        whole = [mark.join(items) for mark in ("x", "×", ",", ", ")]
        return [*whole, *(item for item in cell if isinstance(item, str)), *(["scalar"] if not items else [])]
    if isinstance(cell, Mapping):
        return [f"{key}={value}" for key, value in cell.items()]
    return [str(cell)]


def parsed(texts: Sequence[str]) -> tuple[Condition, ...]:
    """All must hold. Raises UsageError."""
    return tuple(parse(text) for text in texts)
