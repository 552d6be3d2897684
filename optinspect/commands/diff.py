"""`optinspect diff A B`: what changed between two checkpoints, aligned by the names of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import isfinite

from optinspect.checkpoint import Checkpoint
from optinspect.commands.opened import Opening
from optinspect.commands.progress import Meter
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError
from optinspect.report import Report

PARTS = ("weights", "state", "groups", "other")


@dataclass(frozen=True, slots=True)
class Options(Opening):
    """What `diff` can be asked; the defaults are those of the command line.

    only    some of PARTS; () for all
    rtol, atol   |a − b| ≤ atol + rtol·max(|a|, |b|) counts as equal
    brief   for people: only what differs, and of long tables the first rows where no --limit is given
    """

    only: tuple[str, ...] = ()
    rtol: float = 0.0
    atol: float = 0.0
    chart: bool = False
    trust_crc: bool = False
    selection: Selection = field(default_factory=Selection)
    brief: bool = False
    model_state_a: str | None = None
    model_state_b: str | None = None
    progress: bool = False


def parse_only(words: Sequence[str]) -> tuple[str, ...]:
    """Words, repeated or joined by commas, as parts. Raises UsageError."""
    parts = [part.strip() for word in words for part in word.split(",")]
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"--only {part:.40}: no such part (expected {', '.join(PARTS)})")
    return tuple(part for part in PARTS if part in parts)


def parse_tolerance(option: str, text: str | None) -> float:
    """A finite number from 0 on. Raises UsageError."""
    if text is None:
        return 0.0
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (isfinite(number) and number >= 0):
        raise UsageError(f"{option} {text:.40}: expected a number from 0 on, as 1e-6")
    return number


def build(path_a: str, path_b: str, options: Options) -> Report:
    """Read both, align, compare. Raises OptinspectError where a file or the options do not allow an answer."""
    with ExitStack() as stack:
        a = stack.enter_context(_opened(path_a, "a", options.model_state_a, options))
        b = stack.enter_context(_opened(path_b, "b", options.model_state_b, options))
        report = report_of(a, b, options)
        for tree in (*a.trees, *b.trees):
            tree.verify_unchanged()
        return report


def _opened(path: str, side: str, model_state: str | None, options: Options) -> Checkpoint:
    found = options.open(path, model_state, shown=options.progress)
    roles = (side, f"{side}: model state")
    return replace(found, inputs=tuple(replace(one, role=role) for one, role in zip(found.inputs, roles, strict=False)))


def report_of(a: Checkpoint, b: Checkpoint, options: Options) -> Report:
    """The report on two open checkpoints whose inputs have the roles of their sides."""
    from optinspect.commands import diff_damage, diff_tables, diff_words  # noqa: PLC0415  numpy comes with them
    from optinspect.comparison import PARTS as ALL  # noqa: PLC0415
    from optinspect.comparison import Tolerance, Wanted, compare_checkpoints, everything  # noqa: PLC0415

    wanted = Wanted(
        parts=options.only or ALL,
        takes=options.selection.takes_name if options.selection.filters else everything,
        tolerance=Tolerance(options.rtol, options.atol),
        trust_crc=options.trust_crc,
    )
    with Meter("comparing", shown=options.progress) as meter:
        found = compare_checkpoints(a, b, replace(wanted, progress=meter.tell))
    tables = options.selection.apply(diff_tables.tables(found, chart=options.chart, brief=options.brief))
    if options.brief and options.selection.limit is None:
        tables = diff_tables.shortened(tables)
    findings = (*diff_damage.findings(a, "a"), *diff_damage.findings(b, "b"))
    return Report(
        command="diff",
        status=int(not found.identical),
        inputs=(*a.inputs, *b.inputs),
        summary=diff_tables.summary(found),
        tables=tables,
        findings=findings,
        headline=diff_words.headline(found),
        footer=(*options.selection.remarks(tables), *diff_words.footer(a, b, found)),
    )
