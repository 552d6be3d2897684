"""Optimizer index → name of the model's parameter, with the evidence for it.

EVIDENCE is the registry of sources, strongest first: the first that names an index decides, and a later one may
withhold a forced name that it disputes. What no source names stays `none`, with the names its shape leaves open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

from optinspect.checkpoint import Checkpoint, ModelEntry
from optinspect.naming import live, order, recorded, shapes, step, told
from optinspect.naming.base import Contradiction, Evidence, NamedParameter, Naming, Told
from optinspect.naming.pairing import Tensor, question_for
from optinspect.naming.question import Proposal, Question, Source, distinct

__all__ = ["EVIDENCE", "Contradiction", "Evidence", "NamedParameter", "Naming", "name_parameters", "unoptimized"]

EVIDENCE: tuple[Source, ...] = (
    step.propose,
    live.propose,
    recorded.propose,
    shapes.propose,
    told.propose,
    order.propose,
)


Proven = Mapping[tuple[int, int], Tensor]
"""(optimizer, index) → the tensor that a step from another checkpoint proves it to be."""


def name_parameters(
    checkpoint: Checkpoint, proven: Proven | None = None, listed: Sequence[Told] = ()
) -> tuple[Naming, ...]:
    """The names of every optimizer's parameters, one Naming per optimizer, each in index order. No I/O.

    proven  from a Proof between this checkpoint and its neighbour (`names_a` or `names_b`): `step` evidence
    listed  what the user calls the parameters: `order` evidence, where nothing better contradicts
    """
    questions = [_asked(checkpoint, number, proven, listed) for number in range(len(checkpoint.optimizers))]
    namings = [_name(question) for question in questions]
    if len(namings) < 2:
        return tuple(namings)
    taken: frozenset[Tensor] = frozenset()
    for number in sorted(range(len(namings)), key=lambda number: _openness(namings[number])):
        if _openness(namings[number]) > 0 or _stepped(namings[number]) & taken:
            question = _asked(checkpoint, number, proven, listed, taken)
            if any(question.includes(pool) for pool in question.pools):
                namings[number] = _name(question)
        taken |= _stepped(namings[number])
    return tuple(namings)


def _asked(
    checkpoint: Checkpoint,
    number: int,
    proven: Proven | None,
    listed: Sequence[Told],
    taken: frozenset[Tensor] = frozenset(),
) -> Question:
    question = question_for(checkpoint, number, taken)
    if listed:
        question = replace(question, told=told.told_for(listed, checkpoint, number))
    mine = {index: place for (optimizer, index), place in (proven or {}).items() if optimizer == number}
    return replace(question, proven=mine) if mine else question


def _stepped(naming: Naming) -> frozenset[Tensor]:
    return frozenset((r.model, r.entry.name) for r in naming.parameters if r.model is not None and r.entry is not None)


def _openness(naming: Naming) -> float:
    """0 where the evidence leaves no choice; the more the order leaves open, the later an optimizer's turn."""
    rows = [row for row in naming.parameters if row.evidence in ("order", "none")]
    if all(row.evidence == "order" and row.solutions == 1 for row in rows):
        return 0
    return max((row.solutions or inf for row in rows if row.evidence == "order"), default=inf)


def _name(question: Question) -> Naming:
    known: dict[int, NamedParameter] = {}
    proposals: list[Proposal] = []
    for source in EVIDENCE:
        proposal = source(question, known)
        proposals.append(proposal)
        known = {**_free(proposal.named, known), **{i: r for i, r in known.items() if _stays(r, proposal.withheld)}}
    return Naming(
        optimizer=question.number,
        parameters=tuple(known.get(index) or _unnamed(question, index) for index in range(len(question.shapes))),
        contradictions=tuple(item for proposal in proposals for item in proposal.contradictions),
        notes=tuple(note for proposal in proposals for note in proposal.notes),
    )


def _stays(row: NamedParameter, withheld: frozenset[int]) -> bool:
    return row.evidence == "step" or row.index not in withheld


def _free(named: Mapping[int, NamedParameter], known: Mapping[int, NamedParameter]) -> Mapping[int, NamedParameter]:
    """Without names that a step has proved to be another index's."""
    taken = {(row.model, row.name) for row in known.values() if row.evidence == "step"}
    if not taken:
        return named
    return {index: row for index, row in named.items() if index in known or (row.model, row.name) not in taken}


def _unnamed(question: Question, index: int) -> NamedParameter:
    shape, universe = question.shapes[index], question.universe
    places = universe.by_shape.get(shape, ()) if shape is not None else ()
    rivals = distinct(universe.candidates[place].name for place in places)
    return NamedParameter(index, question.optimizer.parameters[index].key, None, "none", rivals=rivals)


def unoptimized(checkpoint: Checkpoint, namings: Sequence[Naming]) -> tuple[tuple[int, ModelEntry, str], ...]:
    """(model number, tensor, kind) of what is in no group; averaged and other copies are left out.

    kind  "parameter?", "buffer?", or "tied" for a second name of a tensor that is stepped.
    A tensor that an unnamed index may still turn out to be is not listed.
    """
    stepped = frozenset[Tensor]().union(*map(_stepped, namings))
    open_shapes: Counter[tuple[int, ...]] = Counter()
    shapeless = 0
    for naming in namings:
        optimizer = checkpoint.optimizers[naming.optimizer]
        for row in naming.parameters:
            if row.name is None:
                shape = optimizer.parameters[row.index].shape
                shapeless += shape is None
                if shape is not None:
                    open_shapes[shape] += 1
    rows: list[tuple[int, ModelEntry, str]] = []
    for number, model in enumerate(checkpoint.models):
        for entry in model.entries if model.role == "model" else ():
            if (number, entry.name) in stepped:
                rows += [(number, replace(entry, name=a, aliases=(entry.name,)), "tied") for a in entry.aliases]
            elif entry.is_buffer or not (shapeless or open_shapes[entry.shape]):
                rows.append((number, entry, "buffer?" if entry.is_buffer else "parameter?"))
    return tuple(rows)
