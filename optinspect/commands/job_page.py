"""`--summary FILE`: the report as Markdown at the end of a file, as a CI job's page collects it from its steps."""

from __future__ import annotations

from pathlib import Path

from optinspect.containers.wording import line
from optinspect.errors import OptinspectError, UnreadableFile, UsageError
from optinspect.render import Screen
from optinspect.render.escape import visible
from optinspect.report import Report

HEAD = 4096
HINT = "$GITHUB_STEP_SUMMARY names one in a job of GitHub, and nothing elsewhere"


def usable(name: str) -> None:
    """Raises UsageError where nothing can be appended: no name, a directory, a file that is no text (a checkpoint)."""
    if not name:
        raise UsageError("--summary: no file is named", hint=HINT)
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        found = "is a directory" if path.is_dir() else "its directory does not exist"
        raise UsageError(f"--summary {name}: {found}", hint=HINT)
    if b"\0" in _head(path):
        raise UsageError(f"--summary {name}: is no text, so nothing is appended to it", hint=HINT)


def tell(name: str, report: Report) -> None:
    """Append the report. Raises UnreadableFile."""
    from optinspect.render import markdown  # noqa: PLC0415  only where a page is written

    _append(name, f"## optinspect {report.command}\n\n{markdown.render(report, Screen())}")


def refuse(name: str, command: str, problem: OptinspectError) -> None:
    """Append why there is no report; of a call that was not understood nothing, for it may be `name` that is wrong."""
    if isinstance(problem, UsageError):
        return
    from optinspect.render import markdown  # noqa: PLC0415

    hint = f" ({problem.hint})" if problem.hint else ""
    told = markdown.literal(visible(f"{problem.message}{hint}", None))
    try:
        _append(name, f"## optinspect {command}\n\n- no answer: {told}\n")
    except OptinspectError:  # the problem itself is told on stderr
        return


def _append(name: str, text: str) -> None:
    """After a blank line; what is in the file stays."""
    path = Path(name)
    try:
        before = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"\n{text}" if before else text)
    except OSError as problem:
        raise UnreadableFile(line(path, f"not written: {problem.strerror or problem}")) from problem


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD) if path.is_file() else b""
    except OSError:
        return b""
