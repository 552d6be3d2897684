"""What a replay gives: a row a step, a row a parameter, and the tensors where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from optinspect.replaying.comparison import Apart

if TYPE_CHECKING:
    import torch

SourceKind = Literal["recorded", "model", "synthetic", "zero", "demo"]


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step over all parameters.

    step                the count after it
    lr                  one a group
    bias_correction1/2  1 − β^t; None where parameters have different counts or β, or the rule has none
    loss                before the step, under the first implementation; None without a model
    gradient_norm       L2 over all parameters that had a gradient; update_norm: of what the rule changed
    apart               the weights of the two after it; bit_equal speaks of their moments too
    """

    step: int
    lr: tuple[float, ...]
    bias_correction1: float | None
    bias_correction2: float | None
    loss: float | None
    gradient_norm: float
    update_norm: float
    apart: Apart
    moved: int
    """Parameters that had a gradient."""


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One parameter over all steps: how far it moved, how far apart the two came at most."""

    index: int
    name: str
    shape: tuple[int, ...]
    update_norm: float
    weight_norm: float
    """L2 of the weight before the first step."""
    apart: Apart

    @property
    def update_ratio(self) -> float | None:
        return self.update_norm / self.weight_norm if self.weight_norm else None


@dataclass(frozen=True, slots=True)
class Final:
    """A parameter after the last step under the file's rule: its weight, and its state as torch.optim names it.

    taken  steps that it took: those for which it had a gradient
    """

    name: str
    weight: torch.Tensor
    state: Mapping[str, torch.Tensor]
    taken: int


@dataclass(frozen=True)
class Replayed:
    """The answer of a replay.

    skipped   (parameter, reason) of what could not be stepped
    notes     what was assumed, in words
    finals    by index over all groups; empty unless asked for
    """

    source: SourceKind
    rule: str
    against: str
    steps: tuple[StepRow, ...]
    parameters: tuple[ParameterRow, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    finals: Mapping[int, Final] = field(default_factory=dict)

    @property
    def apart(self) -> Apart:
        return sum((row.apart for row in self.steps), Apart())

    @property
    def bit_equal(self) -> bool:
        return self.apart.bit_equal
