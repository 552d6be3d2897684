"""What `check` says: a verdict, the findings, which rules ran and why others did not, and what was covered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from optinspect.checks.expected import UNSAID
from optinspect.commands import check_tables
from optinspect.commands.check_baseline import Compared
from optinspect.commands.check_result import CODES, Checked, Unread
from optinspect.commands.wording import command_line, counted, some
from optinspect.report import Finding, Line, Report, Severity, Skipped, Table

if TYPE_CHECKING:
    from optinspect.commands.check_latest import Searched

COULD_NOT_ANSWER = 2


class Asked(Protocol):
    """The options that the report depends on."""

    @property
    def fail_on(self) -> str: ...
    @property
    def exit_zero(self) -> bool: ...
    @property
    def statistics(self) -> bool: ...


def report(
    results: Sequence[Checked | Unread],
    asked: Asked,
    *,
    compared: Compared | None = None,
    searched: Searched | None = None,
) -> Report:
    """Of what was checked, in order; with what a baseline says of it, and what was searched for --latest."""
    checked = [each for each in results if isinstance(each, Checked)]
    unread = [each for each in results if isinstance(each, Unread)]
    findings = tuple(finding for each in checked for finding in each.findings)
    skipped = check_tables.skipped(checked)
    chosen = searched.chosen if searched is not None else None
    summary = _summary(checked, unread, skipped) | {
        "fixed": len(compared.fixed) if compared else 0,
        "latest": chosen.path if chosen else None,
        "fail_on": asked.fail_on,
    }
    if searched is not None:
        summary["resumable"] = chosen is not None and chosen.resumable
    return Report(
        command="check",
        status=_status(checked, unread, searched, asked),
        inputs=tuple(each for one in checked for each in one.inputs),
        summary=summary,
        tables=tuple(_tables(results, checked, skipped, asked, compared, searched)),
        findings=findings,
        skipped=skipped,
        failures=tuple(each.failure for each in unread),
        manual=check_tables.manual(),
        answer=chosen.path if chosen else None,
        headline=tuple(searched.headline if searched else [_verdict(summary)]),
        footer=tuple(_footer(checked, summary, skipped, compared, searched)),
        next_command=_next(results, findings, chosen),
    )


def _status(checked: Sequence[Checked], unread: Sequence[Unread], searched: Searched | None, asked: Asked) -> int:
    """Of --latest 0 where one passes: that others cannot be read is part of the answer, unless it is all there is."""
    if searched is not None and (checked or not unread):
        return int(searched.chosen is None and not asked.exit_zero)
    if unread:
        return COULD_NOT_ANSWER
    return int(any(each.fails(asked.fail_on) for each in checked) and not asked.exit_zero)


def _summary(checked: Sequence[Checked], unread: Sequence[Unread], skipped: tuple[Skipped, ...]) -> dict[str, Any]:
    return {
        "resumable": not unread and all(each.resumable for each in checked),
        "errors": sum(each.count(Severity.ERROR) for each in checked),
        "warnings": sum(each.count(Severity.WARNING) for each in checked),
        "notes": sum(each.count(Severity.NOTE) for each in checked),
        "ignored": sum(len(each.ignored) for each in checked),
        "known": sum(len(each.known) for each in checked),
        "checkpoints": len(checked),
        "unreadable": len(unread),
        "rules_run": len(CODES) - len(skipped) if checked else 0,
        "rules_skipped": len(skipped),
    }


def _tables(
    results: Sequence[Checked | Unread],
    checked: Sequence[Checked],
    skipped: tuple[Skipped, ...],
    asked: Asked,
    compared: Compared | None,
    searched: Searched | None,
) -> Iterator[Table]:
    if searched is not None:
        yield searched.table
    elif len(results) > 1:
        yield check_tables.paths(results)
    if searched is not None or len(results) > 1:
        yield check_tables.results(checked)
    if compared is not None:
        yield compared.table
    yield check_tables.rules(checked, skipped, shown=asked.statistics)


def _verdict(summary: Mapping[str, Any]) -> Line:
    parts = [counted(summary[key], key[:-1]) for key in ("errors", "warnings", "notes") if summary[key]]
    parts += [f"{summary[key]:,} {key}" for key in ("unreadable", "known", "ignored") if summary[key]]
    told = ", ".join(parts) or "nothing found"
    total = summary["checkpoints"] + summary["unreadable"]
    if total > 1:
        told += f" in {counted(total, 'checkpoint')}"
    if summary["resumable"]:
        severity = Severity.WARNING if summary["warnings"] else None
        return Line("resumable", f"yes: {told}", severity)
    return Line("resumable", f"no: {told}", Severity.ERROR)


def _footer(
    checked: Sequence[Checked],
    summary: Mapping[str, Any],
    skipped: tuple[Skipped, ...],
    compared: Compared | None,
    searched: Searched | None,
) -> Iterator[Line]:
    if compared is not None:
        yield from compared.lines
    if searched is not None:
        yield from searched.footer
    if checked:
        yield Line("rules", _rules(summary, skipped))
        yield Line("covered", _covered(checked))
    for each in checked:
        if each.resumed is not None:
            yield Line("resumed", each.resumed)
    inert = sum(each.inert for each in checked)
    told = f"; {counted(inert, 'name')} kept inert" if inert else ""
    yield Line("safety", f"nothing from the file was executed{told}")


def _rules(summary: Mapping[str, Any], skipped: tuple[Skipped, ...]) -> str:
    told = ("names the cause", UNSAID)
    known = (each for each in skipped if not each.rule.startswith(("OI0", "OI6", "OI9")))
    shown = (each for each in known if not any(reason in each.reason for reason in told))
    why = some((f"{each.rule} {each.reason}" for each in shown), 3)
    counts = f"{counted(summary['rules_run'], 'rule')} run, {summary['rules_skipped']:,} skipped"
    return counts + (f" ({why})" if why else "")


def _covered(checked: Sequence[Checked]) -> str:
    records = sum(each.outcome.records for each in checked)
    read = sum(each.outcome.read for each in checked)
    tensors = sum(each.outcome.tensors for each in checked)
    sums = f"{counted(records, 'checksum')} compared" if records else "no checksums in the file"
    parts = tuple(dict.fromkeys(each.part for each in checked if each.part))
    whose = f" that {some(parts, 2)} has" if parts else ""
    return f"{read:,} of {counted(tensors, 'tensor')}, every element{whose}; {sums}"


def _next(results: Sequence[Checked | Unread], findings: Sequence[Finding], chosen: Checked | None) -> str | None:
    """How to go on: what the gravest finding means."""
    order = list(Severity)
    gravest = min(findings, key=lambda each: order.index(each.severity), default=None)
    if gravest is not None and chosen is None:
        return command_line("optinspect", "rules", gravest.rule)
    path = chosen.path if chosen is not None else results[0].path if results else None
    if path is None:
        return None
    return command_line("optinspect", "show", f"./{path}" if path.startswith("-") else path)  # else it is an option
