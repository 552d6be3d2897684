"""`check` under a policy: which one, what it adds to the command line, and what of it is said in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optinspect.checks import Outcome
from optinspect.commands.check_choice import Choice
from optinspect.commands.check_result import Checked, Unread
from optinspect.commands.wording import counted, some
from optinspect.errors import UsageError
from optinspect.policy.search import found_upward
from optinspect.report import Finding, Line, Report

if TYPE_CHECKING:  # PyYAML is loaded where there is a policy
    from optinspect.commands.check import Options
    from optinspect.policy.contents import Policy


def load(config: str | None, *, search: bool = False) -> Policy | None:
    """The policy at `config`, or the one found upward from the working directory. Raises as `reader.read` does."""
    path = config if config is not None or not search else found_upward()
    if path is None:
        return None
    from optinspect.policy.reader import read  # noqa: PLC0415  10 ms without a policy

    return read(path)


def wanted(config: str | None, no_config: bool) -> Policy | None:
    """What --config and --no-config ask for. Raises UsageError for both."""
    if config is not None and no_config:
        raise UsageError("--config and --no-config: only one of them")
    if config == "":
        raise UsageError("--config: no file is named", hint="--no-config goes by none")
    return load(config, search=not no_config)


def under(policy: Policy | None, options: Options, fail_on: str | None) -> Options:
    """The options with what the policy says: --select and --fail-on replace it, --ignore adds, routes go before it."""
    if policy is None:
        return replace(options, fail_on=fail_on or "error")
    given = options.choice
    return replace(
        options,
        choice=Choice(given.select or policy.select, (*given.ignore, *(each.code for each in policy.ignore))),
        fail_on=fail_on or policy.fail_on or "error",
        model_key=options.model_key or policy.model_key,
        optimizer_key=options.optimizer_key or policy.optimizer_key,
        policy=policy,
    )


def judged(outcome: Outcome, policy: Policy | None) -> Outcome:
    """The findings with the severities of the policy."""
    if policy is None or not policy.severity:
        return outcome
    return replace(outcome, findings=_judged(outcome.findings, policy), waived=_judged(outcome.waived, policy))


def _judged(findings: Iterable[Finding], policy: Policy) -> tuple[Finding, ...]:
    return tuple(replace(each, severity=policy.severity_of(each.rule) or each.severity) for each in findings)


def told(report: Report, policy: Policy | None, results: Iterable[Checked | Unread]) -> Report:
    """The report with which policy held, and what it accepted for which reason."""
    outcomes = [each.outcome for each in results if isinstance(each, Checked)]
    rows = [] if policy is None else _accepted(policy, outcomes)
    said = None if policy is None else {"path": policy.path, "accepted": rows}
    footer = report.footer if policy is None else (*report.footer, Line("policy", _line(policy, rows)))
    return replace(report, summary={**report.summary, "policy": said}, footer=footer)


def _accepted(policy: Policy, outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """A row a rule and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        for findings, waivers in ((outcome.findings, policy.ignore), (outcome.waived, policy.terms.waivers)):
            for each in findings:
                entry = next((one for one in waivers if one.covers(each.rule)), None)
                if entry is not None:
                    counts[each.rule, entry.reason] += 1
    return [{"rule": rule, "reason": reason, "findings": count} for (rule, reason), count in sorted(counts.items())]


def _line(policy: Policy, rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return policy.path
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row["reason"], []).append(row["rule"])
    why = some((f"{some(rules)}: {reason}" for reason, rules in by_reason.items()), 3)
    return f"{policy.path}: {counted(sum(row['findings'] for row in rows), 'finding')} accepted ({why})"
