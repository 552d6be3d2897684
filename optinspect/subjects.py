"""A parameter of an optimizer together with its name: what naming and the optimizer's state say of one index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from optinspect.checkpoint import Checkpoint, ParameterState, ParamGroup
from optinspect.naming.base import NamedParameter, Naming
from optinspect.optimizers import adam_terms
from optinspect.tensors import CompositeRef, TensorRef

if TYPE_CHECKING:  # numpy is not loaded where nothing is measured
    from optinspect.bundles import Bundle


@dataclass(frozen=True, slots=True)
class Subject:
    """One parameter of one optimizer with its name."""

    optimizer: int
    group: ParamGroup
    state: ParameterState
    named: NamedParameter

    @property
    def key(self) -> tuple[int, int]:
        return self.optimizer, self.state.index

    @property
    def label(self) -> str:
        """The name, or what stands in for it."""
        return self.named.name or f"index {self.state.index}"

    @property
    def weight(self) -> TensorRef | None:
        tensor = self.named.entry.tensor if self.named.entry else None
        return tensor if isinstance(tensor, TensorRef) else None

    @property
    def tensors(self) -> dict[str, TensorRef]:
        """State tensors by slot; those made of several come as "slot.part"."""
        found: dict[str, TensorRef] = {}
        for slot, tensor in self.state.tensors:
            if isinstance(tensor, CompositeRef):
                found.update((f"{slot}.{part}", ref) for part, ref in tensor.parts.items())
            else:
                found[slot] = tensor
        return found

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the weight; as the state shows it where the weight is not known."""
        return self.named.entry.shape if self.named.entry else self.state.shape

    @property
    def elements(self) -> int | None:
        """Of the weight; as the state shows it where the weight is not known."""
        return None if self.shape is None else prod(self.shape)


def subjects_of(checkpoint: Checkpoint, namings: Sequence[Naming]) -> Iterator[Subject]:
    """Every parameter of every optimizer, in index order."""
    for number, (optimizer, naming) in enumerate(zip(checkpoint.optimizers, namings, strict=True)):
        groups = {group.number: group for group in optimizer.groups}
        for state, named in zip(optimizer.parameters, naming.parameters, strict=True):
            yield Subject(number, groups[state.group], state, named)


def bundle_of(checkpoint: Checkpoint, subject: Subject) -> Bundle:
    """What is measured together of a parameter, under its key."""
    from optinspect.bundles import Bundle  # noqa: PLC0415

    families, tensors = checkpoint.optimizers[subject.optimizer].families, subject.tensors
    terms = adam_terms(families, tensors, subject.group.hyperparameters, subject.state.step)
    return Bundle(subject.key, subject.weight, tensors, terms)
