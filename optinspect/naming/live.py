"""Names from the model's own class: the framework's groups over its order, where every shape agrees.

The order is the class's own and the groups are those that the framework makes of it, so nothing is assumed but that
the framework made the optimizer. What speaks against that ends it: other group sizes or shapes, settings that the
framework never gives its groups, names in the file, a step that proves another name.
"""

from __future__ import annotations

from collections.abc import Mapping

from optinspect.checkpoint import Filling
from optinspect.naming.base import NamedParameter
from optinspect.naming.question import Candidate, Pool, Proposal, Question
from optinspect.naming.recorded import written_names


def propose(question: Question, known: Mapping[int, NamedParameter]) -> Proposal:
    """A `live` name for each index on which all fitting ways to fill the groups agree."""
    if written_names(question.optimizer)[0] or not _like_framework(question):
        return Proposal()
    for pool in question.pools:
        fitting = [one for one in pool.fillings if _fits(question, one)]
        rows = [[row for group in one.groups for row in group] for one in fitting]
        if any(row.name != names[index][0] for names in rows for index, row in known.items()):
            return Proposal()
        if rows:
            agreed = [each[0][0] if len({name for name, _ in each}) == 1 else None for each in zip(*rows, strict=True)]
            table = {candidate.entry.name: candidate for candidate in pool.candidates}
            told = f"{fitting[0].title}, {pool.order_from}"
            named = {index: _row(question, pool, index, name, table, told) for index, name in enumerate(agreed) if name}
            return Proposal(named)
    return Proposal()


def _like_framework(question: Question) -> bool:
    """Two groups or more of one learning rate, of which only the first decays."""
    groups = question.optimizer.groups
    rates = {group.number_of("lr") for group in groups}
    return len(rates) == 1 and not any(group.number_of("weight_decay") for group in groups[1:])


def _fits(question: Question, filling: Filling) -> bool:
    groups = question.optimizer.groups
    if [len(group.params) for group in groups] != [len(rows) for rows in filling.groups]:
        return False
    shapes = [shape for rows in filling.groups for _, shape in rows]
    return all(own is None or own == shape for own, shape in zip(question.shapes, shapes, strict=True))


def _row(
    question: Question, pool: Pool, index: int, name: str, table: Mapping[str, Candidate], told: str
) -> NamedParameter:
    candidate = table.get(name)
    if candidate is not None:
        return question.named(index, candidate, "live", told, 1)
    key = question.optimizer.parameters[index].key
    return NamedParameter(index, key, name, "live", convention=told, solutions=1, model=pool.models[0])
