"""Parameters cut out of ZeRO's flat buffers: which bytes of which rank are whose, without joining anything.

stage 1, 2   the ranks' buffers one after another hold the parameters one after another; a parameter may lie on two
stage 3      every parameter is split over all ranks: each has ceil(n / ranks) elements of it, the last padded
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from optinspect.containers.assembled import Assembled, Piece, flat
from optinspect.containers.geometry import contiguous
from optinspect.containers.raw import elements_of
from optinspect.tensors import DType, Storage, TensorRef

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """A parameter's elements in the buffers. `start`: over all ranks (stage 1, 2) or in each rank's own."""

    shape: Shape
    start: int
    share: int
    """Elements on each rank (stage 3); 0 where they lie one after another."""

    @property
    def numel(self) -> int:
        return prod(self.shape)


def spots(shapes: Mapping[str, Shape], ranks: int, *, split: bool) -> dict[str, Spot]:
    """name → where it lies, in the order of the buffer. `split`: stage 3."""
    found: dict[str, Spot] = {}
    start = 0
    for name, shape in shapes.items():
        share = -(-prod(shape) // ranks) if split else 0
        found[name] = Spot(shape, start, share)
        start += share if split else prod(shape)
    return found


@dataclass(frozen=True)
class Buffers:
    """One flat buffer of every rank. `stride`: elements of a rank's part (stage 1, 2)."""

    label: str
    ranks: Sequence[TensorRef | None]
    dtype: DType
    stride: int

    @classmethod
    def of(cls, label: str, ranks: Sequence[TensorRef | None], stride: int = 0) -> Buffers | None:
        """None where no rank has one."""
        held = [tensor for tensor in ranks if tensor is not None]
        if not held:
            return None
        return cls(label, ranks, held[0].dtype, stride or max(tensor.numel for tensor in held))

    def cut(self, name: str, spot: Spot) -> TensorRef:
        """The parameter as one tensor. With a problem where a rank's part is missing or too short."""
        problem = self._problem(spot)
        size = spot.numel * self.dtype.itemsize
        data = Cut(self, spot, size) if problem is None else None
        storage = Storage(f"{name}: {self.label}", self.dtype, size, "cpu", data, problem=problem)
        return TensorRef(self.dtype, spot.shape, contiguous(spot.shape), 0, storage, problem=problem)

    def _problem(self, spot: Spot) -> str | None:
        if spot.share and not self._unusable:  # every rank has a part: as long on each, but for the last
            needed = spot.start + spot.share
            if self._shortest >= needed:
                return None
        for rank, low, high, at in self.parts(spot):
            reason = self._unusable.get(rank)
            tensor = self.ranks[rank]
            if reason is None and tensor is not None and tensor.numel < at + high - low:
                reason = f"its buffer has {tensor.numel:,} elements ({at + high - low:,} needed)"
            if reason is not None:
                return f"rank {rank}: {reason}"
        return None

    @cached_property
    def _shortest(self) -> int:
        return min(tensor.numel if tensor is not None else 0 for tensor in self.ranks)

    @cached_property
    def _unusable(self) -> Mapping[int, str]:
        found = ((rank, _obstacle(tensor, self.dtype)) for rank, tensor in enumerate(self.ranks))
        return {rank: reason for rank, reason in found if reason is not None}

    def parts(self, spot: Spot) -> Iterator[tuple[int, int, int, int]]:
        """(rank, first and last element of the parameter, place in the rank's buffer)."""
        if spot.share:
            for rank in range(min(len(self.ranks), -(-spot.numel // spot.share))):
                low = rank * spot.share
                yield rank, low, min(low + spot.share, spot.numel), spot.start
            return
        first, end = spot.start // self.stride, spot.start + spot.numel
        for rank in range(first, min(len(self.ranks), -(-end // self.stride))):
            low, high = max(spot.start, rank * self.stride), min(end, (rank + 1) * self.stride)
            if low < high:
                yield rank, low - spot.start, high - spot.start, low - rank * self.stride


class Cut:
    """The bytes of one parameter; which rank has which of them is worked out at the first read."""

    __slots__ = ("_buffers", "_made", "_spot", "size")

    def __init__(self, buffers: Buffers, spot: Spot, size: int) -> None:
        self._buffers, self._spot, self.size = buffers, spot, size
        self._made: Assembled | None = None

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`. Raises what the ranks' files raise."""
        if self._made is None:
            self._made = Assembled(self.size, self._pieces())
        self._made.read_into(offset, buffer)

    def _pieces(self) -> Iterator[Piece]:
        size = self._buffers.dtype.itemsize
        for rank, low, high, at in self._buffers.parts(self._spot):
            tensor = self._buffers.ranks[rank]
            if tensor is not None:
                yield flat(elements_of(tensor), at * size, (high - low) * size, low * size)


def _obstacle(tensor: TensorRef | None, dtype: DType) -> str | None:
    if tensor is None:
        return "its file is not in the directory, or could not be read"
    if tensor.dtype is not dtype or tensor.storage.byteorder != "little":
        return "its buffer is of another kind than the other ranks'"
    return tensor.problem or tensor.storage.problem
