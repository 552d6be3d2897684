"""Every weight and every state tensor that both checkpoints have, compared in one bounded pass over both files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from optinspect.blocks import in_storage_order
from optinspect.checkpoint import Checkpoint
from optinspect.comparison.blockwise import Comparer, bundle_of
from optinspect.comparison.change import Change
from optinspect.comparison.plain import TensorPair, Tolerance, Value
from optinspect.folding import fold
from optinspect.plain import plain
from optinspect.tensors import AnyTensor, CompositeRef, TensorRef, obstacle

Checksums = Mapping[str, int]
"""Record → CRC-32 as the container recorded it."""


@dataclass(frozen=True, slots=True)
class Job:
    """Two tensors that belong together. `owner`: which parameter row; inputs: which file of its side each lies in."""

    kind: Literal["weight", "state", "value"]
    owner: int
    slot: str
    a: AnyTensor
    b: AnyTensor
    input_a: int = 0
    input_b: int = 0


@dataclass(frozen=True, slots=True)
class TensorChange:
    """What a job gave.

    change   None where the values were not compared: `problem` says why, or `trusted` that checksums were believed
    unlike   two shapes, or two kinds of tensors
    first    index of the first element that differs, in a's shape
    """

    job: Job
    change: Change | None
    problem: str | None = None
    trusted: bool = False
    unlike: bool = False

    @property
    def bit_equal(self) -> bool | None:
        """None where it is not known."""
        if self.trusted or self.unlike:
            return self.trusted
        return self.change.bit_equal if self.change else None

    @property
    def unknown(self) -> bool:
        """The values of one side could not be read."""
        return self.problem is not None and not self.unlike

    @property
    def within(self) -> bool:
        """Equal, as far as the tolerance goes."""
        return self.trusted or (self.change is not None and not self.change.beyond)

    @property
    def first(self) -> tuple[int, ...] | None:
        a, b = self.job.a, self.job.b
        if (
            self.change is None
            or self.change.first is None
            or not (isinstance(a, TensorRef) and isinstance(b, TensorRef))
        ):
            return None
        return _located(a, b, self.change.first)


def compare(
    jobs: Iterable[Job],
    tolerance: Tolerance,
    checksums: tuple[Sequence[Checksums], Sequence[Checksums]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[TensorChange]:
    """Every job's result, in order. Raises FileChanged when a file is being rewritten."""
    every = [part for job in jobs for part in _parts(job)]
    results: dict[int, TensorChange] = {}
    reading: list[tuple[int, Job]] = []
    for number, job in enumerate(every):
        unlike, problem = _unlike(job), _obstacle(job)
        if unlike or problem:
            results[number] = TensorChange(job, None, unlike or problem, unlike=unlike is not None)
        elif checksums is not None and _same_checksum(job, checksums):
            results[number] = TensorChange(job, None, trusted=True)
        else:
            reading.append((number, job))
    results.update(_read(reading, tolerance, progress))
    return [results[number] for number in range(len(every))]


def _read(
    reading: Sequence[tuple[int, Job]], tolerance: Tolerance, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, TensorChange]]:
    bundles = (
        bundle_of(job.a, job.b) for _, job in reading if isinstance(job.a, TensorRef) and isinstance(job.b, TensorRef)
    )
    for (number, job), found in zip(reading, fold(bundles, Comparer(tolerance), progress=progress), strict=True):
        if found.problems:
            slot, reason = next(iter(found.problems.items()))
            yield number, TensorChange(job, None, f"{slot}: {reason}")
        else:
            yield number, TensorChange(job, found.value or Change())


def read_values(found: Sequence[Value | TensorPair], tolerance: Tolerance) -> Iterator[Value]:
    """What `differences` found, with its pairs of tensors read: one row for a tensor that differs."""
    jobs = [Job("value", 0, each.route, each.a, each.b) for each in found if isinstance(each, TensorPair)]
    results = iter(compare(jobs, tolerance))
    for each in found:
        if isinstance(each, Value):
            yield each
            continue
        result = next(results)
        if not result.within:
            change = result.change
            note = f"{change.differing:,} of {change.count:,} elements differ" if change else result.problem
            yield Value(each.route, plain(each.a), plain(each.b), "changed", note)


def _parts(job: Job) -> Iterator[Job]:
    """A tensor made of tensors is compared part by part, where both sides have it so."""
    a, b = job.a, job.b
    if not (isinstance(a, CompositeRef) and isinstance(b, CompositeRef)):
        yield job
        return
    for part in dict.fromkeys((*a.parts, *b.parts)):
        if part in a.parts and part in b.parts:
            yield replace(job, slot=f"{job.slot}.{part}", a=a.parts[part], b=b.parts[part])


def _unlike(job: Job) -> str | None:
    if not (isinstance(job.a, TensorRef) and isinstance(job.b, TensorRef)):
        return f"a is {_kind(job.a)}, b is {_kind(job.b)}"
    if job.a.shape != job.b.shape:
        return f"shape {list(job.a.shape)} in a, {list(job.b.shape)} in b"
    return None


def _obstacle(job: Job) -> str | None:
    for side, tensor in (("a", job.a), ("b", job.b)):
        reason = obstacle(tensor) if isinstance(tensor, TensorRef) else None
        if reason is not None:
            return f"{side}: {reason}"
    return None


def _kind(tensor: AnyTensor) -> str:
    return tensor.kind if isinstance(tensor, CompositeRef) else "a plain tensor"


def checksums_of(checkpoint: Checkpoint) -> list[Checksums]:
    """For each input of a checkpoint the checksums that it recorded."""
    return [
        {record.name: record.crc32 for record in tree.records if record.crc32 is not None} for tree in checkpoint.trees
    ]


def _same_checksum(job: Job, checksums: tuple[Sequence[Checksums], Sequence[Checksums]]) -> bool:
    """The same view of two storages of the same size whose recorded checksums agree."""
    a, b = job.a, job.b
    if not (isinstance(a, TensorRef) and isinstance(b, TensorRef)) or job.kind == "value":
        return False
    view_a, view_b = (
        (t.dtype, t.shape, t.stride, t.offset, t.conj, t.neg, t.storage.nbytes, t.storage.byteorder) for t in (a, b)
    )
    recorded = checksums[0][job.input_a].get(a.storage.key)
    return view_a == view_b and recorded is not None and recorded == checksums[1][job.input_b].get(b.storage.key)


def _located(a: TensorRef, b: TensorRef, position: int) -> tuple[int, ...]:
    """The index of the element at `position` in the order in which both were read (see bundles.plan)."""
    axes = list(range(len(a.shape)))
    if not a.is_contiguous and a.stride == b.stride and in_storage_order(a) is not None:
        axes.sort(key=lambda axis: (-a.stride[axis], axis))
    index = [0] * len(axes)
    for axis in reversed(axes):
        position, index[axis] = divmod(position, a.shape[axis])
    return tuple(index)
