"""What is broken in either file, as findings: a difference may come from damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from optinspect.checkpoint import Checkpoint
from optinspect.commands.damage import findings as of_facts
from optinspect.commands.facts import Facts, Wanted, gather
from optinspect.report import Finding


def findings(checkpoint: Checkpoint, side: str) -> Iterator[Finding]:
    """As `show` has them, located in `side`."""
    if not checkpoint.problems:
        return
    facts: Facts = gather(checkpoint, Wanted(statistics=False))
    for finding in of_facts(facts):
        yield replace(finding, where=replace(finding.where, input=side))
