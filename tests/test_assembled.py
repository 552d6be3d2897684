"""Tensors put together from parts, against numpy: any boxes, any range of bytes."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optinspect.containers.assembled import Assembled, Piece, box, flat
from optinspect.errors import TruncatedCheckpoint
from optinspect.tensors import MemoryBytes

Grid = tuple[tuple[int, ...], list[list[int]]]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """A shape, and along each axis the places where it is cut."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    cuts = [sorted(draw(st.sets(st.integers(1, max(size - 1, 1)), max_size=2)) - {size}) for size in shape]
    return shape, cuts


def pieces_of(whole: np.ndarray, cuts: list[list[int]]) -> list[Piece]:
    """Every cell of the grid as an array of its own."""
    edges = [[0, *cut, size] for cut, size in zip(cuts, whole.shape, strict=True)]
    spans = [list(pairwise(edge)) for edge in edges]
    found = []
    for cell in np.ndindex(*(len(span) for span in spans)):
        ranges = [span[i] for span, i in zip(spans, cell, strict=True)]
        part = np.ascontiguousarray(whole[tuple(slice(a, b) for a, b in ranges)])
        offsets, sizes = [a for a, _ in ranges], [b - a for a, b in ranges]
        found.append(box(MemoryBytes(part.tobytes()), whole.shape, whole.itemsize, offsets, sizes))
    return found


@given(grids(), st.data())
def test_any_grid_of_boxes_reads_as_the_whole(grid: Grid, data: st.DataObject) -> None:
    shape, cuts = grid
    whole = np.arange(prod(shape), dtype="<i4").reshape(shape)
    made = Assembled(whole.nbytes, pieces_of(whole, cuts))
    assert made.whole
    start = data.draw(st.integers(0, whole.nbytes))
    stop = data.draw(st.integers(start, whole.nbytes))
    buffer = bytearray(stop - start)
    made.read_into(start, memoryview(buffer))
    assert bytes(buffer) == whole.tobytes()[start:stop]


def test_what_no_piece_has_is_never_made_up() -> None:
    made = Assembled(10, [flat(MemoryBytes(b"abc"), 0, 3, 0), flat(MemoryBytes(b"xyz"), 1, 2, 8)])
    assert not made.whole
    buffer = bytearray(3)
    made.read_into(0, memoryview(buffer))
    assert bytes(buffer) == b"abc"
    with pytest.raises(TruncatedCheckpoint, match="2 of 4 bytes are in no shard"):
        made.read_into(1, memoryview(bytearray(4)))


def test_many_small_runs_are_read_at_once() -> None:
    """A column shard of a large matrix: one read for many rows, not one a row."""
    reads = []

    class Counted(MemoryBytes):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            reads.append(len(buffer))
            super().read_into(offset, buffer)

    whole = np.arange(4096 * 8, dtype="<f4").reshape(4096, 8)
    left, right = (Counted(np.ascontiguousarray(half).tobytes()) for half in (whole[:, :3], whole[:, 3:]))
    made = Assembled(
        whole.nbytes, [box(left, (4096, 8), 4, (0, 0), (4096, 3)), box(right, (4096, 8), 4, (0, 3), (4096, 5))]
    )
    buffer = bytearray(whole.nbytes)
    made.read_into(0, memoryview(buffer))
    assert bytes(buffer) == whole.tobytes()
    assert len(reads) == 2
