"""Are a model's gradients right? Backpropagation against differences of the loss, at random coordinates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optinspect.errors import Undecidable
from optinspect.replaying.training import Live

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-5
"""Largest relative error that passes. A gradient with one wrong factor is off by 1e-1 and more; the bigram model's was
2.4e-6 at the worst of 40 coordinates a parameter, over 10 seeds."""
STEP = 6e-6
"""h of the differences, times max(1, |x|): the cube root of float64's roundoff, where the two errors balance."""
FLOOR = 1e-3
"""Gradients smaller than this part of the parameter's largest are compared with that."""
ROUNDOFF = 2.2e-16


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One element of one parameter: its gradient both ways, and how far they are apart."""

    name: str
    position: tuple[int, ...]
    analytic: float
    numeric: float
    relative_error: float


def check_gradients(live: Live, batch: Any, count: int, seed: int = 0) -> tuple[Coordinate, ...]:
    """`count` random coordinates of every parameter that has a gradient, in float64: (f(x+h) − f(x−h)) / 2h.

    The model and floating tensors of the batch are copied to float64; random numbers (dropout) are the same in every
    pass. relative_error: |analytic − numeric| / max(both, FLOOR · the parameter's largest gradient, what the loss' own
    rounding lets a difference resolve).
    Raises Undecidable where the loss is not finite.
    """
    import torch  # noqa: PLC0415

    module = copy.deepcopy(live.module).double()
    batch = _doubled(batch)
    random = torch.get_rng_state()
    loss = live.loss(module, batch)
    if not bool(torch.isfinite(loss)):
        raise Undecidable(f"--check-gradients: the loss is {float(loss):g} (expected a finite one)")
    module.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    source = torch.Generator().manual_seed(seed)
    resolved = 2 / TOLERANCE * ROUNDOFF * abs(float(loss.detach())) / STEP

    def evaluate() -> float:
        torch.set_rng_state(random)
        with torch.no_grad():
            return float(live.loss(module, batch))

    return tuple(
        coordinate
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and parameter.numel()
        for coordinate in _coordinates(name, parameter, (count, source, resolved), evaluate)
    )


def _coordinates(
    name: str, parameter: torch.Tensor, how: tuple[int, torch.Generator, float], evaluate: Callable[[], float]
) -> Iterator[Coordinate]:
    import torch  # noqa: PLC0415

    gradient = parameter.grad
    if gradient is None:
        return
    count, source, resolved = how
    floor = max(FLOOR * float(gradient.abs().max()), resolved)
    values = parameter.detach()
    for place in torch.randperm(values.numel(), generator=source)[:count].tolist():
        position = tuple(int(axis) for axis in torch.unravel_index(torch.tensor(place), values.shape))
        held, analytic = float(values[position]), float(gradient[position])
        h = STEP * max(1.0, abs(held))
        values[position] = held + h
        above = evaluate()
        values[position] = held - h
        below = evaluate()
        values[position] = held
        numeric = (above - below) / (2 * h)
        scale = max(abs(analytic), abs(numeric), floor)
        yield Coordinate(name, position, analytic, numeric, abs(analytic - numeric) / scale)


def _doubled(batch: Any) -> Any:
    """Floating tensors as float64, wherever they lie in dicts and sequences."""
    import torch  # noqa: PLC0415

    if isinstance(batch, torch.Tensor):
        return batch.double() if batch.is_floating_point() else batch
    if isinstance(batch, dict):
        return {key: _doubled(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(map(_doubled, batch)) if type(batch) in (list, tuple) else batch
    return batch
