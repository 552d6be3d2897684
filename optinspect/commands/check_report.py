"""What `check` says: a verdict, the findings, which rules ran and why others did not, and what was covered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.checks import RULES, Outcome, Rule
from optinspect.commands.wording import command_line, counted, some
from optinspect.proof.findings import KINDS, Kind
from optinspect.report import Column, Finding, Line, Report, Severity, Skipped, Table, Unit

Checked = tuple[Checkpoint, Outcome, tuple[Finding, ...], tuple[Finding, ...]]
"""A checkpoint, what the rules said, the findings that count, and those that were left out."""

COLUMNS = (
    Column("rule", "rule", Unit.TEXT, 0),
    Column("severity", "severity", Unit.TEXT, 1),
    Column("title", "what it finds", Unit.TEXT, 2),
    Column("result", "result", Unit.TEXT, 0),
    Column("findings", "findings", Unit.COUNT, 0),
    Column("reason", "why skipped", Unit.TEXT, 3),
)


def report(checked: Sequence[Checked], status: int, *, statistics: bool) -> Report:
    findings = tuple(finding for _, _, found, _ in checked for finding in found)
    skipped = _skipped(checked)
    counts = Counter(finding.severity for finding in findings)
    inputs = tuple(each for checkpoint, _, _, _ in checked for each in checkpoint.inputs)
    holds = all(checkpoint.optimizers for checkpoint, _, _, _ in checked)
    summary = {
        "resumable": holds and not counts[Severity.ERROR],
        "errors": counts[Severity.ERROR],
        "warnings": counts[Severity.WARNING],
        "notes": counts[Severity.NOTE],
        "ignored": sum(len(left) for _, _, _, left in checked),
        "rules_run": len(RULES) + len(KINDS) - len(skipped),
        "rules_skipped": len(skipped),
    }
    return Report(
        command="check",
        status=status,
        inputs=inputs,
        summary=summary,
        tables=(Table("rules", "Rules", COLUMNS, list(_rows(checked, skipped)), machine=not statistics),),
        findings=findings,
        skipped=skipped,
        headline=(_verdict(summary),),
        footer=tuple(_footer(checked, summary, skipped)),
        next_command=_next(checked, findings),
    )


def _skipped(checked: Sequence[Checked]) -> tuple[Skipped, ...]:
    """Rules that were skipped for every checkpoint."""
    first: dict[str, Skipped] = {}
    for _, outcome, _, _ in checked:
        for each in outcome.skipped:
            first.setdefault(each.rule, each)
    everywhere = [{each.rule for each in outcome.skipped} for _, outcome, _, _ in checked]
    return tuple(each for code, each in sorted(first.items()) if all(code in codes for codes in everywhere))


def _rows(checked: Sequence[Checked], skipped: tuple[Skipped, ...]) -> Iterator[dict[str, Any]]:
    reasons = {each.rule: each.reason for each in skipped}
    counts = Counter(finding.rule for _, _, found, left in checked for finding in (*found, *left))
    known: list[tuple[str, Rule | Kind]] = [*((rule.code, rule) for rule in RULES), *KINDS.items()]
    for code, rule in sorted(known, key=lambda each: each[0]):
        yield {
            "rule": code,
            "severity": rule.severity.value,
            "title": rule.title,
            "result": "found" if counts[code] else "skipped" if code in reasons else "passed",
            "findings": counts[code],
            "reason": reasons.get(code),
        }


def _verdict(summary: Mapping[str, Any]) -> Line:
    parts = [counted(summary[key], key[:-1]) for key in ("errors", "warnings", "notes") if summary[key]]
    if summary["ignored"]:
        parts.append(f"{summary['ignored']:,} ignored")
    told = ", ".join(parts) or "nothing found"
    if summary["resumable"]:
        severity = Severity.WARNING if summary["warnings"] else None
        return Line("resumable", f"yes: {told}", severity)
    return Line("resumable", f"no: {told}", Severity.ERROR)


def _footer(checked: Sequence[Checked], summary: Mapping[str, Any], skipped: tuple[Skipped, ...]) -> Iterator[Line]:
    why = some(
        (
            f"{each.rule} {each.reason}"
            for each in skipped
            if "names the cause" not in each.reason and not each.rule.startswith("OI6")
        ),
        3,
    )
    told = f"{counted(summary['rules_run'], 'rule')} run, {summary['rules_skipped']:,} skipped"
    yield Line("rules", told + (f" ({why})" if why else ""))
    for _, outcome, _, _ in checked:
        yield Line("covered", _covered(outcome))
    names = [name for checkpoint, _, _, _ in checked for tree in checkpoint.trees for name in tree.dangerous]
    inert = f"; {counted(len(names), 'name')} kept inert" if names else ""
    yield Line("safety", f"nothing from the file was executed{inert}")


def _covered(outcome: Outcome) -> str:
    sums = f"{counted(outcome.records, 'checksum')} compared" if outcome.records else "no checksums in the file"
    return f"{outcome.read:,} of {counted(outcome.tensors, 'tensor')}, every element; {sums}"


def _next(checked: Sequence[Checked], findings: Sequence[Finding]) -> str:
    """How to go on: what the gravest finding means."""
    order = list(Severity)
    gravest = min(findings, key=lambda each: order.index(each.severity), default=None)
    if gravest is not None:
        return command_line("optinspect", "rules", gravest.rule)
    return command_line("optinspect", "show", checked[0][0].inputs[0].path)
