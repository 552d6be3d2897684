"""Report → the chosen format → stdout or a file."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from optinspect import writing
from optinspect.commands import job_page
from optinspect.commands.streams import write_out, write_path
from optinspect.containers.wording import line
from optinspect.errors import OptinspectError, UsageError
from optinspect.render import RENDERERS, Renderer, Screen
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

    def check(self, command: str) -> Renderer:
        """Everything that can be refused before the work is done. Raises UsageError."""
        renderer = _renderer(self.format, command)
        if self.file is not None:
            writing.check(self.file, force=self.force, where=f"-o {self.file}")
        if self.summary is not None:
            job_page.usable(self.summary)
        return renderer


def emit(report: Report, output: Output) -> None:
    """Write the report. Raises UsageError for a table or format it does not have, UnreadableFile on a failed write."""
    renderer = output.check(report.command)
    for written in (output.file, output.summary):
        if written is not None:
            spare_inputs(Path(written), report)
    text = renderer.render(_chosen(report, output, renderer), screen(output))
    if output.summary is not None:  # before the report: stdout holds either that or an error
        job_page.tell(output.summary, report)
    if output.file is not None:
        writing.write_utf8(output.file, text, force=output.force)
    elif not output.quiet or output.format != "table":
        write_out(text)
    if output.quiet and report.answer is not None and (output.file is not None or output.format == "table"):
        write_path(report.answer)


def refuse(command: str, subject: str, problem: OptinspectError, output: Output) -> None:
    """Why there is no report, in the formats that list what could not be read: whoever reads them sees no stderr.

    Raises as `emit` does. Of a call that was not understood nothing is written.
    """
    if isinstance(problem, UsageError) or not output.check(command).only:
        return
    failure = Failure(subject, problem.kind, problem.message, problem.hint)
    report = Report(command, problem.status, (), {"fail_on": "never"}, failures=(failure,))
    emit(report, replace(output, summary=None, quiet=False))


def spare_inputs(path: Path, report: Report) -> None:
    """The report must not replace what it reports on, whatever --force says."""
    target = Path(os.path.realpath(path))
    for each in (*(one.path for one in report.inputs), *(one.input for one in report.failures)):
        source = Path(os.path.realpath(each))
        if source == target or (source in target.parents and target.exists()):
            raise UsageError(line(path, "is an input of this report"), hint="choose another name for the report")


def _chosen(report: Report, output: Output, renderer: Renderer) -> Report:
    """The report with only the table asked for."""
    keys = [table.key for table in report.tables]
    if output.table is None:
        findings = report.command == "check"  # which no table holds: its only one is not what is asked for
        if renderer.single and (len(keys) != 1 or findings):
            hint = f"add --table {'|'.join(keys)}" + ("; findings are in --format json" if findings else "")
            raise UsageError(f"--format {renderer.name} holds one table", hint=hint)
        return report
    if renderer.only:
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


def _renderer(form: str, command: str) -> Renderer:
    """Raises UsageError for a format that the command does not have."""
    has = [each for each in RENDERERS if each.suits(command)]
    found = next((each for each in RENDERERS if each.name == form), None)
    if found is None or found not in has:
        why = "no such format" if found is None else f"not for `{command}`"
        raise UsageError(f"--format {form:.40}: {why} (expected {', '.join(each.name for each in has)})")
    return found
