"""Names that the user gives: a list in the order of the optimizer, from a policy.

A list is an order, so the evidence is `order`, never proof: where the file records another name, or the shapes force
one, the list is wrong. It is taken whole or not at all, and what does not fit is a contradiction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optinspect.checkpoint import Checkpoint, OptimizerState
from optinspect.naming.base import Contradiction, NamedParameter, Told
from optinspect.naming.question import Candidate, Proposal, Question
from optinspect.naming.recorded import plain, resolve
from optinspect.routes import same_route

CONVENTION = "names told by the policy"


def told_for(told: Sequence[Told], checkpoint: Checkpoint, number: int) -> Told | None:
    """Those for the optimizer of this number. Without a route they are for a checkpoint's only optimizer."""
    optimizer, alone = checkpoint.optimizers[number], len(checkpoint.optimizers) == 1
    mine = [each for each in told if (alone if each.optimizer is None else same_route(each.optimizer, optimizer.route))]
    return mine[0] if mine else None


def propose(question: Question, known: Mapping[int, NamedParameter]) -> Proposal:
    """An `order` name for each index, if all of them fit the shapes and what stronger evidence says."""
    if question.told is None:
        return Proposal()
    names, wrong = _placed(question.told, question.optimizer)
    if wrong is not None:
        return Proposal(contradictions=(Contradiction(0, "", wrong, "told"),))
    found = resolve(names, question)
    told = (Contradiction(index, names[index], wrong, "told") for index, wrong in _wrong(question, names, found, known))
    contradictions = tuple(told)
    if contradictions:
        return Proposal(contradictions=contradictions)
    rows = {}
    for index, name in names.items():
        candidate, key = found.get(index), question.optimizer.parameters[index].key
        if candidate is not None:
            rows[index] = question.named(index, candidate, "order", CONVENTION)
        else:
            rows[index] = NamedParameter(index, key, plain(name), "order", convention=CONVENTION)
    return Proposal(rows)


def _placed(told: Told, optimizer: OptimizerState) -> tuple[dict[int, str], str | None]:
    """index → name, or what is wrong with the number of names."""
    members: dict[int, list[int]] = {group.number: [] for group in optimizer.groups}
    for each in optimizer.parameters:
        members.setdefault(each.group, []).append(each.index)
    if told.flat:
        (names,), indices = told.groups, [each.index for each in optimizer.parameters]
        wrong = None if len(names) == len(indices) else f"{len(names):,} names for {len(indices):,} parameters"
        return dict(zip(indices, names, strict=False)), wrong
    if len(told.groups) != len(members):
        return {}, f"{len(told.groups):,} lists of names for {len(members):,} groups"
    placed: dict[int, str] = {}
    for names, (number, indices) in zip(told.groups, members.items(), strict=True):
        if len(names) != len(indices):
            return {}, f"{len(names):,} names for the {len(indices):,} parameters of group {number}"
        placed.update(zip(indices, names, strict=True))
    return placed, None


STRONGER = {
    "live": "the model has",
    "recorded": "the file records",
    "forced": "the shapes leave only",
    "step": "the step proves",
}


def _wrong(
    question: Question, names: Mapping[int, str], found: Mapping[int, Candidate], known: Mapping[int, NamedParameter]
) -> Iterator[tuple[int, str]]:
    """(index, what is wrong with its name), one an index."""
    holder: dict[object, int] = {}
    for index, name in names.items():
        candidate, row, shape = found.get(index), known.get(index), question.shapes[index]
        mine = (candidate.model, candidate.entry.name) if candidate is not None else plain(name)
        first = holder.setdefault(mine, index)
        if candidate is None and question.universe.candidates:
            yield index, f"the model has no {name!r}"
        elif candidate is not None and shape is not None and shape != candidate.shape:
            yield index, f"{name!r} has shape {list(candidate.shape)}, the state {list(shape)}"
        elif first != index:
            yield index, f"{name!r} is told for index {first} too"
        elif row is not None and not _same(row, name, candidate):
            yield index, f"{name!r}, but {STRONGER.get(row.evidence, 'it is')} {row.name!r}"


def _same(row: NamedParameter, name: str, candidate: Candidate | None) -> bool:
    if candidate is not None and row.entry is not None:
        return row.entry is candidate.entry
    return plain(name) in (row.name, *row.aliases)
