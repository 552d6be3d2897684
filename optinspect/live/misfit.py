"""A misfit: one way in which a file and live objects do not fit, what torch makes of it, and the repair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optinspect.report import Finding, Location, Place, Severity

SHOWN = 3
"""Parameters that a message names; of more it names two and gives the number of the others."""

LONG = 200
"""Characters of a finding's message beyond which torch's own words are left out."""

Stage = Literal["load", "step", "either", "silent", "none"]
"""Where torch notices: load_state_dict raises, the first step raises, one of the two, nowhere; "none": no fault."""

Spot = tuple[object, ...]
"""What a misfit is about: () everything, ("group", n), ("index", i), ("model", name)."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What torch does about it. error: "KeyError: 'exp_avg_sq'", as it begins."""

    stage: Stage
    error: str = ""

    @property
    def short(self) -> str:
        """Without the text of the error: its kind alone."""
        return str(Reaction(self.stage, self.error.partition(":")[0]))

    def __str__(self) -> str:
        told = {
            "load": f"load_state_dict raises {self.error}",
            "step": f"load_state_dict accepts it; the first step raises {self.error}",
            "either": f"load_state_dict or the first step raises {self.error}",
            "silent": f"torch accepts it in silence{': ' if self.error else ''}{self.error}",
            "none": self.error,
        }
        return told[self.stage]


@dataclass(frozen=True, slots=True)
class Misfit:
    """One way in which the file does not fit what is in memory.

    code        of the rule that found it; `optinspect rules CODE` is its manual page
    parameter   the live name of the first parameter that it is about; None where it is about a group or everything
    file, live  what stands on either side, as plain values
    """

    code: str
    title: str
    severity: Severity
    message: str
    route: str | None
    parameter: str | None
    file: Any
    live: Any
    torch: Reaction
    repair: str | None
    spots: tuple[Spot, ...] = ((),)
    also: tuple[Place, ...] = ()
    """The other places, where one misfit is about many."""

    def __str__(self) -> str:
        reaction = str(self.torch)
        return f"{self.code} {self.message}" + (f" ({reaction})" if reaction else "")

    def finding(self) -> Finding:
        reaction = str(self.torch)
        message = self.message.removeprefix(f"`{self.parameter}`: ")  # the finding says where it is
        tails = (f"; {reaction}", f"; {self.torch.short}") if reaction else ()
        told = next((message + tail for tail in tails if len(message + tail) <= LONG), message)
        return Finding(
            self.code,
            self.title,
            self.severity,
            told,
            Location("checkpoint", self.route, self.parameter),
            self.repair,
            self.also,
        )


def so_with(names: Sequence[str]) -> str:
    """What is said of the first name, of the others too; "" where there are none."""
    return f"; so it is with {len(names):,} (also {listed(names[1:])})" if names[1:] else ""


def listed(names: Sequence[str]) -> str:
    """ "`a`, `b` and `c`", of more "`a`, `b` and 4 more"; a long name keeps its ends."""
    short = [name if len(name) <= 60 else f"{name[:28]}…{name[-28:]}" for name in names]
    return joined([f"`{name}`" for name in short])


def joined(words: Sequence[str]) -> str:
    """As `listed`, for what is no name: "0, 1 and 2"."""
    if len(words) > SHOWN:
        return f"{', '.join(words[: SHOWN - 1])} and {len(words) - SHOWN + 1:,} more"
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else "".join(words)
