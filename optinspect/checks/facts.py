"""What the rules look at, computed once: names, every value measured, every checksum, in one pass over the bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite

from optinspect.checkpoint import Checkpoint, ModelEntry, OptimizerState, ParamGroup
from optinspect.checks.bounds import standards
from optinspect.checks.expected import Terms
from optinspect.checks.integrity import Integrity, Watch
from optinspect.checks.peculiar import Peculiar, look
from optinspect.layouts.slots import tensor_class
from optinspect.measurement import Bundle, Measured, measure
from optinspect.naming import name_parameters
from optinspect.naming.base import Naming
from optinspect.optimizers import Optimizer, candidates
from optinspect.statistics import Statistics
from optinspect.subjects import Subject, bundle_of, subjects_of
from optinspect.tensors import CompositeRef, TensorRef

Key = tuple[int | None, int]

PAIRED = frozenset({"weight", "weights", "bias", "biases", "gamma", "beta", "w", "b"})
"""Words in the own names of a layer's parameters: what uses one of them uses all."""


@dataclass(frozen=True)
class Facts:
    """subjects: the parameters of all optimizers; loose: (model, tensor) of no subject; measured: by key, every value.

    A loose tensor is measured under (None, its place in `loose`).
    """

    checkpoint: Checkpoint
    namings: tuple[Naming, ...]
    subjects: tuple[Subject, ...]
    loose: tuple[tuple[int, ModelEntry], ...]
    measured: Mapping[Key, Measured]
    integrity: Integrity
    terms: Terms = field(default_factory=Terms)
    """What the user wants of the rules: thresholds, expectations, what is accepted."""

    @cached_property
    def of_optimizer(self) -> Mapping[int, Sequence[Subject]]:
        found: dict[int, list[Subject]] = {number: [] for number in range(len(self.checkpoint.optimizers))}
        for subject in self.subjects:
            found[subject.optimizer].append(subject)
        return found

    @cached_property
    def descriptions(self) -> Mapping[tuple[int, int], Optimizer | None]:
        """(optimizer, group) → what is known of the likeliest optimizer that the group's keys and slots allow."""
        found: dict[tuple[int, int], Optimizer | None] = {}
        for number, optimizer in enumerate(self.checkpoint.optimizers):
            slots = {slot for p in optimizer.parameters for slot, value in p.slots.items() if value is not None}
            values = [value for p in optimizer.parameters for value in p.slots.values()]
            classes = set(filter(None, (tensor_class(value) for value in values if isinstance(value, CompositeRef))))
            for group in optimizer.groups:
                fitting = candidates(group.hyperparameters, slots, classes)
                known = (one for one in fitting if one.name in optimizer.families)
                found[number, group.number] = next(known, None) or _by_keys(optimizer, group, slots | classes)
        return found

    def description(self, subject: Subject) -> Optimizer | None:
        return self.descriptions.get((subject.optimizer, subject.group.number))

    @cached_property
    def steps(self) -> tuple[float | None, ...]:
        """The step count that most parameters of each optimizer have; None without any."""
        counts = [Counter(each.steps) for each in self.checkpoint.optimizers]
        return tuple(each.most_common(1)[0][0] if each else None for each in counts)

    @cached_property
    def furthest(self) -> tuple[float | None, ...]:
        """The steps that each optimizer has taken: of the parameter that was stepped most. None without any."""
        return tuple(max(filter(isfinite, each.steps), default=None) for each in self.checkpoint.optimizers)

    def statistics(self, subject: Subject) -> Mapping[str, Statistics]:
        found = self.measured.get(subject.key)
        return found.statistics if found else {}

    def weight(self, subject: Subject) -> Statistics | None:
        found = self.measured.get(subject.key)
        return found.weight if found else None

    def peculiar(self, key: Key) -> Peculiar:
        found = self.measured.get(key)
        extra = found.extra if found else None
        return extra if isinstance(extra, Peculiar) else Peculiar()

    @cached_property
    def siblings(self) -> Mapping[tuple[int, str], Sequence[Subject]]:
        """(optimizer, module) → the parameters of that very module, by their names."""
        found: dict[tuple[int, str], list[Subject]] = {}
        for subject in self.subjects:
            if subject.named.name:
                found.setdefault((subject.optimizer, subject.named.name.rpartition(".")[0]), []).append(subject)
        return found

    @cached_property
    def containers(self) -> Set[str]:
        """Modules that have others inside, as the names of the models' tensors and of the parameters show."""
        names = [entry.name for model in self.checkpoint.models for entry in model.entries]
        names += [subject.named.name for subject in self.subjects if subject.named.name]
        found: set[str] = set()
        for name in names:
            around = name.rpartition(".")[0]
            while around and (around := around.rpartition(".")[0]) not in found:
                found.add(around)
        return found

    def beside(self, subject: Subject) -> Sequence[Subject]:
        """Other parameters of the same module, which are used where this one is. Where it has one only (a linear layer
        without a bias) and lies in a numbered layer, those of the block around it. None where the name is not known.

        A module that has layers inside and lies in no numbered one may hold parameters that have nothing to do with
        each other, used in some runs and not in others (cls_token, mask_token): of these, only the pairs count.
        """
        if not subject.named.name:
            return ()
        module, _, own = subject.named.name.rpartition(".")
        others = [each for each in self.siblings[subject.optimizer, module] if each is not subject]
        block, _, called = module.rpartition(".")
        layered = any(part.isdigit() for part in block.split("."))
        if not any(part.isdigit() for part in module.split(".")) and module in self.containers:
            return [each for each in others if _paired(own) and _paired((each.named.name or "").rpartition(".")[2])]
        if others or not layered or called.isdigit() or own.isdigit():
            return others
        every = self.of_optimizer[subject.optimizer]
        return [each for each in every if each is not subject and (each.named.name or "").startswith(f"{block}.")]


def _paired(own: str) -> bool:
    """Whether a parameter's own name is that of a layer's ("weight", "in_proj_bias", "weight_ih_l0", "gamma")."""
    return any(part in PAIRED for part in own.split("_"))


def _by_keys(optimizer: OptimizerState, group: ParamGroup, slots: Set[str]) -> Optimizer | None:
    """One of torch's own that the settings show, where a slot that it always keeps is missing everywhere."""
    fitting = candidates(group.hyperparameters, ()) if slots and not optimizer.families else ()
    own = [one for one in fitting if one.source == "torch.optim" and slots <= one.slots.keys()]
    return own[0] if len({one.name for one in own}) == 1 else None


def gather(
    checkpoint: Checkpoint,
    progress: Callable[[int], None] | None = None,
    terms: Terms | None = None,
    namings: tuple[Naming, ...] | None = None,
) -> Facts:
    """Everything that the rules ask for. Raises FileChanged when the file is rewritten meanwhile.

    namings  of every optimizer where they are known better than the file alone tells them
    """
    terms = terms or Terms()
    namings = name_parameters(checkpoint, listed=terms.told) if namings is None else namings
    subjects = tuple(subjects_of(checkpoint, namings))
    loose = tuple(_loose(checkpoint, subjects))
    with Watch(checkpoint.trees) as watch:
        bundles = [*(bundle_of(checkpoint, each) for each in subjects), *_loose_bundles(loose)]
        extra = look(standards(checkpoint, subjects))
        measured = {each.key: each for each in measure(bundles, weights=True, progress=progress, extra=extra)}
        integrity = watch.compare()
    return Facts(checkpoint, namings, subjects, loose, measured, integrity, terms)


def _loose(checkpoint: Checkpoint, subjects: Sequence[Subject]) -> Iterator[tuple[int, ModelEntry]]:
    stepped = {id(subject.named.entry.tensor) for subject in subjects if subject.named.entry}
    for number, model in enumerate(checkpoint.models):
        yield from ((number, entry) for entry in model.entries if id(entry.tensor) not in stepped)


def _loose_bundles(loose: Sequence[tuple[int, ModelEntry]]) -> Iterator[Bundle]:
    for place, (_, entry) in enumerate(loose):
        if isinstance(entry.tensor, TensorRef):
            yield Bundle((None, place), entry.tensor, {})
