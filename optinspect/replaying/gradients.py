"""Where a replay from a checkpoint has its gradients from, one slab of one parameter after the other.

Recorded    what a Recorder wrote, or anybody in its format: the very gradients of a run
Described   drawn from the distribution that the moments describe; not the run's, and called synthetic
Zero        zeros: what momentum and decay still do alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from optinspect.errors import Undecidable
from optinspect.replaying.plan import Parameter, Plan
from optinspect.replaying.result import SourceKind

if TYPE_CHECKING:
    import torch

DEFAULT_STEPS = 10
NextGradient = Callable[[int], "torch.Tensor | None"]
"""Number of the step, from 0 → its gradient; None where there was none (the parameter then stays)."""


@dataclass(frozen=True, slots=True)
class Slab:
    """Elements [start, stop) of a parameter, counted as they lie in memory; `number` counts the parameter's slabs."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class Part:
    """A slab of a parameter with its weight and state before the first step; the tensors are not to be changed."""

    parameter: Parameter
    slab: Slab
    weight: torch.Tensor
    state: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Course:
    """What a source can give: `count` steps from `start` on, with the lr of each group where it knows it.

    idle  numbers of steps that the run did not take (a GradScaler skipped them)
    """

    start: int
    count: int
    lrs: Sequence[tuple[float, ...]] | None = None
    idle: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


class Gradients(Protocol):
    """A source of gradients."""

    @property
    def kind(self) -> SourceKind: ...

    def course(self, plan: Plan, steps: int | None) -> Course:
        """What there is for `steps` steps (None: all there are). Raises Undecidable where there is not enough."""
        ...

    def of(self, part: Part) -> NextGradient: ...


class Zero:
    """Gradients of zero."""

    kind: SourceKind = "zero"

    def course(self, plan: Plan, steps: int | None) -> Course:
        return Course(plan.steps, DEFAULT_STEPS if steps is None else steps)

    def of(self, part: Part) -> NextGradient:
        import torch  # noqa: PLC0415

        zeros = torch.zeros_like(part.weight)
        return lambda _step: zeros


class Described:
    """g ~ N(m̂, max(v̂ − m̂², 0)) elementwise, from the moments in the file; the same for the same seed.

    What the moments average is −g under maximize and g + wd·p under L2: that is taken off again. SGD keeps no second
    moment: g is then the mean that the buffer shows, b·(1−μ)/(1−τ). A parameter without state has no gradient.
    """

    kind: SourceKind = "synthetic"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def course(self, plan: Plan, steps: int | None) -> Course:
        if not any(_describes(parameter) for parameter in plan.parameters):
            raise Undecidable(
                "no state in this file describes gradients (expected exp_avg or momentum_buffer)",
                hint="--zero, or --grads FILE with recorded ones",
            )
        silent = sum(not _describes(parameter) for parameter in plan.parameters)
        notes = [f"{silent} parameters without state have no gradient and stay"] if silent else []
        if any("momentum_buffer" in parameter.slots for parameter in plan.parameters):
            notes.append("SGD keeps no second moment: each gradient is the mean that the momentum shows, without noise")
        return Course(plan.steps, DEFAULT_STEPS if steps is None else steps, notes=tuple(notes))

    def of(self, part: Part) -> NextGradient:
        parameter, weight = part.parameter, part.weight
        if not _describes(parameter):
            return lambda _step: None
        import torch  # noqa: PLC0415

        mean, deviation = _moments(parameter, part.state)
        bias = _decay_in_gradient(parameter, weight)

        def draw(step: int) -> torch.Tensor:
            source = torch.Generator().manual_seed(self._seed_of(parameter.name, step, part.slab.number))
            noise = torch.randn(mean.shape, generator=source, dtype=mean.dtype)
            found = torch.addcmul(mean, deviation, noise)
            found = torch.view_as_complex(found) if weight.is_complex() else found
            found = found - bias if bias is not None else found
            return (-found if parameter.settings.maximize else found).to(weight.dtype)

        return draw

    def _seed_of(self, name: str, step: int, slab: int) -> int:
        text = f"{self._seed}\0{name}\0{step}\0{slab}".encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=7).digest(), "little")


def _describes(parameter: Parameter) -> bool:
    held = parameter.slots.keys()
    return ({"exp_avg", "exp_avg_sq"} <= held and parameter.step >= 1) or "momentum_buffer" in held


def _moments(parameter: Parameter, state: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the gradient that the optimizer saw, as real numbers, float32 at least."""
    import torch  # noqa: PLC0415

    s, t = parameter.settings, parameter.step
    real = {name: torch.view_as_real(x) if x.is_complex() else x for name, x in state.items()}
    wide = {name: x.to(torch.promote_types(x.dtype, torch.float32)) for name, x in real.items()}
    if "exp_avg" not in wide:
        mean = wide["momentum_buffer"] * ((1 - s.momentum) / (1 - s.dampening) if s.dampening != 1 else 1.0)
        return mean, torch.zeros_like(mean)
    mean = wide["exp_avg"] / (1 - s.beta1**t)
    variance = (wide["exp_avg_sq"] / (1 - s.beta2**t)).addcmul_(mean, mean, value=-1.0)
    return mean, variance.clamp_(min=0.0).sqrt_()


def _decay_in_gradient(parameter: Parameter, weight: torch.Tensor) -> torch.Tensor | None:
    """wd·p where the rule adds it to the gradient; None where it does not."""
    s = parameter.settings
    as_l2 = parameter.rule.name in ("adam", "sgd") or (parameter.rule.name == "nadam" and not s.decoupled)
    return weight * s.weight_decay if as_l2 and s.weight_decay != 0 else None
