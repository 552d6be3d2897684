"""What can be wrong between two checkpoints, by code: title, severity and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from optinspect.proof.pairing import Pair, Parameter
from optinspect.report import Finding, Location, Severity

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Kind:
    title: str
    severity: Severity
    repair: str | None = None


_BEFORE = "take the save before it; write model and optimizer in one file, or move both into place together"

KINDS: Mapping[str, Kind] = {
    "OI601": Kind("the halves of a checkpoint are of different steps", Severity.ERROR, _BEFORE),
    "OI602": Kind("the same state saved again", Severity.ERROR, "find out why the job stopped stepping, or who copied"),
    "OI603": Kind(
        "the optimizer was started anew",
        Severity.ERROR,
        "load the optimizer's state_dict when resuming; to go on here, take its half from the first file",
    ),
    "OI604": Kind(
        "state of other parameters",
        Severity.ERROR,
        "exchange the state entries back, and build the optimizer with its parameters in the saved order",
    ),
    "OI605": Kind(
        "weights that this optimizer did not write",
        Severity.ERROR,
        "save the raw weights (not an average, not another run's) beside the optimizer",
    ),
    "OI606": Kind("weights rounded to bfloat16", Severity.ERROR, "save the float32 weights themselves"),
    "OI607": Kind("another rule than the declared one", Severity.ERROR, "compare the code with the formula"),
    "OI608": Kind("betas changed", Severity.ERROR, "resume with the betas that the moments were averaged with"),
    "OI609": Kind(
        "moments that do not follow from those before",
        Severity.ERROR,
        "both files must be of one run, unedited; take the optimizer's half of another save",
    ),
    "OI610": Kind("moved without a gradient", Severity.ERROR, "look for code that writes weights by itself"),
    "OI611": Kind("a step that no known rule takes", Severity.ERROR, "compare the code of the step with docs/proof.md"),
    "OI612": Kind(
        "weight decay that has no effect", Severity.NOTE, "lr·wd is lost in rounding: keep weights in a wider dtype"
    ),
    "OI613": Kind("lr changed by hand", Severity.NOTE, None),
    "OI614": Kind("other settings than before", Severity.NOTE, None),
    "OI615": Kind(
        "recorded names of other parameters",
        Severity.ERROR,
        "rebuild the optimizer from named_parameters(); do not trust param_names of this file",
    ),
}


def finding(
    code: str, message: str, route: str | None = None, *, parameter: str | None = None, file: str = "b"
) -> Finding:
    """Of the second file, unless said otherwise."""
    kind = KINDS[code]
    return Finding(code, kind.title, kind.severity, message, Location(file, route, parameter), kind.repair)


def route_of(pair: Pair, p: Parameter) -> str:
    key = repr(p.key_b) if isinstance(p.key_b, str) else str(p.key_b)
    return f"{pair.b.route}.state[{key}]"


def about(members: Sequence[Parameter]) -> str:
    """ "3 parameters: a, b, c"."""
    return f"{len(members):,} parameter{'s' if len(members) != 1 else ''}: {named(p.label for p in members)}"


def named(labels: Iterable[str]) -> str:
    every = list(labels)
    shown = ", ".join(label if len(label) <= 60 else f"{label[:28]}…{label[-28:]}" for label in every[:SHOWN])
    return f"{shown} and {len(every) - SHOWN:,} more" if len(every) > SHOWN else shown


def cycles(moves: Mapping[str, str]) -> list[list[str]]:
    """The cycles of a permutation, each from its first label in the mapping's order."""
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in moves:
        cycle: list[str] = []
        at = start
        while at not in seen and at in moves:
            seen.add(at)
            cycle.append(at)
            at = moves[at]
        if len(cycle) > 1 and at == start:
            found.append(cycle)
    return found


def exchanged(moves: Mapping[str, str]) -> str:
    """ "a ↔ b; c → d → e → c"."""
    told = [" ↔ ".join(c) if len(c) == 2 else " → ".join([*c, c[0]]) for c in cycles(moves)]
    told = told or [f"{label} → {other}" for label, other in moves.items()]
    return "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
