"""`optinspect.summary(optimizer, model)`: what `show` says of a checkpoint, of the objects in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from optinspect.commands import damage, show_collapse, show_contents, show_tables, summary_remarks, summary_tables
from optinspect.commands.facts import Wanted, gather
from optinspect.commands.selection import Selection
from optinspect.commands.summary_facts import Live, look
from optinspect.live.members import is_optimizer, members_of
from optinspect.live.snapshot import snapshot
from optinspect.report import Report, Table

OPTION, ROWS = "--no-collapse shows", "rows(TABLE) and collapse=False have"


@dataclass(frozen=True, slots=True)
class Options:
    """What can be asked; the defaults are those of `show`."""

    statistics: bool = True
    weights: bool = False
    collapse: bool | None = None
    """Fold rows of repeated layers, for people: True wherever there are any, None in tables beyond LONG rows."""
    selection: Selection = field(default_factory=Selection)


LONG = 50


def build(first: Any, second: Any, options: Options) -> tuple[Report, Report]:
    """The report on an optimizer and its model, in either order; the same with its long tables folded, for people.

    Changes nothing. Raises UsageError.
    """
    (first, second), scheduler = _unwrapped((first, second))
    shot = snapshot(members_of(first, second), scheduler)
    wanted = Wanted(options.selection, options.statistics, options.weights, known=(shot.namings, shot.spare))
    live = look(gather(shot.checkpoint, wanted), shot)
    tables = list(_tables(live))
    report = _report(live, options.selection.apply(tables))
    if options.collapse is False:
        return report, report
    fold = show_collapse.folder(live.facts, LONG if options.collapse is None else 1)
    return report, replace(report, tables=tuple(map(_noted, options.selection.apply(tables, fold))))


def _noted(table: Table) -> Table:
    """A note says how to see every row: here there is no command line."""
    return replace(table, notes=tuple(note.replace(OPTION, ROWS) for note in table.notes))


def _unwrapped(given: tuple[Any, Any]) -> tuple[tuple[Any, Any], Any]:
    """A scheduler stands for the optimizer that it drives, and is told of too."""
    found = [value for value in given if not is_optimizer(value) and _drives(value)]
    if not found or any(is_optimizer(value) for value in given):
        return given, None
    first, second = (value.optimizer if value is found[0] else value for value in given)
    return (first, second), found[0]


def _drives(value: Any) -> bool:
    """torch's schedulers and those that are written like them; not a model or trainer that keeps an optimizer."""
    return hasattr(value, "last_epoch") and is_optimizer(vars(value).get("optimizer"))


def _tables(live: Live) -> Iterator[Table]:
    yield from summary_tables.extended(show_tables.tables(live.facts), live)
    yield summary_tables.freezing(live)
    if live.facts.measured is not None:
        from optinspect.commands import show_statistics  # noqa: PLC0415  with numpy, which came with the values

        yield show_statistics.table(live.facts)


def _report(live: Live, tables: tuple[Table, ...]) -> Report:
    facts = live.facts
    found = damage.findings(facts)
    return Report(
        command="summary",
        status=damage.status(found),
        inputs=facts.checkpoint.inputs,
        summary={**show_contents.summary(facts.checkpoint), **summary_tables.counts(live)},
        tables=tables,
        findings=found,
        headline=show_contents.headline(facts.checkpoint),
        footer=summary_remarks.footer(live),
    )
