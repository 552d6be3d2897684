"""A tensor whose parts lie in several places, read as if it were one: shards of a rank, slices of a flat buffer.

    Assembled ── Piece ── Bytes     a piece: one or more runs of the whole, equally long, adjacent in its source

Nothing is joined in memory beyond what one read asks for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from math import prod

from optinspect.errors import TruncatedCheckpoint
from optinspect.tensors import Bytes

STEP = 1 << 20
"""Bytes of runs that are read at once; runs of a column shard are far smaller."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`data` from `offset` on holds runs of `run` bytes, which belong at `starts` (ascending) in the whole."""

    data: Bytes
    offset: int
    run: int
    starts: Sequence[int]

    @property
    def end(self) -> int:
        return self.starts[-1] + self.run

    @property
    def size(self) -> int:
        return self.run * len(self.starts)


def box(data: Bytes, shape: Sequence[int], itemsize: int, offsets: Sequence[int], sizes: Sequence[int]) -> Piece:
    """The part of a row-major tensor of `shape` that begins at `offsets` and has `sizes`; `data` has it row-major."""
    inner = len(shape)
    while inner and sizes[inner - 1] == shape[inner - 1]:
        inner -= 1
    # Up to dimension inner − 1 the box is cut; from there on its elements lie side by side in the whole too.
    cut = max(inner - 1, 0)
    strides = [prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape))]
    first = sum(offset * stride for offset, stride in zip(offsets, strides, strict=True))
    run = prod(sizes[cut:]) * itemsize
    starts: Sequence[int] = range(first, first + 1)
    if cut == 1:
        starts = range(first, first + sizes[0] * strides[0], strides[0])
    elif cut:
        outer = product(*(range(0, size * stride, stride) for size, stride in zip(sizes[:cut], strides, strict=False)))
        starts = array("q", (first + sum(steps) for steps in outer))
    return Piece(data, 0, run, starts)


def flat(data: Bytes, offset: int, size: int, start: int) -> Piece:
    """`size` bytes of `data` from `offset`, which belong at `start`."""
    return Piece(data, offset, size, range(start, start + 1))


class Assembled:
    """`size` bytes out of pieces that cover them; where they do not, reading raises TruncatedCheckpoint."""

    def __init__(self, size: int, pieces: Iterable[Piece]) -> None:
        held = sorted((piece for piece in pieces if piece.run and len(piece.starts)), key=lambda piece: piece.starts[0])
        self._size = size
        self._pieces = held
        self._firsts = [piece.starts[0] for piece in held]
        self._reach = list(accumulate((piece.end for piece in held), max))
        self.covered = sum(piece.size for piece in held)

    @property
    def size(self) -> int:
        return self._size

    @property
    def whole(self) -> bool:
        """Whether as many bytes are there as there should be."""
        return self.covered == self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`. Raises what the pieces raise."""
        view = buffer.cast("B")
        end, done = offset + len(view), 0
        low = bisect_right(self._reach, offset)
        for piece in self._pieces[low : bisect_left(self._firsts, end)]:
            done += _copy(piece, offset, view)
        if done != len(view):
            raise TruncatedCheckpoint(f"{len(view) - done:,} of {len(view):,} bytes are in no shard")


def _copy(piece: Piece, offset: int, view: memoryview) -> int:
    """The part of `view` (which begins at `offset`) that the piece has; how many bytes that is."""
    end = offset + len(view)
    first = max(bisect_right(piece.starts, offset) - 1, 0)
    last = bisect_left(piece.starts, end)
    done = 0
    many = max(STEP // piece.run, 1)
    while first < last:
        count = min(many, last - first)
        done += _runs(piece, first, count, offset, view)
        first += count
    return done


def _runs(piece: Piece, first: int, count: int, offset: int, view: memoryview) -> int:
    """Runs [first, first + count): one by itself straight into the view, several through one read."""
    end = offset + len(view)
    if count == 1:
        start = piece.starts[first]
        low, high = max(start, offset), min(start + piece.run, end)
        if low < high:
            piece.data.read_into(piece.offset + first * piece.run + low - start, view[low - offset : high - offset])
        return max(high - low, 0)
    held = memoryview(bytearray(count * piece.run))
    piece.data.read_into(piece.offset + first * piece.run, held)
    done = 0
    for number in range(count):
        start = piece.starts[first + number]
        low, high = max(start, offset), min(start + piece.run, end)
        if low < high:
            at = number * piece.run + low - start
            view[low - offset : high - offset] = held[at : at + high - low]
            done += high - low
    return done
