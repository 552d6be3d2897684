"""Two checkpoints side by side: aligned by name, compared in one pass, said in frozen results. No I/O but the reading.

alignment, weights   what belongs together        groups, effects   hyperparameters, and what their change does
tensors, blockwise   values, streamed             others, plain     everything else by path
parameters           a row a parameter            verdict           one line
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from optinspect.checkpoint import Checkpoint
from optinspect.comparison.alignment import Pair, align, pair_optimizers
from optinspect.comparison.groups import GroupPair, Setting, pair_groups, settings
from optinspect.comparison.others import others
from optinspect.comparison.parameters import Parameter, jobs, rows, with_changes
from optinspect.comparison.plain import EXACT, Tolerance, Value
from optinspect.comparison.tensors import TensorChange, checksums_of, compare
from optinspect.comparison.verdict import steps_between, steps_of, verdict
from optinspect.comparison.weights import Models, pair_models
from optinspect.naming import name_parameters
from optinspect.subjects import subjects_of

__all__ = [
    "PARTS",
    "Comparison",
    "Parameter",
    "Setting",
    "TensorChange",
    "Tolerance",
    "Value",
    "Wanted",
    "compare_checkpoints",
]

PARTS = ("weights", "state", "groups", "other")
"""What can be compared, and left out."""


def everything(_: Collection[str | None]) -> bool:
    return True


@dataclass(frozen=True)
class Wanted:
    """What is to be compared, and how.

    parts      some of PARTS
    takes      whether a parameter with these names is wanted
    trust_crc  take tensors for equal whose recorded checksums are, without reading them
    """

    parts: tuple[str, ...] = PARTS
    takes: Callable[[Collection[str | None]], bool] = everything
    tolerance: Tolerance = EXACT
    trust_crc: bool = False
    progress: Callable[[int, int], None] | None = None

    @property
    def narrows(self) -> bool:
        return self.takes is not everything

    @property
    def others(self) -> bool:
        """Other values have no parameter's name: a filter leaves them out, but where nothing else was asked for."""
        return "other" in self.parts and (not self.narrows or self.parts == ("other",))


@dataclass(frozen=True)
class Comparison:
    """What lies between two checkpoints.

    parameters   those wanted, each with its changes; total: all that there are
    tensors      in the order of the files: weights, then state
    steps_a, steps_b   the largest step counts; between: steps from a to b, None where parameters disagree on it
    """

    parameters: tuple[Parameter, ...]
    total: int
    groups: tuple[GroupPair, ...]
    settings: tuple[Setting, ...]
    tensors: tuple[TensorChange, ...]
    values: tuple[Value, ...]
    models: Models
    pairs: tuple[Pair, ...]
    steps_a: float | None
    steps_b: float | None
    between: float | None
    identical: bool
    verdict: str
    wanted: Wanted

    def count(self, status: str) -> int:
        return sum(row.status == status for row in self.parameters)

    @property
    def aligned_by(self) -> str:
        """ "index" where most parameters that the optimizers have in common could be paired by nothing else."""
        by = [pair.by for pair in self.pairs if pair.by is not None]
        return "index" if by.count("index") * 2 > len(by) else "name"

    @property
    def groups_changed(self) -> int:
        """Groups with a hyperparameter that changed, of those that were added or removed each one."""
        return len({(each.group_a, each.group_b) for each in self.settings})


def compare_checkpoints(a: Checkpoint, b: Checkpoint, wanted: Wanted = Wanted()) -> Comparison:
    """Compare. Raises FileChanged when a file is being rewritten, and what naming raises."""
    models = pair_models(a, b)
    optimizers = pair_optimizers(a, b)
    both = bool(a.optimizers and b.optimizers)
    of_a, of_b = (tuple(subjects_of(one, name_parameters(one))) if both else () for one in (a, b))
    pairs = align(of_a, of_b, optimizers, models)
    every = rows(pairs, models)
    chosen = [row for row in every if wanted.takes(row.names)]
    groups = pair_groups(a, b, pairs, optimizers)
    differing = [
        each for each in settings(a, b, groups, wanted.tolerance) if not wanted.narrows or _concerns(each, chosen)
    ]
    compared = _tensors(a, b, chosen, wanted)
    told = with_changes(chosen, groups, compared, wanted.parts, tolerant=not wanted.tolerance.exact)
    values = others(a, b, pairs, models, optimizers, wanted.tolerance) if wanted.others else []
    if "groups" not in wanted.parts:
        differing = []
    identical = not (any(row.changes for row in told) or differing or values) and all(x.within for x in compared)
    between = steps_between(told)
    farthest = _apart(a, b)
    said = verdict(identical, told, compared, settings=bool(differing), values=bool(values), between=farthest)
    return Comparison(
        parameters=tuple(told),
        total=len(every),
        groups=tuple(groups),
        settings=tuple(differing),
        tensors=tuple(compared),
        values=tuple(values),
        models=models,
        pairs=pairs,
        steps_a=steps_of(a),
        steps_b=steps_of(b),
        between=between.pop() if len(between) == 1 else farthest if not between else None,
        identical=identical,
        verdict=said,
        wanted=wanted,
    )


def _tensors(a: Checkpoint, b: Checkpoint, chosen: Sequence[Parameter], wanted: Wanted) -> list[TensorChange]:
    inputs = tuple({number: one.input for number, one in enumerate(side.optimizers)} for side in (a, b))
    work = list(jobs(chosen, wanted.parts, inputs))
    checksums = (checksums_of(a), checksums_of(b)) if wanted.trust_crc else None
    total = sum(job.a.nbytes + job.b.nbytes for job in work)
    progress = wanted.progress
    return compare(work, wanted.tolerance, checksums, (lambda done: progress(done, total)) if progress else None)


def _concerns(setting: Setting, chosen: Sequence[Parameter]) -> bool:
    """A parameter that was chosen is in these groups."""
    return any(
        (row.a is not None and (row.a.optimizer, row.a.group.number) == setting.group_a)
        or (row.b is not None and (row.b.optimizer, row.b.group.number) == setting.group_b)
        for row in chosen
    )


def _apart(a: Checkpoint, b: Checkpoint) -> float | None:
    one, two = steps_of(a), steps_of(b)
    return None if one is None or two is None else two - one
