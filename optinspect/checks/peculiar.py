"""What the rules on values want to know beyond statistics, seen in the same pass: an `extra` of measurement.

    impossible pair   m² > C(t)·(v + q/(1 − β2)),  C(t) = (1−β1)²/(1−β2)·(1−r^t)/(1−r),  r = β1²/β2

m exp_avg, v exp_avg_sq of one parameter from zero moments under constant β1, β2, whatever the gradients were;
q the smallest subnormal of v's dtype, t the parameter's own steps, ≥ 1. With r = 1 the last factor is t.
Source: the Cauchy–Schwarz inequality for Σ(1−β1)β1^(t−i)·g_i against Σ(1−β2)β2^(t−i)·g_i².
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from optinspect.bundles import Bundle, Extra, Slot
from optinspect.checkpoint import Checkpoint, ParamGroup
from optinspect.decoding import Array
from optinspect.subjects import Subject

STANDARD = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "FusedAdam"})
"""Optimizers whose two averages are the textbook's."""
TOLERANCE: Mapping[str, float] = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 5e-2, "float16": 2e-2}
"""By the coarser dtype of m and v. Excess measured on healthy runs: float32 1.7e-7 (1,000 steps), bfloat16 none after a
cast, whose rounding alone allows 2.4e-2."""
SUBNORMAL: Mapping[str, float] = {"float64": 4.9e-324, "float32": 1.4e-45, "bfloat16": 9.2e-41, "float16": 6.0e-8}
HALF_ULP: Mapping[str, float] = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
"""Of 1.0: an update below this part of a weight leaves it where it is, by and large."""
PEEK = 256
MOST = 1 << 14
"""Elements of a block that are looked at again in float64."""


@dataclass(frozen=True, slots=True)
class Standard:
    """How the bound is taken of one parameter."""

    bound: float
    floor: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Peculiar:
    """Counts that add.

    impossible  elements beyond the bound; ratio: the largest |m|/√(C·v) among them
    shrunk      elements with max_exp_avg_sq < exp_avg_sq
    rough       slot → float32 elements with a fraction that ends in 16 zero bits; fine: slot → blocks with others
    still       elements that the next update is too small to move; movable: elements looked at
    """

    impossible: int = 0
    ratio: float = 0.0
    shrunk: int = 0
    rough: Mapping[Slot, int] = field(default_factory=dict)
    fine: Mapping[Slot, int] = field(default_factory=dict)
    still: int = 0
    movable: int = 0

    def __add__(self, other: Peculiar) -> Peculiar:
        return Peculiar(
            self.impossible + other.impossible,
            max(self.ratio, other.ratio),
            self.shrunk + other.shrunk,
            _sum(self.rough, other.rough),
            _sum(self.fine, other.fine),
            self.still + other.still,
            self.movable + other.movable,
        )


def _sum(a: Mapping[Slot, int], b: Mapping[Slot, int]) -> Mapping[Slot, int]:
    return {slot: a.get(slot, 0) + b.get(slot, 0) for slot in (*a, *(key for key in b if key not in a))}


def standards(checkpoint: Checkpoint, subjects: Sequence[Subject]) -> Mapping[object, Standard]:
    """The bound of every parameter that has one."""
    found = ((each.key, _standard(checkpoint, each)) for each in subjects)
    return {key: standard for key, standard in found if standard is not None}


def _first_betas(checkpoint: Checkpoint, group: ParamGroup, now: float) -> tuple[float, float] | None:
    """The lowest and the highest β1 of the run. OneCycle and Cyclic schedules move it between two bounds that they
    leave in the groups; None where they move it and the bounds are not there.
    """
    bounds = [group.number_of(key) for key in ("base_momentum", "max_momentum")]
    known = [each for each in bounds if each is not None and 0 <= each < 1]
    moving = any(
        each.name in ("OneCycleLR", "CyclicLR") and isinstance(each.value, dict) and each.value.get("cycle_momentum")
        for each in checkpoint.schedulers
    )
    if len(known) == len(bounds):
        return min(now, *known), max(now, *known)
    return None if moving or any(each is not None for each in bounds) else (now, now)


def _standard(checkpoint: Checkpoint, subject: Subject) -> Standard | None:
    families = checkpoint.optimizers[subject.optimizer].families
    betas, t = subject.group.hyperparameters.get("betas"), subject.state.step
    m, v = subject.tensors.get("exp_avg"), subject.tensors.get("exp_avg_sq")
    if not families or not STANDARD.issuperset(families) or m is None or v is None or t is None or not 1 <= t < 1e15:
        return None
    if not isinstance(betas, list | tuple) or not all(isinstance(b, float | int) and 0 <= b < 1 for b in betas):
        return None
    coarse = max((m.dtype.name, v.dtype.name), key=lambda name: TOLERANCE.get(name, 9.0))
    if len(betas) != 2 or coarse not in TOLERANCE or v.dtype.name not in SUBNORMAL or m.shape != v.shape:
        return None
    first = _first_betas(checkpoint, subject.group, betas[0])
    floor = SUBNORMAL[v.dtype.name] / (1 - betas[1])
    return Standard(bound(first[1], betas[1], t, first[0]), floor, TOLERANCE[coarse]) if first is not None else None


def bound(beta1: float, beta2: float, t: float, lowest: float | None = None) -> float:
    """C(t): the largest m²/v that any gradients lead to.

    With β1 anywhere from `lowest` to beta1 at each step, a gradient weighs at most (1 − lowest)·beta1^(t−i) in m: the
    bound is weaker, of the same form.
    """
    ratio = beta1 * beta1 / beta2 if beta2 else (0.0 if not beta1 else float("inf"))
    if ratio == float("inf"):
        return ratio
    series = t if ratio == 1 else (1 - _power(ratio, t)) / (1 - ratio)
    return (1 - (beta1 if lowest is None else lowest)) ** 2 / (1 - beta2) * series


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return float("inf")


def look(known: Mapping[object, Standard]) -> Extra:
    """The `extra` that fills Peculiar."""

    def extra(bundle: Bundle, blocks: Mapping[Slot, Array]) -> Peculiar:
        standard = known.get(bundle.key)
        m, v, top = blocks.get("exp_avg"), blocks.get("exp_avg_sq"), blocks.get("max_exp_avg_sq")
        impossible, ratio = (0, 0.0) if standard is None or m is None or v is None else _impossible(m, v, standard)
        shrunk = 0 if v is None or top is None or v.dtype.kind != "f" else int(np.count_nonzero(top < v))
        fine, rough = dict[Slot, int](), dict[Slot, int]()
        for slot, count in _rough(bundle, blocks):
            if count is None:
                fine[slot] = 1
            else:
                rough[slot] = count
        still, movable = _still(bundle, blocks)
        return Peculiar(impossible, ratio, shrunk, rough, fine, still, movable)

    return extra


def _impossible(m: Array, v: Array, standard: Standard) -> tuple[int, float]:
    m, v = (np.ascontiguousarray(x).view(x.real.dtype) if x.dtype.kind == "c" else x for x in (m, v))
    if m.dtype.kind != "f" or v.dtype.kind != "f" or m.size != v.size:
        return 0, 0.0
    if m.dtype != v.dtype or m.dtype.itemsize < 4:
        wider = np.float64 if max(m.dtype.itemsize, v.dtype.itemsize) > 4 else np.float32
        m, v = m.astype(wider), v.astype(wider)
    limit = standard.bound * (1 + standard.tolerance)
    with np.errstate(all="ignore"):
        beyond = _scratch.beyond(m, v, limit, standard.floor * limit)
        if not beyond.any():
            return 0, 0.0
        return _checked(m[beyond], v[beyond], standard, limit)


def _checked(m: Array, v: Array, standard: Standard, limit: float) -> tuple[int, float]:
    """Elements that are beyond the bound in float64 too; of very many the first are looked at."""
    sure = max(m.size - MOST, 0)
    wide, square = m[:MOST].astype(np.float64) ** 2, v[:MOST].astype(np.float64)
    # -0.0 is no sum of squares: some encoding put it there, and how much it left out is not known.
    really = (wide > (square + standard.floor) * limit) & ~((square == 0) & np.signbit(square))
    worst = np.sqrt(wide[really] / (standard.bound * np.maximum(square[really], standard.floor)))
    return sure + int(np.count_nonzero(really)), float(worst.max(initial=0.0))


class _Scratch(threading.local):
    """Memory for one block, a thread: fresh pages cost more than the arithmetic."""

    def __init__(self) -> None:
        self._a = self._b = np.empty(0, np.float32)
        self._c = np.empty(0, np.bool_)

    def beyond(self, m: Array, v: Array, limit: float, floor: float) -> Array:
        """m² > limit·v + floor, elementwise; valid until the next call in this thread."""
        if self._a.size < m.size or self._a.dtype != m.dtype:
            self._a, self._b = np.empty_like(m), np.empty_like(m)
            self._c = np.empty(m.size, np.bool_)
        a, b, c = self._a[: m.size], self._b[: m.size], self._c[: m.size]
        np.multiply(m, m, out=a)
        np.multiply(v, m.dtype.type(limit), out=b)
        np.add(b, m.dtype.type(floor), out=b)
        return np.greater(a, b, out=c)


_scratch = _Scratch()


def _rough(bundle: Bundle, blocks: Mapping[Slot, Array]) -> Iterator[tuple[Slot, int | None]]:
    """Slot and how many of its float32 elements look rounded to bfloat16; None where some are finer."""
    for slot, block in blocks.items():
        tensor = bundle.weight if slot is None else bundle.slots[slot]
        if tensor is None or tensor.dtype.name != "float32" or not block.size:
            continue
        bits = block.view(np.uint32)
        if (bits[:PEEK] & 0xFFFF).any() or (bits & 0xFFFF).any():
            yield slot, None
        else:
            yield slot, int(np.count_nonzero(bits & 0x7F0000))


def _still(bundle: Bundle, blocks: Mapping[Slot, Array]) -> tuple[int, int]:
    """Elements of a bfloat16 or float16 weight whose next update is less than half of their last digit."""
    terms, weight = bundle.terms, blocks.get(None)
    half = HALF_ULP.get(bundle.weight.dtype.name) if bundle.weight is not None else None
    if terms is None or weight is None or half is None or terms.obstacle() is not None or not terms.lr:
        return 0, 0
    m, v = blocks.get(terms.m_slot), blocks.get(terms.v_slot)
    if m is None or v is None or not m.size == v.size == weight.size or weight.dtype.kind != "f":
        return 0, 0
    scale, root = terms.scales
    with np.errstate(all="ignore"):
        update = terms.lr * scale * np.abs(m.astype(np.float32)) / (np.sqrt(v.astype(np.float32)) * root + terms.eps)
        still = (update < half * np.abs(weight.astype(np.float32))) & (update > 0)
        return int(np.count_nonzero(still)), int(np.count_nonzero(update > 0))
