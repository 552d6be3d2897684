"""--dead: the table of parameters with rows or channels that no gradient has reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from optinspect.commands.facts import Facts, Subject
from optinspect.commands.progress import Progress
from optinspect.commands.show_tables import numbered
from optinspect.commands.wording import counted
from optinspect.dead import Dead, examined, moments
from optinspect.ranges import count
from optinspect.report import Column, Line, Table, Unit
from optinspect.tensors import TensorRef
from optinspect.workers import default_threads

COLUMNS = (
    Column("optimizer", "optimizer", Unit.COUNT, 0),
    Column("index", "index", Unit.COUNT, 2),
    Column("name", "name", Unit.NAME, 0),
    Column("shape", "shape", Unit.SHAPE, 2),
    Column("slots", "0 in", Unit.LIST, 3),
    Column("rows", "rows", Unit.COUNT, 9, machine=True),
    Column("dead_rows", "dead rows", Unit.COUNT, 0),
    Column("dead_row_ranges", "which rows", Unit.RANGES, 1),
    Column("channels", "channels", Unit.COUNT, 9, machine=True),
    Column("dead_channels", "dead channels", Unit.COUNT, 0),
    Column("dead_channel_ranges", "which channels", Unit.RANGES, 1),
    Column("problem", "not read because", Unit.TEXT, 0),
)
COUPLED = frozenset({"SGD", "Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta"})
"""They add weight_decay · θ to the gradient, unless decoupled_weight_decay says otherwise."""


TASK, MOST = 1 << 22, 256
"""Bytes and parameters that a thread is given at a time."""

Wanted = tuple[Subject, dict[str, TensorRef]]


@dataclass(frozen=True, slots=True)
class Examined:
    """A parameter whose moments were to be read."""

    subject: Subject
    slots: dict[str, TensorRef]
    found: Dead | str


def table(facts: Facts, progress: bool) -> tuple[Table, tuple[Line, ...]]:
    """A row a parameter with something dead, or whose moments cannot be read; and what is to be said of the others."""
    wanted = [(subject, moments(subject.tensors, subject.shape)) for subject in facts.subjects]
    wanted = [(subject, slots) for subject, slots in wanted if slots]
    found = _examined(wanted, progress)
    rows = [_row(each) for each in found if isinstance(each.found, str) or each.found.dead_rows or _channels(each)]
    columns = numbered(COLUMNS, len(facts.checkpoint.optimizers) > 1)
    return Table("dead", "Dead rows and channels (all moments 0)", columns, rows), tuple(_lines(facts, found))


def _examined(wanted: Sequence[Wanted], progress: bool) -> list[Examined]:
    size = sum(tensor.nbytes for _, slots in wanted for tensor in slots.values())
    pool = ThreadPoolExecutor(default_threads(), thread_name_prefix="dead")
    with Progress("looking for dead rows", size, shown=progress) as meter:
        try:
            results = chain.from_iterable(pool.map(partial(_batch, progress=meter.add), _batches(wanted)))
            return [Examined(subject, slots, one) for (subject, slots), one in zip(wanted, results, strict=True)]
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(wanted: Sequence[Wanted], progress: Callable[[int], None]) -> list[Dead | str]:
    return [examined(slots, progress) for _, slots in wanted]


def _batches(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Runs of parameters for a thread: handing over one costs as much as looking at a small parameter."""
    start, size = 0, 0
    for end, (_, slots) in enumerate(wanted, 1):
        size += sum(tensor.nbytes for tensor in slots.values())
        if size >= TASK or end - start >= MOST:
            yield wanted[start:end]
            start, size = end, 0
    yield wanted[start:]


def _channels(each: Examined) -> bool:
    return isinstance(each.found, Dead) and bool(each.found.dead_channels)


def _row(each: Examined) -> dict[str, Any]:
    subject, found = each.subject, each.found
    known = found if isinstance(found, Dead) else None
    channels = known is not None and known.channels is not None
    return {
        "optimizer": subject.optimizer,
        "index": subject.state.index,
        "name": subject.named.name,
        "shape": list(next(iter(each.slots.values())).shape),
        "slots": list(each.slots),
        "rows": known.rows if known else None,
        "dead_rows": count(known.dead_rows) if known else None,
        "dead_row_ranges": known.dead_rows or None if known else None,
        "channels": known.channels if known else None,
        "dead_channels": count(known.dead_channels) if known and channels else None,
        "dead_channel_ranges": known.dead_channels or None if known else None,
        "problem": found if isinstance(found, str) else None,
    }


def _lines(facts: Facts, found: Sequence[Examined]) -> Iterator[Line]:
    some = sum(isinstance(each.found, Dead) and bool(each.found.dead_rows or _channels(each)) for each in found)
    left = len(facts.subjects) - len(found)
    beside = f"; {counted(left, 'other')} without moments of the parameter's shape not looked at" if left else ""
    text = f"{some:,} of {counted(len(found), 'parameter')} with rows or channels whose moments are all 0{beside}"
    if facts.subjects:
        yield Line("dead", text)
    decayed = [each.subject for each in found if _decays(facts, each.subject)]
    if decayed:
        yield Line(
            "dead",
            f"weight decay is part of the gradient of {counted(len(decayed), 'parameter')}:"
            " there a row without gradients still has moments",
        )


def _decays(facts: Facts, subject: Subject) -> bool:
    families = facts.checkpoint.optimizers[subject.optimizer].families
    settings = subject.group
    decoupled = settings.hyperparameters.get("decoupled_weight_decay") is True
    return bool(settings.number_of("weight_decay")) and not decoupled and bool(families) and set(families) <= COUPLED
