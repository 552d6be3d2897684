"""What became of the paths that `check` was given: each was checked, or could not be."""

from __future__ import annotations

from dataclasses import dataclass

from optinspect.checkpoint import Checkpoint, Input
from optinspect.checks import RULES, Outcome
from optinspect.containers.wording import shortened
from optinspect.errors import OptinspectError
from optinspect.live.registry import MANUAL
from optinspect.proof.findings import KINDS
from optinspect.report import LEVELS, Failure, Finding, Severity

MAX_PATH = 100_000
NAME = 40
"""Characters of a path's end by which a message is known to begin with it."""
CODES = frozenset((*(rule.code for rule in (*RULES, *MANUAL)), *KINDS))


@dataclass(frozen=True)
class Checked:
    """One checkpoint, closed again, with what the rules said of it.

    findings  those that count; ignored: those that --ignore or --select left out; known: those that the baseline lists
    """

    path: str
    inputs: tuple[Input, ...]
    has_optimizer: bool
    inert: int
    """Names that a full load would import or call."""
    outcome: Outcome
    findings: tuple[Finding, ...]
    ignored: tuple[Finding, ...] = ()
    known: tuple[Finding, ...] = ()
    resumed: str | None = None
    """What came of the step with --model."""
    part: str = ""
    """As in Checkpoint."""

    @classmethod
    def of(
        cls,
        path: str,
        checkpoint: Checkpoint,
        outcome: Outcome,
        findings: tuple[Finding, ...],
        ignored: tuple[Finding, ...],
    ) -> Checked:
        inert = sum(len(tree.dangerous) for tree in checkpoint.trees)
        held = bool(checkpoint.optimizers)
        return cls(path, checkpoint.inputs, held, inert, outcome, findings, ignored, part=checkpoint.part)

    def fails(self, level: str) -> bool:
        return any(finding.severity in LEVELS[level] for finding in self.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def every(self) -> tuple[Finding, ...]:
        """Whatever was found, whether it counts or not."""
        return (*self.findings, *self.ignored, *self.known, *self.outcome.waived)

    def asked(self, rule: str) -> bool:
        """Whether the rule looked at all of it: it was not skipped, and the file is whole."""
        broken = any(each.rule.startswith("OI1") and each.severity is Severity.ERROR for each in self.every)
        return rule in CODES and not broken and all(each.rule != rule for each in self.outcome.skipped)

    @property
    def resumable(self) -> bool:
        return self.has_optimizer and not self.count(Severity.ERROR)


@dataclass(frozen=True, slots=True)
class Unread:
    """One of several paths that could not be read; the others were."""

    path: str
    problem: OptinspectError

    @property
    def reason(self) -> str:
        """The message without the path, which stands there escaped, and without its beginning where it is long."""
        told = self.problem.message.removeprefix(f"{self.path}: ")
        path = shortened(self.path, MAX_PATH)
        head, found, rest = told.partition(f"{path[-NAME:]}: ")
        return rest if found and path.endswith(head.removeprefix("…") + path[-NAME:]) else told

    @property
    def failure(self) -> Failure:
        return Failure(self.path, self.problem.kind, self.problem.message, self.problem.hint)
