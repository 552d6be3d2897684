"""Report → the chosen format → stdout or a file. The only place that writes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from optinspect.commands import job_page
from optinspect.commands.streams import write_out, write_path
from optinspect.containers.wording import line
from optinspect.errors import OptinspectError, UnreadableFile, UsageError
from optinspect.render import RENDERERS, Renderer, Screen
from optinspect.render.base import is_check
from optinspect.report import Failure, Report

UNBOUNDED = 0
"""`--width 0`: as wide as the tables take."""

FOR_PEOPLE = ("table", "markdown")
"""Formats that are read, not parsed: the others have every row."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how a command's report is written.

    table  the key of the one table wanted; None for all
    width  cells a line may take; 0 as many as needed; None asks the terminal
    summary  a file that the report is appended to as Markdown
    """

    format: str = "table"
    file: str | None = None
    force: bool = False
    table: str | None = None
    width: int | None = None
    quiet: bool = False
    summary: str | None = None

    def check(self) -> Renderer:
        """Everything that can be refused before the work is done. Raises UsageError."""
        renderer = next((each for each in RENDERERS if each.name == self.format), None)
        if renderer is None:
            raise UsageError(f"--format {self.format}: no such format (there are {_names(RENDERERS)})")
        if self.file is not None and not self.force and Path(self.file).exists():
            raise UsageError(f"{self.file}: exists already", hint="add --force to replace it")
        if self.summary is not None:
            job_page.usable(self.summary)
        return renderer


def emit(report: Report, output: Output) -> None:
    """Write the report. Raises UsageError for a table or format it does not have, UnreadableFile on a failed write."""
    renderer = output.check()
    for written in (output.file, output.summary):
        if written is not None:
            spare_inputs(Path(written), report)
    if not renderer.accepts(report):
        raise UsageError(f"--format {output.format}: not for `{report.command}`", hint="use --format json")
    text = renderer.render(_chosen(report, output, renderer), screen(output))
    if output.summary is not None:  # before the report: stdout holds either that or an error
        job_page.tell(output.summary, report)
    if output.file is not None:
        write_whole(Path(output.file), text, overwrite=output.force)
    elif not output.quiet or output.format != "table":
        write_out(text)
    if output.quiet and report.answer is not None and (output.file is not None or output.format == "table"):
        write_path(report.answer)


def refuse(command: str, subject: str, problem: OptinspectError, output: Output) -> None:
    """Why there is no report, in the formats that list what could not be read: whoever reads them sees no stderr.

    Raises as `emit` does. Of a call that was not understood nothing is written.
    """
    if isinstance(problem, UsageError) or output.check().accepts is not is_check:
        return
    failure = Failure(subject, problem.kind, problem.message, problem.hint)
    report = Report(command, problem.status, (), {"fail_on": "never"}, failures=(failure,))
    emit(report, replace(output, summary=None, quiet=False))


def spare_inputs(path: Path, report: Report) -> None:
    """The report must not replace what it reports on, whatever --force says."""
    target = path.resolve()
    for each in (*(one.path for one in report.inputs), *(one.input for one in report.failures)):
        source = Path(each).resolve()
        if source == target or (source in target.parents and target.exists()):
            raise UsageError(line(path, "is an input of this report"), hint="choose another name for the report")


def _chosen(report: Report, output: Output, renderer: Renderer) -> Report:
    """The report with only the table asked for."""
    keys = [table.key for table in report.tables]
    if output.table is None:
        if renderer.single and len(keys) != 1:
            raise UsageError(f"--format {renderer.name} holds one table", hint=f"add --table {'|'.join(keys)}")
        return report
    if renderer.accepts is is_check:
        raise UsageError(f"--table {output.table}: --format {renderer.name} holds findings, not tables")
    if output.table not in keys:
        raise UsageError(f"--table {output.table}: no such table (this report has {', '.join(keys)})")
    chosen = tuple(replace(t, machine=False) for t in report.tables if t.key == output.table)
    return replace(report, tables=chosen, parts=())


def screen(output: Output) -> Screen:
    """A terminal has a width and colour; a pipe or a file has neither, unless COLUMNS or --width says so.

    NO_COLOR and FORCE_COLOR count when they are not empty; NO_COLOR wins. A file is never coloured.
    """
    encoding = "utf-8" if output.file is not None else (sys.stdout.encoding or "utf-8")
    terminal = output.file is None and sys.stdout.isatty()
    width = output.width
    if width is None and (terminal or os.environ.get("COLUMNS", "").isdigit()):
        width = shutil.get_terminal_size().columns
    able = terminal and os.environ.get("TERM") != "dumb"
    colour = output.file is None and (able or bool(os.environ.get("FORCE_COLOR"))) and not os.environ.get("NO_COLOR")
    return Screen(width=None if width in (None, UNBOUNDED) else width, colour=colour, encoding=encoding)


def write_whole(path: Path, text: str, *, overwrite: bool) -> None:
    """All of `text` in `path` or nothing: written beside it, then moved over it in one step."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        _allow_as_umask(Path(temporary))
        _move(Path(temporary), path, overwrite)
    except OSError as problem:
        raise UnreadableFile(line(path, f"not written: {problem.strerror or problem}")) from problem
    finally:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()


def _move(source: Path, path: Path, overwrite: bool) -> None:
    """Without `overwrite`, a file that appeared meanwhile is kept: a hard link refuses to replace."""
    if overwrite:
        source.replace(path)
        return
    try:
        os.link(source, path)
    except FileExistsError:
        raise UsageError(line(path, "exists already"), hint="add --force to replace it") from None
    except OSError:  # a file system without hard links
        source.replace(path)


def _allow_as_umask(path: Path) -> None:
    """mkstemp makes files that only their owner may read; a report is an ordinary file."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _names(renderers: tuple[Renderer, ...]) -> str:
    return ", ".join(each.name for each in renderers)
