"""The figures of a replay, added up step by step over slabs and parameters that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING

from optinspect.optimizers.rules import Settings, StepRule
from optinspect.replaying.comparison import Apart, apart, same_bits
from optinspect.replaying.movers import Mover
from optinspect.replaying.result import ParameterRow, StepRow

if TYPE_CHECKING:
    import torch


@dataclass
class _Step:
    """Sums of one step: squares of the gradient and of the update, how far apart, (t, β1, β2) of what moved."""

    gradient: float = 0.0
    update: float = 0.0
    apart: Apart = field(default_factory=Apart)
    counts: set[tuple[float, float, float] | None] = field(default_factory=set)
    moved: int = 0
    loss: float | None = None


class ParameterTally:
    """Sums of one parameter over its slabs and steps."""

    def __init__(self, settings: Settings, rule: StepRule) -> None:
        self._settings, self._rule = settings, rule
        self._update = self._weight = 0.0
        self.apart = Apart()
        self.seen: set[int] = set()
        """Numbers of the steps for which there was a gradient."""

    def moved(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """From before the first step to after the last."""
        self._update += norm(after - before) ** 2
        self._weight += norm(before) ** 2

    def counts(self, mover: Mover) -> tuple[float, float, float] | None:
        if not self._rule.counts or "step" not in mover.state:
            return None
        return float(mover.state["step"]), self._settings.beta1, self._settings.beta2

    def row(self, index: int, name: str, shape: Sequence[int]) -> ParameterRow:
        return ParameterRow(index, name, tuple(shape), sqrt(self._update), sqrt(self._weight), self.apart)


class Tally:
    """Sums of every step."""

    def __init__(self, steps: int) -> None:
        self._steps = [_Step() for _ in range(steps)]

    def parameter(self, settings: Settings, rule: StepRule) -> ParameterTally:
        return ParameterTally(settings, rule)

    def take(
        self,
        parameter: ParameterTally,
        number: int,
        one: Mover,
        other: Mover,
        gradient: torch.Tensor | tuple[torch.Tensor, torch.Tensor] | None,
        lr: float,
    ) -> None:
        """Step both, and count what came of it. Two gradients where each had its own forward and backward pass."""
        step = self._steps[number]
        if gradient is not None:
            first, second = gradient if isinstance(gradient, tuple) else (gradient, gradient)
            before = one.weight.detach().clone()
            one.step(first, lr)
            other.step(second, lr)
            step.gradient += norm(first) ** 2
            step.update += norm(one.weight.detach() - before) ** 2
            step.counts.add(parameter.counts(one))
            if number not in parameter.seen:
                parameter.seen.add(number)
                step.moved += 1
        distance = _distance(one, other)
        step.apart += distance
        parameter.apart += distance

    def loss(self, number: int, value: float) -> None:
        self._steps[number].loss = value

    def rows(self, start: int, lrs: Sequence[tuple[float, ...]]) -> tuple[StepRow, ...]:
        return tuple(_row(step, start + number + 1, lrs[number]) for number, step in enumerate(self._steps))


def _row(step: _Step, number: int, lr: tuple[float, ...]) -> StepRow:
    (only,) = step.counts if len(step.counts) == 1 else (None,)
    first, second = (1 - only[1] ** only[0], 1 - only[2] ** only[0]) if only else (None, None)
    return StepRow(
        step=number,
        lr=lr,
        bias_correction1=first,
        bias_correction2=second,
        loss=step.loss,
        gradient_norm=sqrt(step.gradient),
        update_norm=sqrt(step.update),
        apart=step.apart,
        moved=step.moved,
    )


def _distance(one: Mover, other: Mover) -> Apart:
    """Of the weights; bit_equal only where the slots that both keep are too."""
    weights = apart(one.weight, other.weight)
    shared = [name for name in one.state if name in other.state]
    if weights.bit_equal and not all(same_bits(one.state[name], other.state[name]) for name in shared):
        return Apart(weights.max_abs, weights.max_ulps, False)
    return weights


def norm(x: torch.Tensor) -> float:
    """L2 in float64."""
    import torch  # noqa: PLC0415

    x = torch.view_as_real(x) if x.is_complex() else x
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))
