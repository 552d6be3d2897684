"""What is broken in a file, for commands that look at other things too: the findings OI1xx of the checks."""

from __future__ import annotations

from optinspect import damage
from optinspect.commands.facts import Facts
from optinspect.damage import status
from optinspect.report import Finding

__all__ = ["findings", "status"]


def findings(facts: Facts) -> tuple[Finding, ...]:
    """One finding a problem, in the file's order; then the tensors whose values failed to be read."""
    return damage.findings(facts.checkpoint, facts.everything, facts.measured or {})
