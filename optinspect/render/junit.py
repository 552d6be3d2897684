"""JUnit XML, which every CI system shows as test results: a suite a checkpoint, a case a rule.

A rule that found something at or above the level that fails is a failure; one that found less passes, and its output
says what; one that was not asked is skipped. An input that could not be read is a suite with one error.

XML 1.0 cannot hold most control characters, surrogates and U+FFFE: they are told as their escapes. ASCII throughout.
Format: what Jenkins, GitLab and surefire have in common (testsuites, testsuite, testcase, failure, error, skipped).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optinspect.render.base import Screen
from optinspect.render.escape import visible
from optinspect.render.places import locate, told
from optinspect.report import LEVELS, Failure, Finding, Report, Severity

Row = Mapping[str, Any]
MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


@dataclass(frozen=True, slots=True)
class Suite:
    """What was asked of one checkpoint: rows with `rule`, `result` and `reason`, and the findings that count."""

    path: str
    rows: Sequence[Row]
    findings: Mapping[str, Sequence[Finding]]
    titles: Mapping[str, str]
    failing: Sequence[Severity]

    @property
    def failures(self) -> int:
        return sum(self.fails(found) for found in self.findings.values())

    def fails(self, found: Sequence[Finding]) -> bool:
        return any(each.severity in self.failing for each in found)


def render(report: Report, _: Screen) -> str:
    suites = list(_suites(report))
    counts = {
        "tests": sum(len(each.rows) for each in suites) + len(report.failures),
        "failures": sum(each.failures for each in suites),
        "errors": len(report.failures),
    }
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="optinspect check" {_numbers(counts)}>',
        *(line for suite in suites for line in _suite(suite)),
        *(line for failure in report.failures for line in _unread(failure)),
        "</testsuites>",
    ]
    return "".join(f"{line}\n" for line in lines).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _suites(report: Report) -> Iterator[Suite]:
    path_of = locate(report)
    titles = {each.rule: each.title for each in report.manual}
    failing = LEVELS[report.summary.get("fail_on", "error")]
    by_path: dict[str, dict[str, list[Finding]]] = {}
    for finding in report.findings:
        by_path.setdefault(path_of(finding), {}).setdefault(finding.rule, []).append(finding)
    for path, rows in _asked(report).items():
        yield Suite(path, rows, by_path.get(path, {}), titles, failing)


def _asked(report: Report) -> dict[str, list[Row]]:
    """path → a row a rule: of one checkpoint its table of rules, of several their table of results."""
    tables = {table.key: table.rows for table in report.tables}
    asked: dict[str, list[Row]] = {}
    for row in tables.get("results", ()):
        asked.setdefault(row["path"], []).append(row)
    if not asked and report.inputs:
        asked[report.inputs[0].path] = list(tables.get("rules", ()))
    return asked


def _suite(suite: Suite) -> Iterator[str]:
    skipped = sum(row["result"] == "skipped" for row in suite.rows)
    counts = {"tests": len(suite.rows), "failures": suite.failures, "errors": 0, "skipped": skipped}
    yield f"<testsuite name={_attribute(suite.path)} {_numbers(counts)}>"
    for row in suite.rows:
        yield from _case(suite, row)
    yield "</testsuite>"


def _case(suite: Suite, row: Row) -> Iterator[str]:
    code = row["rule"]
    name = f"{code} {suite.titles.get(code, '')}".rstrip()
    yield f"<testcase classname={_attribute(suite.path)} name={_attribute(name)}>"
    found = suite.findings.get(code, ())
    if found:
        text = "\n".join(_said(each) for each in found).translate(MARKUP)
        opened = f"failure message={_attribute(_first(found))} type={_attribute(found[0].severity.value)}"
        yield f"<{opened}>{text}</failure>" if suite.fails(found) else f"<system-out>{text}</system-out>"
    elif row["result"] == "skipped":
        yield f"<skipped message={_attribute(row['reason'] or '')}/>"
    yield "</testcase>"


def _first(found: Sequence[Finding]) -> str:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0].message}{more}"


def _said(finding: Finding) -> str:
    place = told(finding.places[0])
    text = f"{finding.severity.value}: {place}{': ' if place else ''}{finding.message}"
    return "\n  ".join(visible(part, None) for part in (text, finding.repair) if part)


def _unread(failure: Failure) -> Iterator[str]:
    path, kind, message = (_attribute(text) for text in (failure.input, failure.kind, failure.message))
    yield f"<testsuite name={path} {_numbers({'tests': 1, 'failures': 0, 'errors': 1, 'skipped': 0})}>"
    yield f'<testcase classname={path} name="read"><error message={message} type={kind}/></testcase>'
    yield "</testsuite>"


def _attribute(text: str) -> str:
    return f'"{visible(text, None).translate(MARKUP)}"'


def _numbers(counts: Mapping[str, int]) -> str:
    return " ".join(f'{key}="{count}"' for key, count in counts.items())
