"""`optinspect explain CKPT PARAM`: the last step of one parameter as a person would work it out."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from optinspect.commands import explain_parts, explain_report
from optinspect.commands.facts import Wanted, gather
from optinspect.commands.opened import Opening
from optinspect.commands.progress import Progress
from optinspect.errors import UsageError
from optinspect.explain import Source, explain
from optinspect.report import Report


@dataclass(frozen=True, slots=True)
class Options(Opening):
    """What `explain` can be asked.

    at: an element; source: which step; seed: of the gradient that is drawn; rule: where the file does not tell it
    """

    at: tuple[int, ...] | None = None
    source: Source = "last"
    seed: int = 0
    rule: str | None = None
    model_state: str | None = None
    progress: bool = False


def parse_at(text: str | None) -> tuple[int, ...] | None:
    """ "3,0,12" as an index. Raises UsageError."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) <= 12 for word in words):
        raise UsageError(f"--at {text:.60}: not an index (expected whole numbers from 0 on, as 3,0)")
    return tuple(map(int, words))


def source_of(zero: bool, synthetic: bool) -> Source:
    if zero and synthetic:
        raise UsageError("--zero and --synthetic: two gradients for one step (expected one of them)")
    return "zero" if zero else "synthetic" if synthetic else "last"


def build(path: str, parameter: str, options: Options) -> Report:
    """Read, find the parameter, work its step out. Raises OptinspectError where there is no answer."""
    with options.open(path, options.model_state) as checkpoint:
        facts = gather(checkpoint, Wanted(statistics=False))
        subject = explain_parts.subject_of(facts, parameter)
        found = explain_parts.part_of(checkpoint, subject, options.source, options.rule)
        shape = found.part.element_shape
        if options.at is not None and not _inside(options.at, shape):
            at = ",".join(map(str, options.at))
            raise UsageError(f"--at {at}: outside of {subject.label:.80}, shape {list(shape)} (counted from 0)")
        with Progress("working out", prod(shape), shown=options.progress) as progress:
            explained = explain(
                found.part, at=options.at, source=options.source, seed=options.seed, progress=progress.add
            )
        for tree in checkpoint.trees:
            tree.verify_unchanged()
        asked = explain_report.Asked(path, options.source, options.seed, chosen=options.at is not None)
        return explain_report.report(facts, subject, found, explained, asked)


def _inside(at: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(at) == len(shape) and all(place < size for place, size in zip(at, shape, strict=True))
