"""Rows and channels of a parameter that no gradient has reached: all their moments are 0, throughout.

A row is an index of dimension 0 (an output of a Linear, a token of an Embedding), a channel one of dimension 1 (an
input of a Linear). v = 0 and m = 0 throughout is what is left where every gradient was 0: a mean of squares that
started at 0 and was fed one g ≠ 0 is not 0, as long as its dtype holds it. Weight decay that is added to the gradient
(SGD, Adam) feeds the moments too, so that a row with decay looks alive.

Memory is bounded: one block and two flags for every row and channel, whatever the size of the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from optinspect.blocks import BLOCK, Buffer, read_range
from optinspect.errors import FileChanged, OptinspectError
from optinspect.ranges import Pairs
from optinspect.tensors import TensorRef, obstacle

Flags = npt.NDArray[np.bool_]

SECOND = ("exp_avg_sq", "square_avg", "sum", "variance")
"""Slots of squares that only gradients fill, from 0 on; where one is not 0, no other needs to be read. (Not Adamax'
exp_inf, AdaBelief's exp_avg_var: eps is added to them in every step.)"""
FIRST = ("exp_avg", "momentum_buffer", "grad_avg", "exp_avg_slow", "exp_avg_diff")
"""Slots of gradients, with their sign."""


@dataclass(frozen=True, slots=True)
class Dead:
    """What is dead of a tensor of shape (rows, channels, …).

    rows, channels   how many there are; channels is None where there is only one dimension
    dead_rows, dead_channels   which of them, as runs
    """

    rows: int
    channels: int | None
    dead_rows: Pairs
    dead_channels: Pairs


def moments(tensors: Mapping[str, TensorRef], shape: Sequence[int] | None) -> dict[str, TensorRef]:
    """Of a parameter's state, the slots that tell whether gradients have reached it; all have its shape."""
    found = {slot: tensors[slot] for slot in (*SECOND, *FIRST) if slot in tensors and tensors[slot].dtype.is_floating}
    common = tuple(shape) if shape is not None else next((tensor.shape for tensor in found.values()), ())
    return {slot: tensor for slot, tensor in found.items() if tensor.shape == common}


def dead(
    slots: Mapping[str, TensorRef], progress: Callable[[int], None] = lambda _: None, buffer: Buffer | None = None
) -> Dead:
    """Which rows and channels are 0 in all `slots` (at least one; all of one shape). NaN is not 0.

    progress  called with the bytes just read
    Raises what reading raises: UnreadableTensor, FileChanged, …
    """
    shape = next(iter(slots.values())).shape
    rows, channels, inner = (shape[0] if shape else 1), (shape[1] if len(shape) > 1 else 1), prod(shape[2:])
    row_alive, channel_alive = np.zeros(rows, np.bool_), np.zeros(channels, np.bool_)
    for tensor in slots.values():
        for box in _boxes(rows, channels, inner):
            mine, its = row_alive[box.rows], channel_alive[box.channels]
            if mine.all() and its.all():
                continue
            start = (box.rows.start * channels + box.channels.start) * inner + box.inner.start
            values = read_range(tensor, start, start + box.size, buffer)
            alive = (values != 0).reshape(mine.size, its.size, -1)
            progress(values.nbytes)
            if alive.all():
                mine[:], its[:] = True, True
                continue
            by_channel = alive.any(axis=2) if alive.shape[2] > 1 else alive[:, :, 0]
            mine |= by_channel.any(axis=1)
            its |= by_channel.any(axis=0)
    several = len(shape) > 1
    return Dead(rows, channels if several else None, _runs(~row_alive), _runs(~channel_alive) if several else [])


@dataclass(frozen=True, slots=True)
class _Box:
    """A block that is contiguous in row-major order: whole rows, whole channels of a row, or part of a channel."""

    rows: slice
    channels: slice
    inner: slice

    @property
    def size(self) -> int:
        return prod(each.stop - each.start for each in (self.rows, self.channels, self.inner))


def _boxes(rows: int, channels: int, inner: int) -> Iterator[_Box]:
    if not rows * channels * inner:
        return
    if channels * inner <= BLOCK:
        for part in _parts(rows, BLOCK // (channels * inner)):
            yield _Box(part, slice(0, channels), slice(0, inner))
    elif inner <= BLOCK:
        for row in _parts(rows, 1):
            yield from (_Box(row, part, slice(0, inner)) for part in _parts(channels, BLOCK // inner))
    else:
        for row in _parts(rows, 1):
            for channel in _parts(channels, 1):
                yield from (_Box(row, channel, part) for part in _parts(inner, BLOCK))


def _parts(length: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _runs(flags: Flags) -> Pairs:
    """Where flags are set, as runs."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    runs: Pairs = [[first, last - 1] for first, last in edges.reshape(-1, 2).tolist()]
    return runs


def obstacle_of(slots: Iterable[tuple[str, TensorRef]]) -> str | None:
    """Why the moments are not to be read; None when they are."""
    reasons = (f"{slot}: {reason}" for slot, tensor in slots if (reason := obstacle(tensor)) is not None)
    return next(reasons, None)


def examined(slots: Mapping[str, TensorRef], progress: Callable[[int], None]) -> Dead | str:
    """What is dead, or why that is not known. Raises FileChanged."""
    reason = obstacle_of(slots.items())
    if reason is not None:
        return reason
    try:
        return dead(slots, progress, Buffer())
    except FileChanged:
        raise
    except OptinspectError as error:
        return error.message
