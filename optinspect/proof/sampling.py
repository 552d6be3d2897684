"""A bounded sample of every tensor, at the same elements of all tensors of one shape.

What a full pass will have to confirm is looked for here: which rules can fit, whose state is whose, which betas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from optinspect.blocks import read_range
from optinspect.proof.pairing import Parameter, State, Weight
from optinspect.proof.precision import PRECISIONS, Doubles, Precision, coarsest
from optinspect.proof.recovery import Moments
from optinspect.tensors import TensorRef

LARGEST = 4096
LEAST = 64
BUDGET = 1 << 22
"""Elements of all samples together: 32 MB."""
RUN = 256
"""Neighbouring elements that are read at once."""

Runs = tuple[tuple[int, int], ...]


def size_for(tensors: int) -> int:
    return max(min(BUDGET // max(tensors, 1), LARGEST), LEAST)


def runs_of(numel: int, size: int) -> Runs:
    """Evenly spread ranges of at most RUN elements, about `size` in all; everything where that is as much."""
    if numel <= size:
        return ((0, numel),)
    length = min(RUN, size)
    count = size // length
    starts = [(numel - length) * place // max(count - 1, 1) for place in range(count)]
    return tuple((start, start + length) for start in starts)


def values(tensor: TensorRef, runs: Runs) -> Doubles:
    """The elements in these ranges of the row-major order: 1-d float64, complex ones as pairs."""
    return np.concatenate([as_doubles(read_range(tensor, *run)) for run in runs])


def as_doubles(block: np.ndarray) -> Doubles:
    """1-d float64; complex numbers as their real and imaginary parts."""
    real = block.view(block.real.dtype) if block.dtype.kind == "c" else block
    return real.astype(np.float64)


@dataclass(frozen=True, eq=False)
class StateSample:
    """Of one parameter's slots before and after, scalars among the latter; roundoff: of its coarsest slot."""

    parameter: Parameter
    before: Mapping[str, Doubles]
    after: Mapping[str, Doubles]
    moments: Moments | None
    roundoff: float


@dataclass(frozen=True, eq=False)
class WeightSample:
    weight: Weight
    a: Doubles
    b: Doubles
    precision: Precision


class Samples:
    """Samples of parameters and of all weights of their shapes. Raises what reading raises."""

    def __init__(self, parameters: Iterable[Parameter], weights: Mapping[tuple[int, ...], tuple[Weight, ...]]) -> None:
        every = [p for p in parameters if p.shape is not None]
        shapes = dict.fromkeys(p.shape for p in every if p.shape is not None)
        tensors = sum(len(p.a.slots) + len(p.b.slots) for p in every)
        tensors += sum(2 * len(weights.get(shape, ())) for shape in shapes)
        size = size_for(tensors)
        runs = {shape: runs_of(int(np.prod(shape, dtype=np.int64)), size) for shape in shapes}
        self.states = {p.index: _state(p, runs[p.shape]) for p in every if p.shape is not None}
        self.weights = {
            shape: tuple(_weight(weight, runs[shape]) for weight in weights.get(shape, ())) for shape in shapes
        }
        self.by_place = {each.weight.place: each for found in self.weights.values() for each in found}


def _state(parameter: Parameter, runs: Runs) -> StateSample:
    before = {name: values(tensor, runs) for name, tensor in parameter.a.slots.items()}
    after = {name: values(tensor, runs) for name, tensor in parameter.b.slots.items()}
    after.update({name: np.asarray(number) for name, number in parameter.b.scalars.items()})
    return StateSample(parameter, before, after, Moments.of(parameter.b), slot_roundoff(parameter.a, parameter.b))


def slot_roundoff(*states: State) -> float:
    return coarsest(tensor.dtype for state in states for tensor in state.slots.values()).roundoff


def _weight(weight: Weight, runs: Runs) -> WeightSample:
    return WeightSample(weight, values(weight.a, runs), values(weight.b, runs), PRECISIONS[weight.a.dtype.name])
