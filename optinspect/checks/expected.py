"""What a policy says a checkpoint must be: data that the rules OI0xx compare with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isclose

from optinspect.checks.thresholds import Thresholds
from optinspect.naming.base import Told

CLOSE = 1e-6
"""Relative: a setting that was kept in a float32 tensor is off by 6e-8."""
ALL = "*"
UNSAID = "no policy expects anything here"
"""Why a rule OI0xx was skipped."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float

    def takes(self, value: float) -> bool:
        near = (isclose(value, end, rel_tol=CLOSE, abs_tol=1e-30) for end in (self.low, self.high))
        return self.low <= value <= self.high or any(near)

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


Ranges = tuple[tuple[str, Interval], ...]
"""Glob of parameter names → allowed values; of several that fit a name the first decides. ALL alone: every group."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one optimizer by its route, or of all; None and () say nothing.

    families    one of these classes; moments: glob of slots → allowed dtypes, the first that fits decides
    companions  kinds that must lie beside the optimizer: see COMPANIONS
    """

    optimizer: str | None = None
    families: tuple[str, ...] = ()
    groups: int | None = None
    lr: Ranges = ()
    weight_decay: Ranges = ()
    min_step: float | None = None
    moments: tuple[tuple[str, tuple[str, ...]], ...] = ()
    companions: tuple[str, ...] = ()


COMPANIONS = ("scheduler", "scaler", "rng", "ema", "counters")


@dataclass(frozen=True, slots=True)
class Waiver:
    """Findings that are known and accepted: those whose code begins so, on parameters with these names or on all."""

    code: str
    reason: str
    names: tuple[str, ...] = ()

    def covers(self, code: str) -> bool:
        return code.startswith(self.code)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a user wants rules to go by. The defaults are those of `optinspect check` without a policy."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    expected: tuple[Expected, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    """Those that are limited to names; others are the command's --ignore."""
    told: tuple[Told, ...] = ()
    """Names of the parameters, as the user gives them."""


def fits(names: Iterable[str | None], globs: Iterable[str]) -> bool:
    """Whether one of the names (a name and its aliases) is like one of the globs; no name is like none."""
    known = [name for name in names if name is not None]
    return any(fnmatchcase(name, glob) for glob in globs for name in known)
