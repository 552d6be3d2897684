"""`check --write-config PATH`: a policy that this healthy checkpoint passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from optinspect import writing
from optinspect.checks import RULES, Facts, gather, run
from optinspect.commands import check_model, check_pair, check_report
from optinspect.commands.check import Options, with_repair
from optinspect.commands.check_choice import Choice
from optinspect.commands.check_result import Checked
from optinspect.commands.emit import spare_inputs
from optinspect.commands.progress import Progress
from optinspect.commands.wording import command_line
from optinspect.containers.wording import line
from optinspect.errors import Undecidable, UsageError
from optinspect.policy.description import described_by
from optinspect.policy.reader import read_policy
from optinspect.policy.search import NAMES
from optinspect.policy.writer import policy_text
from optinspect.report import Line, Report, Severity


def build(
    paths: Sequence[str], options: Options, file: str | None, *, force: bool, asked: Sequence[str | None] = ()
) -> Report:
    """Check the checkpoint, write the policy, and report the check against it. `asked`: options that do not go with it.

    Raises UsageError where the file exists, Undecidable where the checkpoint has errors.
    """
    others = (options.previous, options.latest, options.baseline, options.model, options.optimizer, *asked)
    if options.choice != Choice() or any(each is not None for each in others):
        told = "--write-config goes by all rules, and by one checkpoint alone"
        raise UsageError(told, hint="leave --select, --ignore, --fail-on, --config, --previous, --model and such out")
    if len(paths) != 1:
        raise UsageError("--write-config describes one checkpoint", hint="give the one that the others should be like")
    target = NAMES[0] if file is None else file
    writing.check(target, force=force, hint="add --force to replace it, or -o FILE to write another")
    with options.open(paths[0], options.model_state, shown=options.progress) as checkpoint:
        with Progress("checking", sum(each.bytes for each in checkpoint.inputs), shown=options.progress) as progress:
            facts = gather(checkpoint, progress.add)
        _refuse_errors(paths[0], facts)
        text = policy_text(described_by(facts), Path(paths[0]).name, options.model_key, options.optimizer_key)
        policy = read_policy(text, target)
        outcome = run(RULES, replace(facts, terms=policy.terms))
        for tree in checkpoint.trees:
            tree.verify_unchanged()
    wrong = [each for each in outcome.findings if each.rule.startswith("OI0")]
    if wrong:
        raise RuntimeError(f"the policy does not describe its checkpoint: {wrong[0].rule} {wrong[0].message}")
    alone = (*check_pair.without_previous(), *check_model.compared(checkpoint, outcome, options).skipped)
    outcome = replace(outcome, skipped=(*outcome.skipped, *alone))
    checked = Checked.of(paths[0], checkpoint, outcome, tuple(map(with_repair, outcome.findings)), ())
    report = check_report.report([checked], options)
    spare_inputs(Path(target), report)
    beside = ("--model-state", options.model_state) if options.model_state else ()
    writing.write_utf8(target, text, force=force)
    again = command_line("optinspect", "check", paths[0], *beside, "--config", target)
    return replace(
        report,
        summary={**report.summary, "policy": {"path": target, "accepted": []}},
        footer=(*report.footer, Line("written", f"{target}: what this checkpoint is, as a policy that it passes")),
        next_command=again if writing.is_ordinary(target) else None,
    )


def _refuse_errors(path: str, facts: Facts) -> None:
    found = [each for each in run(RULES, facts).findings if each.severity is Severity.ERROR]
    if found or not facts.checkpoint.optimizers:
        first = f"{found[0].rule} {found[0].title}" if found else "no optimizer is in it"
        raise Undecidable(
            line(path, f"not healthy: {first} (a checkpoint without errors expected)"),
            hint=command_line("optinspect", "check", path),
        )
