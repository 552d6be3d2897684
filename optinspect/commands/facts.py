"""What `show` knows before it says anything: the checkpoint, its names, and what was measured of the chosen parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint, ModelEntry
from optinspect.commands.progress import Progress
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError
from optinspect.naming import Proven, name_parameters, unoptimized
from optinspect.naming.base import Naming
from optinspect.subjects import Subject as Subject  # noqa: PLC0414  commands have it from here
from optinspect.subjects import bundle_of, subjects_of
from optinspect.tensors import TensorRef

if TYPE_CHECKING:  # numpy is not loaded where nothing is measured
    from optinspect.measurement import Bundle, Measured

Key = tuple[int | None, int]
"""(optimizer, index) of a parameter; (None, position in `loose`) of a tensor that is no parameter's weight."""

Spare = tuple[int, ModelEntry, str]
"""A model's tensor that is in no group: number of the model, the tensor, what it seems to be."""


@dataclass(frozen=True)
class Facts:
    """Everything and, of it, what was selected.

    subjects  parameters of the optimizers
    spare     the model's tensors that are in no group
    loose     tensors of the models that are no subject's weight, for --weights
    measured  None without statistics
    """

    checkpoint: Checkpoint
    namings: tuple[Naming, ...]
    everything: tuple[Subject, ...]
    subjects: tuple[Subject, ...]
    spare: tuple[Spare, ...]
    spare_total: int
    loose: tuple[ModelEntry, ...]
    measured: Mapping[Key, Measured] | None = None
    weights: bool = False

    @cached_property
    def by_group(self) -> Mapping[tuple[int, int], Sequence[Subject]]:
        """All subjects of a group, whatever was selected."""
        found: dict[tuple[int, int], list[Subject]] = {}
        for subject in self.everything:
            found.setdefault((subject.optimizer, subject.group.number), []).append(subject)
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be gathered."""

    selection: Selection = field(default_factory=Selection)
    statistics: bool = True
    weights: bool = False
    progress: bool = False
    proven: Proven | None = None
    """Names that the step from another checkpoint proves."""
    known: tuple[tuple[Naming, ...], tuple[Spare, ...]] | None = None
    """Of live objects: the names by identity, and the model's tensors in no group. Nothing is left to be found out."""


def gather(checkpoint: Checkpoint, wanted: Wanted) -> Facts:
    """Name everything, choose, and measure what was chosen. Raises UsageError for a group that does not exist."""
    namings = wanted.known[0] if wanted.known else name_parameters(checkpoint, wanted.proven)
    everything = tuple(subjects_of(checkpoint, namings))
    selection = wanted.selection
    groups = {subject.group.number for subject in everything}
    groups |= {group.number for optimizer in checkpoint.optimizers for group in optimizer.groups}
    if selection.group is not None and selection.group not in groups:
        expected = f"expected one of {_some(sorted(groups))}" if groups else "this file has none"
        raise UsageError(f"--group {selection.group}: no such group ({expected})")
    subjects = tuple(subject for subject in everything if _selected(subject, selection))
    spare = wanted.known[1] if wanted.known else unoptimized(checkpoint, namings)
    chosen = tuple(each for each in spare if _chosen(each[1], selection))
    facts = Facts(
        checkpoint,
        namings,
        everything,
        subjects,
        chosen,
        len(spare),
        tuple(_loose(checkpoint, everything, selection)) if wanted.weights else (),
        weights=wanted.weights,
    )
    return replace(facts, measured=_measured(facts, wanted.progress)) if wanted.statistics else facts


def _selected(subject: Subject, selection: Selection) -> bool:
    names = (subject.named.name, *subject.named.aliases)
    return selection.takes_group(subject.group.number) and selection.takes_name(names)


def _chosen(entry: ModelEntry, selection: Selection) -> bool:
    return selection.group is None and selection.takes_name((entry.name, *entry.aliases))


def _loose(checkpoint: Checkpoint, subjects: Sequence[Subject], selection: Selection) -> Iterator[ModelEntry]:
    """Tensors of the models, averaged copies left out, that are not the weight of a subject."""
    stepped = {id(subject.named.entry.tensor) for subject in subjects if subject.named.entry}
    for model in checkpoint.models:
        if model.role == "model":
            yield from (
                entry for entry in model.entries if id(entry.tensor) not in stepped and _chosen(entry, selection)
            )


def _measured(facts: Facts, shown: bool) -> Mapping[Key, Measured]:
    from optinspect.measurement import measure  # noqa: PLC0415  numpy takes a tenth of a second to start

    bundles = [*(bundle_of(facts.checkpoint, subject) for subject in facts.subjects), *_weight_bundles(facts.loose)]
    size = sum(tensor.nbytes for bundle in bundles for tensor in bundle.slots.values())
    with Progress("measuring", size, shown=shown) as progress:
        return {each.key: each for each in measure(bundles, weights=facts.weights, progress=progress.add)}


def _weight_bundles(loose: Sequence[ModelEntry]) -> Iterator[Bundle]:
    from optinspect.measurement import Bundle  # noqa: PLC0415

    for position, entry in enumerate(loose):
        if isinstance(entry.tensor, TensorRef):
            yield Bundle((None, position), entry.tensor, {})


def _some(values: Sequence[Any], most: int = 8) -> str:
    shown = ", ".join(map(str, values[:most]))
    return shown + (f", … {values[-1]}" if len(values) > most else "")
