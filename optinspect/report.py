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


LEVELS: Mapping[str, tuple[Severity, ...]] = {
    "error": (Severity.ERROR,),
    "warning": (Severity.ERROR, Severity.WARNING),
    "note": tuple(Severity),
    "never": (),
}
"""Level that fails (`--fail-on`, `fail_on` of a policy) → severities at or above it."""


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
    ROUGH = "rough"
    """Scientific, one decimal: no more is known."""
    RATIO = "ratio"
    PERCENT = "percent"
    """A fraction 0…1."""
    SHAPE = "shape"
    LIST = "list"
    STEP = "step"
    """A step count: integral as a rule."""
    RANGES = "ranges"
    """Whole numbers as runs, [[first, last], …]; written 0..11,24."""
    HISTOGRAM = "histogram"
    """Counts by binary exponent: {exponent: count}; drawn inline."""
    BAR = "bar"
    """A fraction 0…1, drawn as long as it is large."""
    COSINE = "cosine"
    """−1…1; how far from 1 where it is close to it."""
    ANY = "any"
    """Any plain value."""
    GLANCE = "glance"
    """Any plain value, of which the beginning will do."""
    TREE = "tree"
    """A name in a tree: the row's `depth`, 0, 1, …, says how deep it lies, and the rows before it, in what."""


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the greatest of several values, where rows are folded into one."""

    low: Any
    high: Any


@dataclass(frozen=True, slots=True)
class Runs:
    """Several whole numbers as runs, [[first, last], …], where rows are folded into one."""

    pairs: Sequence[Sequence[int]]


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

    `machine` tables are left out for people, who read the same in the headline. `limited`: --limit took rows away,
    and of a table that nothing is left of people are told so.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    total: int | None = None
    notes: tuple[str, ...] = ()
    machine: bool = False
    beside: tuple[str, ...] | None = None
    """Row by row beside the table before it, where there is room; keys of columns that both then do without."""
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """Where a finding is. route: "optimizer.state[3].exp_avg"; parameter: its model name, when known."""

    input: str
    route: str | None = None
    parameter: str | None = None


Place = tuple[str | None, str | None]
"""A route, and the name of the parameter, where there are such."""


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    title: str
    severity: Severity
    message: str
    where: Location
    repair: str | None = None
    also: tuple[Place, ...] = ()
    """The other places, where one finding is about many."""

    @property
    def places(self) -> tuple[Place, ...]:
        return ((self.where.route, self.where.parameter), *self.also)


@dataclass(frozen=True, slots=True)
class Skipped:
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One of several inputs that could not be read, while the others were: `kind` is a class of errors.py."""

    input: str
    kind: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Manual:
    """A rule that was asked, with its manual page, for formats that carry the pages themselves."""

    rule: str
    title: str
    severity: Severity
    page: str


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
    failures: tuple[Failure, ...] = ()
    manual: tuple[Manual, ...] = ()
    answer: str | None = None
    """What a script wants of it: the one line that --quiet leaves."""
    headline: tuple[Line, ...] = ()
    footer: tuple[Line, ...] = ()
    next_command: str | None = None
    tabled: bool = False
    """The inputs are the rows of a table: people need no line for each."""
    parts: tuple[Report, ...] = ()
    """For people: the reports of several inputs one below the other, in place of the findings of all."""
