"""What the rules on values want to know beyond statistics, seen in the same pass: an `extra` of measurement."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from optinspect.bundles import Bundle, Extra, Slot
from optinspect.checks.bounds import ULP, Standard
from optinspect.decoding import Array

HALF_ULP: Mapping[str, float] = {name: ULP[name] / 2 for name in ("bfloat16", "float16")}
"""Of 1.0: an update below this part of a weight leaves it where it is, by and large."""
PEEK = 256
MOST = 1 << 14
"""Elements of a block that are looked at again in float64."""


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


def look(known: Mapping[object, Standard]) -> Extra:
    """The `extra` that fills Peculiar."""

    def extra(bundle: Bundle, blocks: Mapping[Slot, Array]) -> Peculiar:
        standard = known.get(bundle.key)
        v, top = blocks.get("exp_avg_sq"), blocks.get("max_exp_avg_sq")
        impossible, ratio = 0, 0.0
        if standard is not None and standard.mean in blocks and standard.square in blocks:
            impossible, ratio = _impossible(blocks[standard.mean], blocks[standard.square], standard)
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
