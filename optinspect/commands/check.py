"""`optinspect check PATH …`: will training go on from this checkpoint as it would have gone on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from optinspect.checkpoint import Checkpoint
from optinspect.checks import RULES, Outcome, gather, run
from optinspect.commands import check_pair, check_report
from optinspect.commands.check_choice import Choice
from optinspect.commands.progress import Progress
from optinspect.errors import UsageError
from optinspect.reading import open_checkpoint
from optinspect.report import Finding, Report, Severity, Skipped

LEVELS = {
    "error": (Severity.ERROR,),
    "warning": (Severity.ERROR, Severity.WARNING),
    "note": tuple(Severity),
    "never": (),
}
"""--fail-on → severities that make the exit status 1."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `check` can be asked; the defaults are those of the command line."""

    choice: Choice = field(default_factory=Choice)
    fail_on: str = "error"
    exit_zero: bool = False
    statistics: bool = False
    previous: str | None = None
    model_state: str | None = None
    model_key: str | None = None
    optimizer_key: str | None = None
    max_memory: int | None = None
    progress: bool = False


@dataclass(frozen=True)
class Checked:
    """One checkpoint with what the rules said of it. `ignored`: findings that --ignore or --select left out."""

    checkpoint: Checkpoint
    outcome: Outcome
    findings: tuple[Finding, ...]
    ignored: tuple[Finding, ...]


def build(paths: Sequence[str], options: Options) -> Report:
    """Check every path. Raises OptinspectError where one of them, or the options, do not allow an answer."""
    if options.previous is not None and len(paths) > 1:
        raise UsageError("--previous belongs to one checkpoint", hint="check them one by one")
    checked = [_checked(path, options, len(paths) > 1) for path in paths]
    status = 0 if options.exit_zero else int(any(_fails(each, options.fail_on) for each in checked))
    return check_report.report(
        [(each.checkpoint, each.outcome, each.findings, each.ignored) for each in checked],
        status,
        statistics=options.statistics,
    )


def level(word: str) -> str:
    """One of LEVELS. Raises UsageError."""
    if word not in LEVELS:
        raise UsageError(f"--fail-on {word}: no such level (expected {', '.join(LEVELS)})")
    return word


def _fails(checked: Checked, level: str) -> bool:
    return any(finding.severity in LEVELS[level] for finding in checked.findings)


def _checked(path: str, options: Options, several: bool) -> Checked:
    with open_checkpoint(
        path,
        model_state=options.model_state,
        model_key=options.model_key,
        optimizer_key=options.optimizer_key,
        max_memory=options.max_memory,
    ) as checkpoint:
        total = sum(each.bytes for each in checkpoint.inputs)
        with Progress("checking", total, shown=options.progress) as progress:
            facts = gather(checkpoint, progress.add)
        outcome = run(RULES, facts)
        told, left_out = _pair(checkpoint, outcome, options)
        for tree in checkpoint.trees:
            tree.verify_unchanged()
    outcome = replace(outcome, findings=(*outcome.findings, *told), skipped=(*outcome.skipped, *left_out))
    found = sorted(outcome.findings, key=lambda finding: finding.rule)
    if several:
        found = [replace(each, where=replace(each.where, input=path)) for each in found]
    taken = [each for each in found if options.choice.takes(each.rule)]
    left = [each for each in found if not options.choice.takes(each.rule)]
    return Checked(checkpoint, outcome, tuple(taken), tuple(left))


def _pair(checkpoint: Checkpoint, outcome: Outcome, options: Options) -> tuple[list[Finding], tuple[Skipped, ...]]:
    """What the step from the previous checkpoint says, where one was given."""
    if options.previous is None:
        return [], check_pair.without_previous()
    with open_checkpoint(
        options.previous,
        model_key=options.model_key,
        optimizer_key=options.optimizer_key,
        max_memory=options.max_memory,
    ) as previous:
        return check_pair.proved(previous, checkpoint, outcome)
