"""`--summary FILE`: the report as Markdown at the end of a file, as a CI job's page collects it from its steps."""

from __future__ import annotations

from pathlib import Path

from optinspect import writing
from optinspect.errors import OptinspectError, UsageError
from optinspect.render import Screen
from optinspect.render.escape import visible
from optinspect.report import Report

HEAD = 4096
HINT = "$GITHUB_STEP_SUMMARY names one in a job of GitHub, and nothing elsewhere"


def usable(name: str) -> None:
    """Raises UsageError where nothing can be appended: no name, a directory, a file that is no text (a checkpoint)."""
    if not name:
        raise UsageError("--summary: no file is named", hint=HINT)
    writing.check(name, force=True, where=f"--summary {name}")
    if writing.is_ordinary(name) and b"\0" in _head(Path(name)):
        raise UsageError(f"--summary {name}: is no text, so nothing is appended to it", hint=HINT)


def tell(name: str, report: Report) -> None:
    """Append the report. Raises UnreadableFile."""
    from optinspect.render import markdown  # noqa: PLC0415  only where a page is written

    writing.append_utf8(name, f"## optinspect {report.command}\n\n{markdown.render(report, Screen())}")


def refuse(name: str, command: str, problem: OptinspectError) -> None:
    """Append why there is no report; of a call that was not understood nothing, for it may be `name` that is wrong."""
    if isinstance(problem, UsageError):
        return
    from optinspect.render import markdown  # noqa: PLC0415

    hint = f" ({problem.hint})" if problem.hint else ""
    told = markdown.literal(visible(f"{problem.message}{hint}", None))
    try:
        writing.append_utf8(name, f"## optinspect {command}\n\n- no answer: {told}\n")
    except OptinspectError:  # the problem itself is told on stderr
        return


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""
