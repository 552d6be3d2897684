"""Names that a step proves: the state moved this tensor and could have moved no other of its shape.

The proof itself is made from two checkpoints (optinspect.proof); here it arrives as index → tensor. A name that the
file records and the step contradicts is a contradiction, and gives way.
"""

from __future__ import annotations

from collections.abc import Mapping

from optinspect.naming import recorded
from optinspect.naming.base import Contradiction, NamedParameter
from optinspect.naming.question import Candidate, Proposal, Question


def propose(question: Question, known: Mapping[int, NamedParameter]) -> Proposal:
    """A `step` name for each index that a proof pairs with a tensor of the likeliest pool that has it."""
    if not question.proven:
        return Proposal()
    named = {
        index: question.named(index, candidate, "step")
        for index, place in question.proven.items()
        if index < len(question.shapes) and (candidate := _candidate(question, *place)) is not None
    }
    written = recorded.propose(question, known).named
    clashes = [
        Contradiction(index, str(written[index].name), f"the step from the checkpoint before moved {row.name!r}")
        for index, row in named.items()
        if index in written and written[index].entry is not None and written[index].entry is not row.entry
    ]
    return Proposal(named, tuple(clashes))


def _candidate(question: Question, model: int, name: str) -> Candidate | None:
    for pool in (*question.pools, question.universe):
        for candidate in (*pool.candidates, *pool.doubtful):
            if (candidate.model, candidate.entry.name) == (model, name):
                return candidate
    return None
