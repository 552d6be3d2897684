"""Report → the chosen format → stdout or a file. The only place that writes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from optinspect.errors import UnreadableFile, UsageError
from optinspect.render import RENDERERS, Renderer, Screen
from optinspect.report import Report

UNBOUNDED = 0
"""`--width 0`: as wide as the tables take."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how a command's report is written.

    table  the key of the one table wanted; None for all
    width  cells a line may take; 0 as many as needed; None asks the terminal
    """

    format: str = "table"
    file: str | None = None
    force: bool = False
    table: str | None = None
    width: int | None = None
    quiet: bool = False

    def check(self) -> Renderer:
        """Everything that can be refused before the work is done. Raises UsageError."""
        renderer = next((each for each in RENDERERS if each.name == self.format), None)
        if renderer is None:
            raise UsageError(f"--format {self.format}: no such format (there are {_names(RENDERERS)})")
        if self.file is not None and not self.force and Path(self.file).exists():
            raise UsageError(f"{self.file}: exists already", hint="add --force to replace it")
        return renderer


def emit(report: Report, output: Output) -> None:
    """Write the report. Raises UsageError for a table or format it does not have, UnreadableFile on a failed write."""
    renderer = output.check()
    if output.file is not None:
        _spare_inputs(Path(output.file), report)
    if not renderer.accepts(report):
        raise UsageError(f"--format {output.format}: not for `{report.command}`", hint="use --format json")
    text = renderer.render(_chosen(report, output, renderer), screen(output))
    if output.file is not None:
        write_whole(Path(output.file), text, overwrite=output.force)
    elif not output.quiet or output.format != "table":
        write_out(text)


def _spare_inputs(path: Path, report: Report) -> None:
    """The report must not replace what it reports on, whatever --force says."""
    target = path.resolve()
    for each in report.inputs:
        source = Path(each.path).resolve()
        if source == target or (source in target.parents and target.exists()):
            raise UsageError(f"{path}: is an input of this report", hint="choose another name for -o")


def _chosen(report: Report, output: Output, renderer: Renderer) -> Report:
    """The report with only the table asked for."""
    keys = [table.key for table in report.tables]
    if output.table is None:
        if renderer.single and len(keys) != 1:
            raise UsageError(f"--format {renderer.name} holds one table", hint=f"add --table {'|'.join(keys)}")
        return report
    if output.table not in keys:
        raise UsageError(f"--table {output.table}: no such table (this report has {', '.join(keys)})")
    return replace(report, tables=tuple(replace(t, machine=False) for t in report.tables if t.key == output.table))


def screen(output: Output) -> Screen:
    """A terminal has a width and colour; a pipe or a file has neither, unless COLUMNS or --width says so."""
    encoding = "utf-8" if output.file is not None else (sys.stdout.encoding or "utf-8")
    terminal = output.file is None and sys.stdout.isatty()
    width = output.width
    if width is None and (terminal or os.environ.get("COLUMNS", "").isdigit()):
        width = shutil.get_terminal_size().columns
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(width=None if width in (None, UNBOUNDED) else width, colour=colour, encoding=encoding)


def write_out(text: str) -> None:
    """To stdout, in its encoding: a character that it lacks is written as an escape, never an error."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; what is still buffered must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        raise UnreadableFile(f"{path}: not written: {problem.strerror or problem}") from problem
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
        raise UsageError(f"{path}: exists already", hint="add --force to replace it") from None
    except OSError:  # a file system without hard links
        source.replace(path)


def _allow_as_umask(path: Path) -> None:
    """mkstemp makes files that only their owner may read; a report is an ordinary file."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _names(renderers: tuple[Renderer, ...]) -> str:
    return ", ".join(each.name for each in renderers)
