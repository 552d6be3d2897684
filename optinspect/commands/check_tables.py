"""The tables of `check`: every rule with what it gave; of several paths, each path, and each rule on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optinspect.checks import RULES, Rule
from optinspect.commands.check_result import Checked, Unread
from optinspect.live.registry import MANUAL
from optinspect.proof.findings import KINDS, Kind
from optinspect.report import Column, Manual, Severity, Skipped, Table, Unit

RULE_COLUMNS = (
    Column("rule", "rule", Unit.TEXT, 0),
    Column("severity", "severity", Unit.TEXT, 1),
    Column("title", "what it finds", Unit.TEXT, 2),
    Column("result", "result", Unit.TEXT, 0),
    Column("findings", "findings", Unit.COUNT, 0),
    Column("reason", "why skipped", Unit.TEXT, 3),
)
PATH_COLUMNS = (
    Column("path", "path", Unit.NAME, 0),
    Column("result", "result", Unit.TEXT, 0),
    Column("errors", "errors", Unit.COUNT, 1),
    Column("warnings", "warnings", Unit.COUNT, 1),
    Column("notes", "notes", Unit.COUNT, 2),
    Column("known", "known", Unit.COUNT, 2, machine=True),
    Column("problem", "not read", Unit.TEXT, 0),
)
RESULT_COLUMNS = (
    Column("path", "path", Unit.NAME, 0),
    Column("rule", "rule", Unit.TEXT, 0),
    Column("result", "result", Unit.TEXT, 0),
    Column("findings", "findings", Unit.COUNT, 0),
    Column("reason", "why skipped", Unit.TEXT, 1),
)


def known_rules() -> list[tuple[str, Rule | Kind]]:
    """Every rule by its code, those on two checkpoints among them."""
    every: list[tuple[str, Rule | Kind]] = [*((rule.code, rule) for rule in (*RULES, *MANUAL)), *KINDS.items()]
    return sorted(every, key=lambda each: each[0])


def manual() -> tuple[Manual, ...]:
    return tuple(Manual(code, rule.title, rule.severity, _page(rule)) for code, rule in known_rules())


def _page(rule: Rule | Kind) -> str:
    if isinstance(rule, Rule):
        return rule.page
    return f"{rule.title}\n\nRepair: {rule.repair}" if rule.repair else rule.title


def skipped(checked: Sequence[Checked]) -> tuple[Skipped, ...]:
    """Rules that were skipped for every checkpoint."""
    first: dict[str, Skipped] = {}
    for one in checked:
        for each in one.outcome.skipped:
            first.setdefault(each.rule, each)
    everywhere = [{each.rule for each in one.outcome.skipped} for one in checked]
    return tuple(each for code, each in sorted(first.items()) if all(code in codes for codes in everywhere))


def rules(checked: Sequence[Checked], left_out: Sequence[Skipped], *, shown: bool) -> Table:
    counts = Counter(finding.rule for each in checked for finding in (*each.findings, *each.ignored, *each.known))
    rows = [
        {"rule": code, "severity": rule.severity.value, "title": rule.title, **_result(code, counts, left_out)}
        for code, rule in (known_rules() if checked else ())
    ]
    return Table("rules", "Rules", RULE_COLUMNS, rows, machine=not shown)


def _result(code: str, counts: Mapping[str, int], left_out: Sequence[Skipped]) -> dict[str, Any]:
    reason = next((each.reason for each in left_out if each.rule == code), None)
    result = "found" if counts.get(code) else "skipped" if reason is not None else "passed"
    return {"result": result, "findings": counts.get(code, 0), "reason": reason}


def paths(results: Sequence[Checked | Unread]) -> Table:
    """A row a path that was given."""
    return Table("paths", "Checkpoints", PATH_COLUMNS, [_path(each) for each in results])


def _path(each: Checked | Unread) -> dict[str, Any]:
    if isinstance(each, Unread):
        nothing = dict.fromkeys(column.key for column in PATH_COLUMNS)
        return nothing | {"path": each.path, "result": "unreadable", "problem": each.reason}
    return {
        "path": each.path,
        "result": "resumable" if each.resumable else "not resumable",
        "errors": each.count(Severity.ERROR),
        "warnings": each.count(Severity.WARNING),
        "notes": each.count(Severity.NOTE),
        "known": len(each.known),
        "problem": None,
    }


def results(checked: Sequence[Checked]) -> Table:
    """Every rule on every checkpoint."""
    return Table("results", "Results", RESULT_COLUMNS, list(_results(checked)), machine=True)


def _results(checked: Sequence[Checked]) -> Iterator[dict[str, Any]]:
    for each in checked:
        counts = Counter(finding.rule for finding in (*each.findings, *each.ignored, *each.known))
        for code, _ in known_rules():
            yield {"path": each.path, "rule": code, **_result(code, counts, each.outcome.skipped)}
