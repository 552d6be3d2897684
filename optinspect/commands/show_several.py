"""Several checkpoints in one run of `show`: a table that compares them, then a report of each, one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect.commands import show
from optinspect.commands.selection import Selection
from optinspect.commands.show import Options
from optinspect.commands.wording import command_line, counted, some
from optinspect.errors import OptinspectError, UsageError
from optinspect.report import Column, Failure, Finding, Line, Report, Severity, Table, Unit

if TYPE_CHECKING:
    from optinspect.commands.targets import Target

COULD_NOT_ANSWER = 2
MOST_TOLD = 4
"""Paths that a command to copy may hold."""
UNREADABLE, DAMAGED = "unreadable", "damaged"
PATTERN = frozenset("*?[")
COMPARISON = "checkpoints"
"""The key of the table that has a row a checkpoint; alone, it needs no tensor's values."""

CHECKPOINTS = (
    Column("path", "checkpoint", Unit.NAME, 0),
    Column("result", "result", Unit.TEXT, 1),
    Column("step", "step", Unit.STEP, 0),
    Column("counters", "counters", Unit.ANY, 4),
    Column("lrs", "lr", Unit.LIST, 1),
    Column("optimizers", "optimizer", Unit.LIST, 1),
    Column("model_parameters", "parameters", Unit.COUNT, 2),
    Column("optimizer_bytes", "state", Unit.BYTES, 3),
    Column("bytes", "file", Unit.BYTES, 5),
    Column("modified", "modified (UTC)", Unit.TEXT, 3),
    Column("problem", "not read because", Unit.TEXT, 0),
)
PATH = Column("path", "checkpoint", Unit.NAME, 0)
Read = tuple[str, Report]
"""A path and its report."""


def build(paths: Sequence[str], options: Options) -> Report:
    """The report of the one path, or of all. Raises OptinspectError where the only one, or the options, allow none."""
    if len(paths) == 1 and not PATTERN & set(paths[0]):
        return show.build(paths[0], options)
    from optinspect.commands.targets import targets  # noqa: PLC0415  one path alone needs none of it

    wanted = targets(paths)
    if len(wanted) == 1:
        return _only(wanted[0], options)
    if options.previous is not None:
        raise UsageError("--previous belongs to one checkpoint", hint="show them one by one")
    alone = options.selection.table == COMPARISON
    each_options = replace(options, selection=Selection(), statistics=False, trees=None) if alone else options
    show.refuse(each_options)
    results = [(target.path, _one(target, each_options)) for target in wanted]
    read = [(path, each) for path, each in results if isinstance(each, Report)]
    problems = [(path, each) for path, each in results if isinstance(each, OptinspectError)]
    if not read and all(isinstance(each, UsageError) for _, each in problems):
        raise problems[0][1]
    failures = tuple(Failure(path, each.kind, each.message, each.hint) for path, each in problems)
    rows = [_row(path, each) for path, each in results]
    newest, by = _newest([row for row in rows if row["result"] != UNREADABLE])
    compared = (Table(COMPARISON, "Checkpoints", CHECKPOINTS, rows),)
    return Report(
        command="show",
        status=COULD_NOT_ANSWER if failures else max((each.status for _, each in read), default=0),
        inputs=tuple(one for _, each in read for one in each.inputs),
        summary={
            **_summary(read),
            "checkpoints": len(read),
            "unreadable": len(failures),
            "newest": newest,
            "newest_by": by,
        },
        tables=options.selection.apply(compared) if alone else (*compared, *_merged(read)),
        findings=tuple(_placed(path, finding) for path, each in read for finding in each.findings),
        failures=failures,
        headline=tuple(_headline(rows, newest, by)),
        next_command=None if alone or len(paths) > MOST_TOLD else _comparison(paths),
        tabled=True,
        parts=tuple(replace(each, next_command=None) for _, each in read),
    )


def _comparison(paths: Sequence[str]) -> str:
    return command_line("optinspect", "show", *paths, "--table", COMPARISON)


def _only(target: Target, options: Options) -> Report:
    if target.problem is not None:
        raise target.problem
    return show.build(target.path, options)


def _one(target: Target, options: Options) -> Report | OptinspectError:
    """A file that cannot be read must not hide the others."""
    if target.problem is not None:
        return target.problem
    try:
        return show.build(target.path, options)
    except OptinspectError as problem:
        return problem


def _row(path: str, result: Report | OptinspectError) -> dict[str, Any]:
    row = dict.fromkeys(column.key for column in CHECKPOINTS) | {"path": path, "modified": _modified(path)}
    if isinstance(result, OptinspectError):
        return row | {"result": UNREADABLE, "problem": result.message.removeprefix(f"{path}: ")}
    summary = result.summary
    return row | {
        "result": DAMAGED if result.status else "whole",
        "step": summary["step"],
        "counters": summary["companions"]["counters"] or None,
        "lrs": summary["lrs"],
        "optimizers": [name or "unknown" for name in summary["families"]],
        "model_parameters": summary["model_parameters"],
        "optimizer_bytes": summary["optimizer_bytes"],
        "bytes": sum(each.bytes for each in result.inputs),
    }


def _modified(path: str) -> str | None:
    """When the file or directory was last written, to the second."""
    try:
        seconds = Path(path).stat().st_mtime
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OSError, ValueError, OverflowError):
        return None


def _newest(read: Sequence[Mapping[str, Any]]) -> tuple[list[str], str | None]:
    """The paths that are furthest, and by what: the optimizer's step, else a counter that all have, else the time.

    Nothing, where there is nothing to compare or nothing in which they differ.
    """
    shared = set.intersection(*(set(row["counters"] or ()) for row in read)) if read else set()
    by_counter = [(f"counter {name}", [row["counters"][name] for row in read]) for name in sorted(shared)]
    steps, times = ([row[key] for row in read] for key in ("step", "modified"))
    for by, values in (("step", steps), *by_counter, ("time", times)):
        if None not in values and len(set(values)) > 1:
            return [row["path"] for row, value in zip(read, values, strict=True) if value == max(values)], by
    return [], None


def _headline(rows: Sequence[Mapping[str, Any]], newest: Sequence[str], by: str | None) -> Iterator[Line]:
    results = {row["path"]: row["result"] for row in rows}
    unread = [row for row in rows if row["result"] == UNREADABLE]
    yield Line("read", f"{len(rows) - len(unread):,} of {counted(len(rows), 'checkpoint')}")
    if newest:
        damaged = [path for path in newest if results[path] == DAMAGED]
        how = "written last (no step tells them apart)" if by == "time" else f"the largest {by}"
        told = (f"{path} (damaged)" if path in damaged else path for path in newest)
        yield Line("newest", f"{some(told)}: {how}", Severity.WARNING if damaged else None)
    for row in unread:
        yield Line("not read", f"{row['path']}: {row['problem']}", Severity.ERROR)


def _summary(read: Sequence[Read]) -> dict[str, Any]:
    """Of all together: sums, the largest step, names that occur in any. Each one's own are in `summaries`."""
    every = [report.summary for _, report in read]
    totals = ("optimizers", "model_tensors", "model_parameters", "optimizer_bytes")
    return {
        **{key: sum(each[key] for each in every) for key in totals},
        "step": max((each["step"] for each in every if each["step"] is not None), default=None),
        "families": list(dict.fromkeys(name for each in every for name in each["families"])),
        "lrs": list(dict.fromkeys(lr for each in every for lr in each["lrs"])),
        "companions": {"scheduler": None, "scaler": None, "rng": [], "ema": [], "counters": {}},
        "opaque": sorted({name for each in every for name in each["opaque"]}),
        "summaries": [{"path": path, "status": report.status, **report.summary} for path, report in read],
    }


def _merged(read: Sequence[Read]) -> Iterator[Table]:
    """Each table with the rows of all, and the path in each row. People read them in the reports below."""
    found: dict[str, list[tuple[str, Table]]] = {}
    for path, report in read:
        for table in report.tables:
            found.setdefault(table.key, []).append((path, table))
    for key, having in found.items():
        columns = {column.key: column for _, table in having for column in table.columns}
        blank = dict.fromkeys(columns)
        rows = [{**blank, **row, "path": path} for path, table in having for row in table.rows]
        every = (PATH, *(column for column in columns.values() if column.key != PATH.key))
        total = sum(len(table.rows) if table.total is None else table.total for _, table in having)
        notes = tuple(dict.fromkeys(note for _, table in having for note in table.notes))
        yield Table(key, having[0][1].title, every, rows, total, notes, machine=True)


def _placed(path: str, finding: Finding) -> Finding:
    return replace(finding, where=replace(finding.where, input=path))
