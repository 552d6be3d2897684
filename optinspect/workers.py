"""The threads that read and measure tasks, each with buffers of its own; results come in the order of the tasks."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Protocol

import numpy as np

from optinspect import batches
from optinspect.batches import SMALL
from optinspect.blocks import BLOCK, Buffer, read_range
from optinspect.bundles import Part, Plan, Slot
from optinspect.decoding import Array
from optinspect.errors import FileChanged, OptinspectError
from optinspect.gauge import Gauge
from optinspect.histograms import WHOLE
from optinspect.statistics import JointStatistics, Statistics
from optinspect.tally import Tally
from optinspect.terms import AdamTerms


@dataclass(slots=True)
class Partial:
    """What a part gave; parts of one bundle add up."""

    statistics: dict[Slot, Statistics] = field(default_factory=dict)
    joint: JointStatistics = field(default_factory=JointStatistics)
    problems: dict[Slot, str] = field(default_factory=dict)
    extra: Any = None

    def add(self, other: Partial) -> None:
        for slot, found in other.statistics.items():
            self.statistics[slot] = self.statistics[slot] + found if slot in self.statistics else found
        self.joint = self.joint + other.joint
        self.problems.update(other.problems)
        self.include(other.extra)

    def include(self, extra: Any) -> None:
        if extra is not None:
            self.extra = extra if self.extra is None else self.extra + extra


Waiting = deque[tuple[list[Part], Future[list[Partial]]]]


class Runner(Protocol):
    """One thread's way of working off a task: a result a part."""

    def run(self, task: list[Part]) -> list[Partial]: ...


def in_order(
    tasks: Iterable[list[Part]], threads: int, runner: Callable[[], Runner] | None = None
) -> Iterator[tuple[list[Part], list[Partial]]]:
    """Run tasks on `threads` threads, a bounded number under way; small ones in this thread, where they cost less.

    runner  makes what a thread works with; None: a Worker, which measures
    """
    make = runner or Worker
    own, local = make(), threading.local()

    def work(task: list[Part]) -> list[Partial]:
        if not hasattr(local, "worker"):
            local.worker = make()
        worker: Runner = local.worker
        return worker.run(task)

    waiting: Waiting = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="measure")
    try:
        for task in tasks:
            if threads == 1 or sum(part.nbytes for part in task) < BLOCK:
                future: Future[list[Partial]] = Future()
                future.set_result(own.run(task))
            else:
                future = executor.submit(work, task)
            waiting.append((task, future))
            while len(waiting) > 3 * threads:
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    finally:  # an interrupt, an error or a caller who stops early: no thread outlives this
        executor.shutdown(wait=True, cancel_futures=True)


def _finished(waiting: Waiting) -> tuple[list[Part], list[Partial]]:
    task, future = waiting.popleft()
    return task, future.result()


class Worker:
    """The buffers of one thread."""

    def __init__(self) -> None:
        self._gauge = Gauge()
        self._buffers: list[Buffer] = []

    def run(self, task: list[Part]) -> list[Partial]:
        """What each part gives; parts of small tensors are measured together."""
        small = [part for part in task if part.stop - part.start <= SMALL]
        with np.errstate(all="ignore"):
            together = iter(self._batch(small))
            return [next(together) if part.stop - part.start <= SMALL else self._part(part) for part in task]

    def _part(self, part: Part) -> Partial:
        found = Partial()
        sampled = any(tensor.numel > WHOLE for tensor in part.convoy.values())
        tallies = {slot: Tally(self._gauge, sampled) for slot in part.convoy if slot is not None or part.plan.weights}
        self._buffers.extend(Buffer() for _ in range(len(part.convoy) - len(self._buffers)))
        for start in range(part.start, part.stop, BLOCK):
            blocks = read_blocks(part, start, min(start + BLOCK, part.stop), found.problems, self._buffers)
            self._block(part.plan, blocks, tallies, found)
        found.statistics = {slot: tally.result() for slot, tally in tallies.items()}
        return found

    def _block(self, plan: Plan, blocks: dict[Slot, Array], tallies: Mapping[Slot, Tally], found: Partial) -> None:
        lows = {slot: tallies[slot].add(block) for slot, block in blocks.items() if slot in tallies}
        terms = plan.terms_for(blocks)
        if terms is not None:
            m, v = blocks[terms.m_slot], blocks[terms.v_slot]
            found.joint += self._gauge.joint(m, v, terms, lows[terms.v_slot])
        if plan.steps and None in blocks:
            found.joint += weight_norm(*self._gauge.norm(blocks[None]))
        if plan.extra is not None:
            found.include(plan.extra(plan.bundle, blocks))

    def _batch(self, parts: list[Part]) -> list[Partial]:
        """As `_part` and `_block`, of whole small parts at once."""
        results = [Partial() for _ in parts]
        blocks = [
            read_blocks(part, part.start, part.stop, result.problems, repeat(None))
            for part, result in zip(parts, results, strict=True)
        ]
        every = iter(batches.statistics([block for found in blocks for block in found.values()], self._gauge))
        pairs: list[tuple[Partial, tuple[Array, Array, AdamTerms]]] = []
        for part, found, result in zip(parts, blocks, results, strict=True):
            result.statistics = dict(zip(found, every, strict=False))
            terms = part.plan.terms_for(found)
            if terms is not None:
                pairs.append((result, (found[terms.m_slot], found[terms.v_slot], terms)))
            if part.plan.extra is not None:
                result.include(part.plan.extra(part.plan.bundle, found))
        for (result, _), joint in zip(pairs, batches.joint([pair for _, pair in pairs], self._gauge), strict=True):
            result.joint = joint
        for part, found, result in zip(parts, blocks, results, strict=True):
            if None in found:
                self._weight(part.plan, found[None], result)
        return results

    def _weight(self, plan: Plan, block: Array, result: Partial) -> None:
        """Take the norm of θ from its statistics, which are left out again where nobody asked for them."""
        found = result.statistics[None] if plan.weights else result.statistics.pop(None)
        if plan.steps:
            real = block.dtype.kind != "c"
            result.joint += weight_norm(*((found.finite, found.norm or 0.0) if real else self._gauge.norm(block)))


def weight_norm(count: int, norm: float) -> JointStatistics:
    return JointStatistics(weight_count=count, weight_norm=norm)


def read_blocks(
    part: Part, start: int, stop: int, problems: dict[Slot, str], buffers: Iterable[Buffer | None]
) -> dict[Slot, Array]:
    """The block of every tensor of the convoy that could be read so far."""
    blocks: dict[Slot, Array] = {}
    for (slot, tensor), buffer in zip(part.convoy.items(), buffers, strict=False):
        if slot in problems:
            continue
        try:
            blocks[slot] = read_range(tensor, start, stop, buffer)
        except FileChanged:
            raise
        except OptinspectError as error:
            problems[slot] = error.message
    return blocks


def default_threads() -> int:
    """One a core, at most 4: beyond that they wait for the disk."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4)


def summed(
    results: Iterable[tuple[list[Part], list[Partial]]], progress: Callable[[int], None] | None = None
) -> Iterator[tuple[Plan, Partial]]:
    """What all parts of a bundle gave together, bundle by bundle, as soon as its last part is done.

    progress  called with the number of bytes that a task has read
    """
    current: tuple[int, Plan] | None = None
    total = Partial()
    for task, partials in results:
        for part, partial in zip(task, partials, strict=True):
            if current is not None and current[0] != part.number:
                yield current[1], total
                total = Partial()
            current = (part.number, part.plan)
            total.add(partial)
        if progress is not None:
            progress(sum(part.nbytes for part in task))
    if current is not None:
        yield current[1], total
