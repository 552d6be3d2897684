"""Names that the shapes alone force, no order assumed: the shape occurs once among the indices and once in the models.

What makes it sound is what it refuses. Every model of the file counts, guessed buffers too; nothing is forced where a
shape occurs more often among the indices than in the models (another model, or parameters that are not in the file).
An optimizer that covers only part of a model may step a tensor outside of it whose shape agrees by chance (a loss
weight, class centres, log alpha): there a name is forced only where more than the one shape speaks for it. A tensor
that lies beside the models may be no parameter at all: its name is never forced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod

from optinspect.naming.base import NamedParameter
from optinspect.naming.question import Candidate, Proposal, Question, Shape, fits_in

FEW = 4
"""With fewer indices than this, and a model not covered, each name must be borne out by its module's other tensors."""


def propose(question: Question, known: Mapping[int, NamedParameter]) -> Proposal:
    """A `forced` name for each index whose shape leaves one. Indices without a shape are never forced."""
    demand, universe = question.demand, question.universe
    if not demand or not universe.candidates:
        return Proposal()
    if not fits_in(demand, universe.supply):
        return Proposal(notes=(_excess(demand, universe.supply),))
    rivals = Counter(candidate.shape for candidate in universe.doubtful)
    whole = any(question.equals(pool) for pool in question.pools)
    modules = {} if whole else _modules(universe.candidates)
    named: dict[int, NamedParameter] = {}
    for index, shape in enumerate(question.shapes):
        if index in known or shape is None or demand[shape] != 1 or universe.supply[shape] != 1 or rivals[shape]:
            continue
        candidate = universe.candidates[universe.by_shape[shape][0]]
        if not candidate.entry.beside and (whole or _borne_out(candidate, demand, modules)):
            named[index] = question.named(index, _in_likeliest_model(question, candidate), "forced")
    return Proposal(named)


def _in_likeliest_model(question: Question, candidate: Candidate) -> Candidate:
    """The same name in the model(s) that the optimizer goes with: twins count once in the universe."""
    pool = question.pools[0]
    places = pool.by_shape.get(candidate.shape, ())
    return next((c for p in places if (c := pool.candidates[p]).entry.name == candidate.entry.name), candidate)


def _modules(candidates: tuple[Candidate, ...]) -> Mapping[tuple[int, str], list[Shape]]:
    modules: dict[tuple[int, str], list[Shape]] = {}
    for c in candidates:
        modules.setdefault((c.model, c.entry.name.rpartition(".")[0]), []).append(c.shape)
    return modules


def _borne_out(
    candidate: Candidate, demand: Mapping[Shape, int], modules: Mapping[tuple[int, str], list[Shape]]
) -> bool:
    """Whether the optimizer has the module's other tensors too, or is broad enough for a matrix to speak alone."""
    siblings = list(modules[candidate.model, candidate.entry.name.rpartition(".")[0]])
    siblings.remove(candidate.shape)
    if siblings:
        return fits_in(Counter(siblings), demand) and prod(candidate.shape) > 1
    return len(candidate.shape) >= 2 and sum(demand.values()) >= FEW


def _excess(demand: Mapping[Shape, int], supply: Mapping[Shape, int]) -> str:
    shape = next(shape for shape, count in demand.items() if supply.get(shape, 0) < count)
    return (
        f"shapes force no name: {demand[shape]} of the optimizer's parameters are {list(shape)}, "
        f"{supply.get(shape, 0)} of the model's"
    )
