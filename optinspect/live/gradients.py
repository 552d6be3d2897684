"""The gradients that live parameters hold: None is not zeros.

gradients({key: tensor, …}, memory)     key → Gradient, read in one bounded pass
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal, TypeVar

from optinspect.live.composites import SHARD
from optinspect.live.memory import Memory
from optinspect.tensors import CompositeRef

if TYPE_CHECKING:
    import torch

    from optinspect.measurement import Bundle, Measured
    from optinspect.statistics import Statistics

K = TypeVar("K", bound=Hashable)
Kind = Literal["none", "zero", "dense", "sparse", "sharded", "not finite", "not read"]
SLOT = "grad"


@dataclass(frozen=True, slots=True)
class Gradient:
    """What `.grad` is.

    kind    none: None, so that an optimizer passes the parameter over; zero: there, and 0 in every element, so that
            momentum and weight decay still move it; sharded: a DTensor, of which this rank's part is looked at;
            not finite: holds NaN or Inf; not read: there, values not looked at
    rms     of all its elements (a sparse one's stored rows added up, zeros counted), finite ones only; of a sharded one
            those of this rank; None: not read
    reason  why a gradient was not read
    """

    kind: Kind
    rms: float | None = None
    reason: str | None = None


def gradients(tensors: Mapping[K, torch.Tensor], memory: Memory, *, values: bool = True) -> dict[K, Gradient]:
    """The gradient of every tensor. Without `values` nothing is read: what is there is "not read"."""
    from optinspect.measurement import measure  # noqa: PLC0415  numpy comes with the first value

    held = {key: gradient for key, tensor in tensors.items() if (gradient := grad_of(tensor)) is not None}
    found = {key: Gradient("none") for key in tensors if key not in held}
    if not values:
        return found | {key: Gradient("not read") for key in held}
    return found | {each.key: _gradient(held[each.key], each) for each in measure(_bundles(held, memory))}


def grad_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """`tensor.grad`; of a tensor that autograd keeps none for it is not asked (torch warns)."""
    return tensor.grad if tensor.is_leaf or tensor.retains_grad else None


def _bundles(held: Mapping[K, torch.Tensor], memory: Memory) -> Iterator[Bundle]:
    from optinspect.measurement import Bundle  # noqa: PLC0415

    for key, gradient in held.items():
        # a row may be stored in several parts
        ref = memory.ref(gradient.detach().coalesce() if is_sparse(gradient) else gradient)
        part = ref.parts.get("values" if is_sparse(gradient) else SHARD) if isinstance(ref, CompositeRef) else ref
        yield Bundle(key, None, {} if part is None else {SLOT: part})


def is_sparse(tensor: torch.Tensor) -> bool:
    return str(tensor.layout) == "torch.sparse_coo"


def _gradient(tensor: torch.Tensor, measured: Measured) -> Gradient:
    statistics = measured.statistics.get(SLOT)
    if statistics is None:
        return Gradient("not read", None, measured.problems.get(SLOT, f"a gradient of class {type(tensor).__name__}"))
    sharded = hasattr(tensor, SHARD)
    rms = _rms(statistics, statistics.count if sharded else tensor.numel())
    if statistics.nans or statistics.infs:
        return Gradient("not finite", rms)
    if statistics.zeros == statistics.count:
        return Gradient("zero", 0.0)
    return Gradient("sharded" if sharded else "sparse" if is_sparse(tensor) else "dense", rms)


def _rms(statistics: Statistics, numel: int) -> float | None:
    """Over all elements, stored or not, but those that are not finite."""
    finite = numel - statistics.nans - statistics.infs
    return None if statistics.norm is None or not finite else statistics.norm / sqrt(finite)
