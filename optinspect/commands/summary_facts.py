"""What `summary` knows beside the facts of `show`: the objects themselves, and the gradients that they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optinspect.commands.facts import Facts, Subject
from optinspect.live.gradients import Gradient, gradients
from optinspect.live.snapshot import Snapshot
from optinspect.tensors import AnyTensor

if TYPE_CHECKING:
    import torch

MARKS = ("_wrapped_by_lr_sched", "_with_counter")
"""What torch's schedulers leave on the step that they wrap: from torch 2.5 on, and before."""

Place = int | str
"""Index of a parameter of the optimizer; name of a tensor of the model that is in no group."""


@dataclass(frozen=True)
class Live:
    """Facts with the tensors and gradients behind them. `loose`: the model's parameters in no group, as selected."""

    facts: Facts
    shot: Snapshot
    gradients: Mapping[Place, Gradient]
    loose: tuple[str, ...]

    @property
    def optimizer(self) -> Any:
        return self.shot.members.optimizer

    @property
    def has_model(self) -> bool:
        return self.shot.members.model is not None

    @property
    def driven(self) -> bool:
        """A scheduler was given, or one of torch's has wrapped the optimizer's step (all but ReduceLROnPlateau do)."""
        inner = getattr(self.optimizer, "optimizer", None)  # of a wrapper
        steps = [getattr(each, "step", None) for each in (self.optimizer, inner)]
        wrapped = any(hasattr(step, mark) for step in steps for mark in MARKS)
        return wrapped or bool(self.facts.checkpoint.schedulers)

    def tensor(self, place: Place) -> torch.Tensor:
        return self.shot.members.parameters[place].tensor if isinstance(place, int) else self.shot.tensors[place]

    def ref(self, subject: Subject) -> AnyTensor:
        """The parameter as a description."""
        return self.shot.memory.ref(self.tensor(subject.state.index))

    def trains(self, subject: Subject) -> bool:
        return self.tensor(subject.state.index).requires_grad

    def gradient(self, subject: Subject) -> Gradient:
        return self.gradients[subject.state.index]

    @property
    def strangers(self) -> Sequence[Subject]:
        """Parameters of the optimizer that the model does not have; none without a model."""
        return [one for one in self.facts.subjects if self.has_model and one.named.evidence != "live"]


def look(facts: Facts, shot: Snapshot) -> Live:
    """The gradients of what was selected, with their values where statistics are wanted."""
    loose = tuple(_loose(facts))
    places: dict[Place, torch.Tensor] = {
        subject.state.index: shot.members.parameters[subject.state.index].tensor for subject in facts.subjects
    }
    places |= {name: shot.tensors[name] for name in loose}
    found = gradients(places, shot.memory, values=facts.measured is not None)
    return Live(facts, shot, found, loose)


def _loose(facts: Facts) -> Iterator[str]:
    for _, entry, kind in facts.spare:
        if kind.startswith("parameter"):
            yield entry.name
