"""A sum over the blocks of tensors that are read in step, for questions that statistics do not answer.

`measure` reads the same way and takes statistics too; both share the threads, the tasks and the bounds on memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optinspect.blocks import BLOCK, Buffer
from optinspect.bundles import Bundle, Extra, Part, Slot, plan, tasks
from optinspect.workers import Partial, default_threads, in_order, read_blocks, summed

__all__ = ["Bundle", "Folded", "fold"]


@dataclass(frozen=True)
class Folded:
    """What one bundle gave: the sum (None where nothing could be read), and slot → why it could not."""

    key: Any
    value: Any
    problems: Mapping[Slot, str] = field(default_factory=dict)


def fold(
    bundles: Iterable[Bundle],
    function: Extra,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Folded]:
    """Sum `function(bundle, blocks)` over every bundle's blocks with `+`; results come in the order of `bundles`.

    function  sees 1-d blocks by slot, of one size, valid during the call; called from several threads, without
              floating point warnings
    Raises FileChanged when a file is being rewritten.
    """
    plans = (plan(bundle, False, function) for bundle in bundles)
    results = in_order(tasks(plans), threads or default_threads(), _Reader)
    for done, total in summed(results, progress):
        yield Folded(done.bundle.key, total.extra, {**done.problems, **total.problems})


class _Reader:
    """One thread's buffers."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []

    def run(self, task: list[Part]) -> list[Partial]:
        with np.errstate(all="ignore"):
            return [self._part(part) for part in task]

    def _part(self, part: Part) -> Partial:
        total = Partial()
        self._buffers.extend(Buffer() for _ in range(len(part.convoy) - len(self._buffers)))
        for start in range(part.start, part.stop, BLOCK):
            blocks = read_blocks(part, start, min(start + BLOCK, part.stop), total.problems, self._buffers)
            if part.plan.extra is not None and len(blocks) == len(part.convoy):
                total.include(part.plan.extra(part.plan.bundle, blocks))
        return total
