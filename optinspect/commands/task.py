"""What a command line asks for, before it is done: the work runs outside of Typer, so that its errors are ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optinspect.commands.emit import Output
from optinspect.commands.options import parse_count
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError
from optinspect.report import Report
from optinspect.writing import is_stdout

if TYPE_CHECKING:
    from optinspect.commands.conditions import Condition


@dataclass(frozen=True, slots=True)
class Task:
    """A command line that was understood."""

    command: str
    subject: str
    """What an error is about when it is not one of ours: the path."""
    output: Output
    build: Callable[[], Report]


def output_of(
    form: str,
    json: bool,
    file: str | None,
    force: bool,
    table: str | None,
    width: str | None,
    *,
    quiet: bool = False,
    summary: str | None = None,
) -> Output:
    """Where the report goes, from the words of the command line; stdout by name is stdout. Raises UsageError."""
    if json and form not in ("table", "json"):  # "table" may be the default
        raise UsageError(f"--json: not with --format {form:.40}", hint="leave out one of them")
    if file is not None and is_stdout(file):
        file = None
    return Output("json" if json else form, file, force, table, parse_count("--width", width), quiet, summary)


def selection_of(
    group: str | None,
    filters: Sequence[str],
    where: Sequence[str],
    sort: str | None,
    limit: str | None,
    columns: str | None,
    table: str | None,
) -> Selection:
    """What of the report is wanted, likewise. Raises UsageError."""
    conditions: tuple[Condition, ...] = ()
    if where:
        from optinspect.commands.conditions import parsed  # noqa: PLC0415  not for those who state none

        conditions = parsed(where)
    keys: tuple[str, ...] = ()
    if columns is not None:
        from optinspect.commands.columns import parse  # noqa: PLC0415

        keys = parse(columns)
    return Selection(
        parse_count("--group", group),
        tuple(filters),
        sort,
        parse_count("--limit", limit),
        conditions,
        keys,
        table,
    )


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether words that were not understood wanted JSON all the same: then the error is JSON too."""
    pairs = list(zip(words, [*words[1:], ""], strict=True))
    return any(
        word in ("--json", "--format=json", "-fjson") or pair in _JSON for word, pair in zip(words, pairs, strict=True)
    )


_JSON = (("-f", "json"), ("--format", "json"))
