"""`optinspect replay A --to B`: what the optimizer did between two checkpoints, proved from the files alone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from optinspect.checkpoint import Checkpoint, Input
from optinspect.commands import prove_tables, prove_words
from optinspect.commands.opened import Opening
from optinspect.commands.progress import Progress
from optinspect.commands.selection import Selection
from optinspect.commands.wording import command_line
from optinspect.containers.wording import line
from optinspect.errors import Undecidable
from optinspect.proof import Proof, prove
from optinspect.report import Report

UNDECIDED = 2


@dataclass(frozen=True, slots=True)
class Options(Opening):
    """What the proof can be asked.

    strict  exit status 2 where it is undecided
    most    rows of the table of parameters; None for all
    """

    model_state_a: str | None = None
    model_state_b: str | None = None
    strict: bool = False
    selection: Selection = field(default_factory=Selection)
    most: int | None = None
    progress: bool = False


def build(path_a: str, path_b: str, options: Options) -> Report:
    """Open both, prove, report. Raises OptinspectError where the files do not allow an answer."""
    with ExitStack() as stack:
        a = stack.enter_context(options.open(path_a, options.model_state_a))
        b = stack.enter_context(options.open(path_b, options.model_state_b))
        proof = _proved(a, b, path_b, options)
        for checkpoint in (a, b):
            for tree in checkpoint.trees:
                tree.verify_unchanged()
        return report_of(proof, (a, b), (path_a, path_b), options)


def _proved(a: Checkpoint, b: Checkpoint, path_b: str, options: Options) -> Proof:
    size = sum(optimizer.nbytes for checkpoint in (a, b) for optimizer in checkpoint.optimizers)
    try:
        with Progress("proving", size * 3 // 2, shown=options.progress) as shown:
            return prove(a, b, progress=shown.add)
    except Undecidable as problem:
        raise Undecidable(line(path_b, f"{problem.message}"), hint=problem.hint) from problem


def report_of(
    proof: Proof, checkpoints: tuple[Checkpoint, Checkpoint], paths: tuple[str, str], options: Options
) -> Report:
    tables = [prove_tables.groups(proof), prove_tables.parameters(proof, options.most)]
    return Report(
        command="replay",
        status=status(proof, options.strict),
        inputs=(*_inputs(checkpoints[0], "a"), *_inputs(checkpoints[1], "b")),
        summary=prove_tables.summary(proof),
        tables=(*options.selection.apply(tables), prove_tables.tests(proof)),
        findings=proof.findings,
        skipped=proof.skipped,
        headline=tuple(prove_words.headline(proof)),
        footer=tuple(prove_words.footer(proof)),
        next_command=command_line("optinspect", "show", paths[1], "--previous", paths[0])
        if proof.names_b and not proof.refuted
        else None,
    )


def _inputs(checkpoint: Checkpoint, role: str) -> tuple[Input, ...]:
    return tuple(replace(each, role=role) for each in checkpoint.inputs)


def status(proof: Proof, strict: bool) -> int:
    """1 where something is broken; 2 where nothing could be told and --strict wants an answer."""
    if proof.refuted:
        return 1
    return UNDECIDED if strict and proof.verdict == "undecided" else 0
