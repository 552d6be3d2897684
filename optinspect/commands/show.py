"""`optinspect show PATH`: what a checkpoint holds, under which names, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from optinspect.checkpoint import Checkpoint
from optinspect.commands import damage, show_contents, show_remarks, show_tables
from optinspect.commands.facts import Facts, Wanted, gather
from optinspect.commands.selection import Selection
from optinspect.errors import Undecidable
from optinspect.naming import Proven
from optinspect.reading import open_checkpoint
from optinspect.report import Report


@dataclass(frozen=True, slots=True)
class Options:
    """What `show` can be asked; the defaults are those of the command line."""

    statistics: bool = True
    weights: bool = False
    selection: Selection = field(default_factory=Selection)
    model_state: str | None = None
    model_key: str | None = None
    optimizer_key: str | None = None
    max_memory: int | None = None
    progress: bool = False
    previous: str | None = None


def build(path: str, options: Options) -> Report:
    """Read, name, measure. Raises OptinspectError where the file or the options do not allow an answer."""
    with open_checkpoint(
        path,
        model_state=options.model_state,
        model_key=options.model_key,
        optimizer_key=options.optimizer_key,
        max_memory=options.max_memory,
    ) as checkpoint:
        proven = _proven(checkpoint, options)
        wanted = Wanted(options.selection, options.statistics, options.weights, options.progress, proven)
        report = report_of(gather(checkpoint, wanted), options.selection, _said(path, options))
        for tree in checkpoint.trees:
            tree.verify_unchanged()
        return report


def _proven(checkpoint: Checkpoint, options: Options) -> Proven | None:
    """The names that the step from the previous save proves."""
    if options.previous is None:
        return None
    from optinspect.proof import prove  # noqa: PLC0415

    with open_checkpoint(
        options.previous,
        model_key=options.model_key,
        optimizer_key=options.optimizer_key,
        max_memory=options.max_memory,
    ) as before:
        try:
            return prove(before, checkpoint).names_b
        except Undecidable as problem:
            raise Undecidable(f"{options.previous}: {problem.message}", hint=problem.hint) from problem


def _said(path: str, options: Options) -> tuple[str, ...]:
    """This command line, as far as it says where things are."""
    where = (
        ("--previous", options.previous),
        ("--model-state", options.model_state),
        ("--model-key", options.model_key),
        ("--optimizer-key", options.optimizer_key),
    )
    return ("optinspect", "show", path, *(word for name, value in where if value is not None for word in (name, value)))


def report_of(facts: Facts, selection: Selection, said: tuple[str, ...]) -> Report:
    tables = list(show_tables.tables(facts))
    if facts.measured is not None:
        from optinspect.commands import show_statistics  # noqa: PLC0415

        tables.append(show_statistics.table(facts))
    found = damage.findings(facts)
    return Report(
        command="show",
        status=damage.status(found),
        inputs=facts.checkpoint.inputs,
        summary=show_contents.summary(facts.checkpoint),
        tables=selection.apply(tables),
        findings=found,
        headline=show_contents.headline(facts.checkpoint),
        footer=show_remarks.footer(facts),
        next_command=show_remarks.next_command(said, facts),
    )
