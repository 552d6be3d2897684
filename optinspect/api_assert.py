"""The part of the Python API that belongs in a test suite: `optinspect.assert_resumable`."""

from __future__ import annotations

from os import fspath
from typing import TYPE_CHECKING, Any

from optinspect.api_reports import check

if TYPE_CHECKING:
    from optinspect.api_reports import StrPath
    from optinspect.report import Report


def assert_resumable(path: StrPath, *more: StrPath, model: Any = None, optimizer: Any = None, **options: Any) -> Report:
    """Assert, in a test, that training will resume from a checkpoint: what `optinspect check` would fail, fails here.

    path, more        checkpoints: files, directories, patterns
    model, optimizer  your own, to be resumed: as `check` takes them
    options           as `optinspect.check` takes them: select, ignore, fail_on, previous, config, …

    Returns the report of `check`. Raises AssertionError with the findings, a line each, and what to do about it; also
    for a file that is missing, damaged or something else. Raises errors.UsageError for an option that there is not.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, not ours
    from optinspect.errors import OptinspectError, UsageError  # noqa: PLC0415

    live = {key: value for key, value in (("model", model), ("optimizer", optimizer)) if value is not None}
    known = check.__kwdefaults__ or {}
    unknown = next((key for key in (*live, *options) if key not in known), None)
    if unknown is not None:
        raise UsageError(f"assert_resumable: no option {unknown} (there are {', '.join(known)})")
    try:
        report = check(path, *more, **live, **options)
    except UsageError:
        raise
    except OptinspectError as problem:
        told = f"{problem.message}\n  {problem.hint}" if problem.hint else problem.message
        raise AssertionError(told) from None
    if report.status:
        raise AssertionError(_said([fspath(each) for each in (path, *more)], report))
    return report


def _said(paths: list[str], report: Report) -> str:
    """The verdict, then every finding that counts with its place and repair, then what could not be read."""
    from optinspect.render.escape import visible  # noqa: PLC0415
    from optinspect.render.places import whereabouts  # noqa: PLC0415

    place_of = whereabouts(report)
    verdict = next((line.text for line in report.headline if line.label == "resumable"), "no")
    fails = f" ({report.summary['fail_on']}s fail)" if report.summary["resumable"] else ""
    lines = [f"{', '.join(paths)}: resumable: {verdict}{fails}"]
    for each in report.findings:
        place = place_of(each)
        lines.append(f"  {each.rule} {each.severity.value}: {place}{': ' if place else ''}{each.message}")
        lines += [f"    {each.repair}"] if each.repair else []
    lines += [f"  {each.message}" for each in report.failures]
    return "\n".join(visible(line, None) for line in lines)
