"""`check --previous P`: what an earlier checkpoint of the same run says about this one, findings OI6xx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optinspect.checkpoint import Checkpoint
from optinspect.checks import Outcome
from optinspect.proof.findings import KINDS
from optinspect.report import Finding, Severity, Skipped

NEEDED = "needs --previous"


def without_previous() -> tuple[Skipped, ...]:
    return tuple(Skipped(code, NEEDED) for code in KINDS)


def proved(previous: Checkpoint, checkpoint: Checkpoint, outcome: Outcome) -> tuple[list[Finding], tuple[Skipped, ...]]:
    """Findings on the step from `previous`; skipped where the file itself is broken. Raises as `prove` does."""
    cause = _cause(outcome.findings)
    if cause is not None:
        return [], tuple(Skipped(code, f"{cause} names the cause") for code in KINDS)
    from optinspect.proof import prove  # noqa: PLC0415  its pass over both files is needed here only

    proof = prove(previous, checkpoint)
    inputs = {"a": "previous", "b": "checkpoint"}
    found = [
        replace(each, where=replace(each.where, input=inputs.get(each.where.input, each.where.input)))
        for each in proof.findings
    ]
    return found, tuple(each for each in proof.skipped if each.rule in KINDS)


def unexplained(findings: Sequence[Finding], told: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings on the file alone, without the step count that is off where the step itself says which half is old."""
    better = {each.rule for each in told} & {"OI601", "OI602", "OI603"}
    return tuple(each for each in findings if each.rule != "OI405" or not better)


def _cause(findings: Sequence[Finding]) -> str | None:
    """A fault of the file, or of what it holds, that the proof would only stumble over."""
    broken = (
        each.rule for each in findings if each.severity is Severity.ERROR and each.rule.startswith(("OI1", "OI2"))
    )
    return next(broken, None)
