"""Annotations for a GitHub workflow: one command a finding, which its runner turns into a mark on the job's page.

    ::error file=ckpt.pt,title=OI304 moments that no gradients produce::optimizer.state[3].exp_avg …

Format: GitHub's workflow commands; %, CR and LF are escaped in messages, and : and , in properties too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from optinspect.render.base import Screen
from optinspect.render.escape import visible
from optinspect.render.places import locate, told
from optinspect.report import Finding, Report, Severity

LINE_ENDS = re.compile("([\r\n])")
BACK = {"\r": "%0D", "\n": "%0A"}
COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report, _: Screen) -> str:
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    path_of = locate(report)
    for failure in report.failures:
        yield f"::error file={_path(failure.input)},title=not read::{_data(failure.message)}"
    for each in report.findings:
        path = path_of(each)
        title = f"{each.rule} {each.title}"
        yield f"::{COMMANDS[each.severity]} file={_path(path)},title={_property(title)}::{_data(_said(each))}"
    for line in report.headline:
        yield f"{line.label}: {visible(line.text, None)}"


def _said(finding: Finding) -> str:
    place = told(finding.places[0])
    text = f"{place}: {finding.message}" if place else finding.message
    return f"{text} ({finding.repair})" if finding.repair else text


def _path(path: str) -> str:
    """Whole, and with its line ends as the runner reads them back; what it has no escape for is made visible."""
    parts = LINE_ENDS.split(path)
    return "".join(BACK.get(part) or _escaped(visible(part, None)) for part in parts)


def _data(text: str) -> str:
    return visible(text, 1000).replace("%", "%25")


def _property(text: str) -> str:
    return _escaped(visible(text, 1000))


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
