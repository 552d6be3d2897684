"""`optinspect check PATH …`: will training go on from this checkpoint as it would have gone on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint
from optinspect.checks import RULES, Outcome, gather, run
from optinspect.commands import check_model, check_pair, check_policy, check_report, check_run
from optinspect.commands.baseline import Baseline
from optinspect.commands.check_baseline import Compared, compare
from optinspect.commands.check_choice import Choice
from optinspect.commands.check_result import Checked, Unread
from optinspect.commands.opened import Opening
from optinspect.commands.progress import Progress
from optinspect.commands.rules import repair_of
from optinspect.commands.targets import targets
from optinspect.errors import UsageError
from optinspect.report import LEVELS, Finding, Report, Skipped

if TYPE_CHECKING:  # PyYAML is loaded where there is a policy
    from optinspect.policy.contents import Policy


@dataclass(frozen=True, slots=True)
class Options(Opening):
    """What `check` can be asked; the defaults are those of the command line."""

    choice: Choice = field(default_factory=Choice)
    fail_on: str = "error"
    exit_zero: bool = False
    statistics: bool = False
    previous: str | None = None
    previous_model_state: str | None = None
    latest: str | None = None
    baseline: str | None = None
    update_baseline: bool = False
    model_state: str | None = None
    policy: Policy | None = None
    model: Any = None
    """"pkg.mod:function" on the command line; a live model for the API. optimizer: likewise."""
    optimizer: Any = None
    progress: bool = False


def build(paths: Sequence[str], options: Options) -> Report:
    """Check every path, or the newest of a directory. Raises OptinspectError where the only path, or the options, do
    not allow an answer.
    """
    check_run.agree(paths, options)
    if options.latest is not None:
        return _latest(options.latest, options)
    wanted = targets(paths)
    several = len(wanted) > 1
    if options.previous is not None and several:
        raise UsageError("--previous belongs to one checkpoint", hint="check them one by one")
    results = [check_run.one(each, lambda path: _checked(path, options, several), several=several) for each in wanted]
    compared, results = _compared(results, options, several)
    return check_policy.told(check_report.report(results, options, compared=compared), options.policy, results)


def _latest(directory: str, options: Options) -> Report:
    """The newest checkpoint of a directory that passes, found by checking from the newest on."""
    from optinspect.commands import check_latest  # noqa: PLC0415  what a run without it does not need

    baseline = Baseline.read(options.baseline) if options.baseline is not None else None

    def check(path: str) -> Checked:
        checked = _checked(path, options, True)
        return checked if baseline is None else baseline.split(checked)

    searched = check_latest.search(directory, lambda path: _open(path, options), check, options.fail_on)
    compared, _ = _compared(searched.results, options, True)
    report = check_report.report(searched.results, options, compared=compared, searched=searched)
    return check_policy.told(report, options.policy, searched.results)


def _compared(
    results: Sequence[Checked | Unread], options: Options, several: bool
) -> tuple[Compared | None, list[Checked | Unread]]:
    """What the baseline says, and the results with known findings apart."""
    if options.baseline is None:
        return None, list(results)
    checked = [each for each in results if isinstance(each, Checked)]
    compared, split = compare(options.baseline, checked, update=options.update_baseline, several=several)
    by_path = {each.path: each for each in split}
    return compared, [by_path.get(each.path, each) for each in results]


def level(word: str) -> str:
    """One of LEVELS. Raises UsageError."""
    if word not in LEVELS:
        raise UsageError(f"--fail-on {word}: no such level (expected {', '.join(LEVELS)})")
    return word


def _open(path: str, options: Options) -> Checkpoint:
    return options.open(path, options.model_state, shown=options.progress)


def _checked(path: str, options: Options, several: bool) -> Checked:
    """Everything that is asked of one checkpoint. Raises what opening and reading it raise."""
    with _open(path, options) as checkpoint:
        total = sum(each.bytes for each in checkpoint.inputs)
        with Progress("checking", total, shown=options.progress) as progress:
            facts = gather(checkpoint, progress.add, options.policy.terms if options.policy else None)
        outcome = run(RULES, facts)
        told, left_out = _pair(checkpoint, outcome, options)
        modelled = check_model.compared(checkpoint, outcome, options)
        for tree in checkpoint.trees:
            tree.verify_unchanged()
    outcome = replace(
        outcome, findings=(*check_pair.unexplained(modelled.better(outcome.findings), told), *told, *modelled.findings)
    )
    outcome = replace(outcome, skipped=(*outcome.skipped, *left_out, *modelled.skipped))
    outcome = check_policy.judged(outcome, options.policy)
    found, waived = ([with_repair(each) for each in some] for some in (outcome.findings, outcome.waived))
    if several:
        found, waived = ([replace(e, where=replace(e.where, input=path)) for e in each] for each in (found, waived))
    found.sort(key=lambda finding: finding.rule)
    taken = [each for each in found if options.choice.takes(each.rule)]
    left = [*(each for each in found if not options.choice.takes(each.rule)), *waived]
    checked = Checked.of(path, checkpoint, outcome, tuple(taken), tuple(left))
    return replace(checked, resumed=modelled.resumed)


def with_repair(finding: Finding) -> Finding:
    """With what the rule's manual page says, where nothing nearer to this fault is known."""
    return finding if finding.repair else replace(finding, repair=repair_of(finding.rule))


def _pair(checkpoint: Checkpoint, outcome: Outcome, options: Options) -> tuple[list[Finding], tuple[Skipped, ...]]:
    """What the step from the previous checkpoint says, where one was given."""
    if options.previous is None:
        if options.previous_model_state is not None:
            raise UsageError("--previous-model-state belongs to --previous", hint="give the earlier checkpoint with it")
        return [], check_pair.without_previous()
    with options.open(options.previous, options.previous_model_state) as previous:
        return check_pair.proved(previous, checkpoint, outcome)
