"""What a policy says, read and understood."""

from __future__ import annotations

from dataclasses import dataclass, field

from optinspect.checks.expected import Terms, Waiver
from optinspect.report import Severity


@dataclass(frozen=True, slots=True)
class Policy:
    """One `optinspect.yaml`. What it does not say is as the command line, or the default, has it.

    select    codes, or how they begin; () every rule
    ignore    of all parameters; those limited to names are in terms.waivers
    severity  (beginning of a code, severity): the longest beginning decides
    model_key, optimizer_key  routes, as --model-key and --optimizer-key
    """

    path: str
    select: tuple[str, ...] = ()
    ignore: tuple[Waiver, ...] = ()
    severity: tuple[tuple[str, Severity], ...] = ()
    fail_on: str | None = None
    model_key: str | None = None
    optimizer_key: str | None = None
    terms: Terms = field(default_factory=Terms)

    def severity_of(self, code: str) -> Severity | None:
        fitting = [each for each in self.severity if code.startswith(each[0])]
        return max(fitting, key=lambda each: len(each[0]))[1] if fitting else None
