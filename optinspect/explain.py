"""The last step of one parameter, worked out element by element from what a checkpoint holds; or its next step.

    part ──explain──▶ Explained{terms of one element, what dominates it, distributions over all elements}

Pure arithmetic in float64; tensors are read block by block, so memory does not grow with the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np

from optinspect.blocks import BLOCK, read_range
from optinspect.explain_rules import Explanation
from optinspect.explain_terms import Doubles, Given, Sheet, Term
from optinspect.histograms import Counts, exponents, merged
from optinspect.optimizers.rules.settings import Settings
from optinspect.tensors import TensorRef

Source = Literal["last", "zero", "synthetic"]
"""Which step: the last one, or the next one with a gradient of zero or one drawn from what the moments describe."""

QUANTITIES: tuple[tuple[str, str], ...] = (
    ("|m|", "size of the average gradient, per element"),
    ("√v", "usual size of a gradient, before bias correction"),
    ("|m̂|/√v̂", "how far the gradients agree: 1 all one way, near 0 they cancel"),
    ("|b|", "size of the running sum of gradients, per element"),
    ("|Δθ|", "how far the step moves an element"),
    ("|Δθ|/|θ|", "the same, of the weight's own size"),
)


@dataclass(frozen=True)
class Part:
    """A parameter as a file holds it.

    weight   None where it is not known; slots: of its shape, under torch.optim's names; scalars: mu_product
    step     completed updates; settings: with the lr of the step that is worked out
    """

    explanation: Explanation
    settings: Settings
    step: float
    shape: tuple[int, ...]
    weight: TensorRef | None
    slots: Mapping[str, TensorRef]
    scalars: Mapping[str, float]

    @property
    def complex(self) -> bool:
        """Real and imaginary parts move apart: elements have one index more, 0 or 1."""
        return any(tensor.dtype.kind == "complex" for tensor in (self.weight, *self.slots.values()) if tensor)

    @property
    def element_shape(self) -> tuple[int, ...]:
        return (*self.shape, 2) if self.complex else self.shape


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of one quantity: `count` elements, of which `zeros` are 0 and `not_finite` have no value (0/0, NaN)."""

    quantity: str
    meaning: str
    count: int = 0
    zeros: int = 0
    not_finite: int = 0
    min: float | None = None
    max: float | None = None
    histogram: Counts = field(default_factory=dict)

    def with_block(self, values: Doubles) -> Distribution:
        """Together with a block of values ≥ 0."""
        good = np.ascontiguousarray(values[np.isfinite(values)])
        low, high = (float(good.min()), float(good.max())) if good.size else (self.min, self.max)
        return Distribution(
            self.quantity,
            self.meaning,
            self.count + values.size,
            self.zeros + int(np.count_nonzero(good == 0)),
            self.not_finite + values.size - good.size,
            low if self.min is None or (low is not None and low < self.min) else self.min,
            high if self.max is None or (high is not None and high > self.max) else self.max,
            merged(self.histogram, exponents(good)),
        )


@dataclass(frozen=True)
class Explained:
    """terms: of the element `at`, the values plain numbers; step: the number of the step that was worked out."""

    at: tuple[int, ...]
    step: float
    terms: tuple[Term, ...]
    distributions: tuple[Distribution, ...]

    @property
    def values(self) -> dict[str, float]:
        return {term.symbol: float(term.value) for term in self.terms}


def explain(
    part: Part,
    *,
    at: tuple[int, ...] | None = None,
    source: Source = "last",
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Explained:
    """Work out one step of `part`, which has at least one element.

    at        the element; None: the one that the step moves furthest (the first of equals; any that is finite goes
              before one that is not)
    source    with "synthetic", g ~ N(m̂, max(v̂ − m̂², 0)) by numpy's PCG64 from `seed`, in row-major order
    progress  called with the number of elements just done

    Raises what reading the tensors raises.
    """
    shape = part.element_shape
    wanted = None if at is None else int(np.ravel_multi_index(at, shape)) if shape else 0
    found: dict[str, Distribution] = {}
    best, top, kept = 0, -1.0, None
    random = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        for start, stop in _ranges(prod(shape)):
            noise = random.standard_normal(stop - start) if source == "synthetic" else None
            sheet = worked(part, start, stop, source, noise)
            delta = np.abs(_array(sheet.values["Δθ"], stop - start))
            place = int(np.argmax(np.where(np.isfinite(delta), delta, -0.5))) if wanted is None else wanted - start
            if 0 <= place < stop - start and (wanted is not None or delta[place] > top or kept is None):
                best, top = start + place, float(np.nan_to_num(delta[place], nan=-0.5))
                kept = sheet, place
            for quantity, values in _quantities(sheet, stop - start):
                known = found.get(quantity) or Distribution(quantity, dict(QUANTITIES)[quantity])
                found[quantity] = known.with_block(values)
            if progress is not None:
                progress(stop - start)
    if kept is None:
        raise AssertionError("a part without elements")
    terms = tuple(_of_element(term, kept[1]) for term in kept[0].terms)
    ordered = tuple(found[quantity] for quantity, _ in QUANTITIES if quantity in found)
    return Explained(tuple(map(int, np.unravel_index(best, shape))), _number(part, source), terms, ordered)


def worked(part: Part, start: int, stop: int, source: Source, noise: Doubles | None = None) -> Sheet:
    """The sheet of elements [start, stop) in row-major order, every value an array or one number for all."""
    slots = {name: _floats(tensor, start, stop) for name, tensor in part.slots.items()}
    theta = None if part.weight is None else _floats(part.weight, start, stop)
    gradient = _gradient(part, slots, stop - start, source, noise)
    number = _number(part, source)
    sheet = Sheet()
    given = Given(theta, slots, part.scalars, part.settings, number, gradient, drawn=source == "synthetic")
    part.explanation.write(sheet, given)
    return sheet


def _number(part: Part, source: Source) -> float:
    return part.step if source == "last" else part.step + 1


def _gradient(part: Part, slots: Mapping[str, Doubles], size: int, source: Source, noise: Any) -> Doubles | None:
    if source == "last":
        return None
    if source == "zero":
        return np.zeros(size)
    s = part.settings
    mean = slots["exp_avg"] / (1 - s.beta1**part.step)
    square = slots["exp_avg_sq"] / (1 - s.beta2**part.step)
    drawn: Doubles = mean + np.sqrt(np.maximum(square - mean * mean, 0)) * noise
    return drawn


def _quantities(sheet: Sheet, size: int) -> Iterator[tuple[str, Doubles]]:
    values = {symbol: _array(value, size) for symbol, value in sheet.values.items() if symbol in _NEEDED}
    if "m" in values:
        yield "|m|", np.abs(values["m"])
        yield "√v", np.sqrt(values["v"])
        yield "|m̂|/√v̂", np.abs(values["m̂"]) / values["√v̂"]
    if "b" in values:
        yield "|b|", np.abs(values["b"])
    yield "|Δθ|", np.abs(values["Δθ"])
    if "θ" in values:
        yield "|Δθ|/|θ|", np.abs(values["Δθ"]) / np.abs(values["θ"])


_NEEDED = frozenset({"m", "v", "m̂", "√v̂", "b", "Δθ", "θ"})


def _of_element(term: Term, place: int) -> Term:
    value = term.value
    return Term(
        term.symbol, term.meaning, term.formula, float(value[place] if isinstance(value, np.ndarray) else value)
    )


def _array(value: Any, size: int) -> Doubles:
    return np.broadcast_to(np.asarray(value, np.float64), (size,))


def _ranges(elements: int) -> Iterator[tuple[int, int]]:
    for start in range(0, elements, BLOCK):
        yield start, min(start + BLOCK, elements)


def _floats(tensor: TensorRef, start: int, stop: int) -> Doubles:
    """Elements as float64, of memory of their own; a complex one counts as two. `start` is even for complex ones."""
    if tensor.dtype.kind != "complex":
        return read_range(tensor, start, stop).astype(np.float64)
    values = read_range(tensor, start // 2, -(-stop // 2))
    pairs: Doubles = np.ascontiguousarray(values, np.complex128).view(np.float64)
    return pairs[: stop - start]
