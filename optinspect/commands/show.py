"""`optinspect show PATH`: what a checkpoint holds, under which names, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optinspect.checkpoint import Checkpoint
from optinspect.commands import damage, show_contents, show_remarks, show_tables
from optinspect.commands.facts import Facts, Wanted, gather
from optinspect.commands.opened import Opening
from optinspect.commands.selection import Selection
from optinspect.errors import Undecidable, UsageError
from optinspect.naming import Proven
from optinspect.report import Line, Report

if TYPE_CHECKING:
    from optinspect.commands.show_tree_choice import Trees


@dataclass(frozen=True, slots=True)
class Options(Opening):
    """What `show` can be asked; the defaults are those of the command line."""

    statistics: bool = True
    weights: bool = False
    selection: Selection = field(default_factory=Selection)
    collapse: int | None = None
    """Rows from which on a table is folded; None for never, as machines want it."""
    dead: bool = False
    model_state: str | None = None
    progress: bool = False
    previous: str | None = None
    trees: Trees | None = None
    """Instead of the tables: the objects of the file as a tree."""


def build(path: str, options: Options) -> Report:
    """Read, name, measure. Raises OptinspectError where the file or the options do not allow an answer."""
    refuse(options)
    with options.open(path, options.model_state, shown=options.progress) as checkpoint:
        proven = _proven(checkpoint, options)
        report = _report(checkpoint, options, proven, _said(path, options))
        for tree in checkpoint.trees:
            tree.verify_unchanged()
        return report


def refuse(options: Options) -> None:
    """Raise UsageError for columns that do not exist and for options that contradict each other."""
    if options.weights and not options.statistics:
        hint = "leave out --no-stats, or --weights"
        raise UsageError("--weights: statistics of the weights, which --no-stats leaves out", hint=hint)
    if options.trees is not None:
        from optinspect.commands import show_tree_report  # noqa: PLC0415

        show_tree_report.check(options.trees, options)
    elif options.selection.names_columns:
        from optinspect.commands import show_outline  # noqa: PLC0415

        show_outline.check(options.selection, statistics=options.statistics, dead=options.dead)


def _report(checkpoint: Checkpoint, options: Options, proven: Proven | None, said: tuple[str, ...]) -> Report:
    if options.trees is not None:
        from optinspect.commands import show_tree_report  # noqa: PLC0415

        return show_tree_report.report(checkpoint, options.trees, options.selection, said, proven)
    wanted = Wanted(options.selection, options.statistics, options.weights, options.progress, proven)
    return report_of(gather(checkpoint, wanted), options, said)


def _proven(checkpoint: Checkpoint, options: Options) -> Proven | None:
    """The names that the step from the previous save proves."""
    if options.previous is None:
        return None
    from optinspect.proof import prove  # noqa: PLC0415

    with options.open(options.previous) as before:
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
    words = (word for name, value in where if value is not None for word in (name, value))
    return ("optinspect", "show", path, *words, *(("--use-transformers",) if options.use_transformers else ()))


def report_of(facts: Facts, options: Options, said: tuple[str, ...]) -> Report:
    tables = list(show_tables.tables(facts))
    if facts.measured is not None:
        from optinspect.commands import show_statistics  # noqa: PLC0415

        tables.append(show_statistics.table(facts))
    about_dead: tuple[Line, ...] = ()
    if options.dead:
        from optinspect.commands import show_dead  # noqa: PLC0415

        dead, about_dead = show_dead.table(facts, options.progress)
        tables.append(dead)
    fold = None
    if options.collapse is not None:
        from optinspect.commands import show_collapse  # noqa: PLC0415

        fold = show_collapse.folder(facts, options.collapse)
    shown = options.selection.apply(tables, fold)
    found = damage.findings(facts)
    return Report(
        command="show",
        status=damage.status(found),
        inputs=facts.checkpoint.inputs,
        summary=show_contents.summary(facts.checkpoint),
        tables=shown,
        findings=found,
        headline=show_contents.headline(facts.checkpoint),
        footer=(*options.selection.remarks(shown), *about_dead, *show_remarks.footer(facts)),
        next_command=show_remarks.next_command(said, facts),
    )
