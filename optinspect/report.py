"""What a command has to say, before any format: raw values with units, never strings.

Renderers know only this module. CONTRACT of the keys: docs/json.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from optinspect.checkpoint import Input as Input  # noqa: PLC0414  renderers have it from here


class Severity(str, Enum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Unit(str, Enum):
    """How a renderer for people prints a cell; machines get the raw value."""

    TEXT = "text"
    NAME = "name"
    """From the file: escaped, may be wrapped, never shortened in its end."""
    COUNT = "count"
    BYTES = "bytes"
    REAL = "real"
    """Scientific notation, three decimals."""
    SETTING = "setting"
    """A hyperparameter: the shortest exact decimal (0.001, 1e-08)."""
    RATIO = "ratio"
    PERCENT = "percent"
    """A fraction 0…1."""
    SHAPE = "shape"
    LIST = "list"
    STEP = "step"
    """A step count: integral as a rule."""
    HISTOGRAM = "histogram"
    """Counts by binary exponent: {exponent: count}; drawn inline."""
    BAR = "bar"
    """A fraction 0…1, drawn as long as it is large."""
    COSINE = "cosine"
    """−1…1; how far from 1 where it is close to it."""
    ANY = "any"
    """Any plain value."""


@dataclass(frozen=True, slots=True)
class Column:
    """`rank` orders what a narrow screen drops first: the highest rank goes first, 0 never goes.

    `machine` columns are left out for people: JSON, CSV and Markdown have them.
    """

    key: str
    title: str
    unit: Unit = Unit.TEXT
    rank: int = 1
    machine: bool = False


@dataclass(frozen=True)
class Table:
    """Rows are mappings with every column's key. `total` counts the rows before --filter and --limit.

    `machine` tables are left out for people, who read the same in the headline.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    total: int | None = None
    notes: tuple[str, ...] = ()
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """Where a finding is. route: "optimizer.state[3].exp_avg"; parameter: its model name, when known."""

    input: str
    route: str | None = None
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    title: str
    severity: Severity
    message: str
    where: Location
    repair: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line for people: a label ("model", "stands out") and what is said, already words, still unescaped."""

    label: str
    text: str
    severity: Severity | None = None
    """None: just so. Otherwise the line is marked, and coloured where there is colour."""


@dataclass(frozen=True)
class Report:
    """`headline` and `footer` are for people; the rest is for everybody."""

    command: str
    status: int
    inputs: tuple[Input, ...]
    summary: Mapping[str, Any]
    tables: tuple[Table, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    headline: tuple[Line, ...] = ()
    footer: tuple[Line, ...] = ()
    next_command: str | None = None
