"""Whether a parameter's tensors differ between the files at all, and whether its weights have lost bits: mostly decided
by the first few elements of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from optinspect.bundles import Slot
from optinspect.decoding import Array
from optinspect.proof.pairing import Weight

WEIGHT_A, WEIGHT_B = "a:weight", "b:weight"

FIRST = 4096
"""Elements looked at before the whole block is."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Numbers of elements, of which only 0 is exact: counting stops where there is something to count.

    weights, state   of other values in B; lasting: of the state in B, not 0
    singles, fine    of float32 weights in B: not 0; not held by bfloat16
    """

    elements: int = 0
    weights: int = 0
    state: int = 0
    singles: int = 0
    fine: int = 0
    lasting: int = 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            self.elements + other.elements,
            self.weights + other.weights,
            self.state + other.state,
            self.singles + other.singles,
            self.fine + other.fine,
            self.lasting + other.lasting,
        )


def changes(blocks: Mapping[Slot, Array], weight: Weight | None) -> Changes:
    """Of blocks by "a:slot" and "b:slot". Any NaN equals any other, 0 equals −0."""
    weights = state = singles = fine = lasting = 0
    for slot, block in blocks.items():
        if slot is None or slot[:2] != "b:":
            continue
        twin = blocks.get("a:" + slot[2:])
        apart = block.size if twin is None else _some(_differing, twin, block)
        if slot != WEIGHT_B:
            state += apart
            lasting += _some(np.count_nonzero, block)
            continue
        weights = apart
        if weight is not None and weight.b.dtype.name == "float32":
            singles, fine = _some(np.count_nonzero, block), _some(_fine, block)
    return Changes(next(iter(blocks.values())).size, weights, state, singles, fine, lasting)


def _some(count: Callable[..., int], *blocks: Array) -> int:
    found = int(count(*(block[:FIRST] for block in blocks)))
    return found or int(count(*blocks))


def _differing(a: Array, b: Array) -> int:
    count = int(np.count_nonzero(a != b))
    return count - int(np.count_nonzero(np.isnan(a) & np.isnan(b))) if count else 0


def _fine(block: Array) -> int:
    """float32 whose lower 16 bits bfloat16 lacks."""
    return int(np.count_nonzero(block.view(np.uint32) & np.uint32(0xFFFF)))
