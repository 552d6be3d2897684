"""`check --model`: the file against the user's own model and optimizer, and one step of a real resume: OI9xx."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optinspect.checkpoint import Checkpoint
from optinspect.checks import Outcome
from optinspect.live.registry import LIVE_RULES
from optinspect.report import Finding, Severity, Skipped

NEEDED = "needs --model"
TRIED = ("OI920", "OI921")
BROKEN = ("OI1", "OI201", "OI206")
"""What leaves nothing to compare with: damage, no optimizer, no groups."""


class Asked(Protocol):
    """model, optimizer: "pkg.mod:function", a live object, or None."""

    @property
    def model(self) -> Any: ...
    @property
    def optimizer(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Modelled:
    """resumed: what came of the step, in words. explained: the file's own findings that one of these says better."""

    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    resumed: str | None = None
    explained: tuple[Finding, ...] = ()

    def better(self, of_file: Iterable[Finding]) -> tuple[Finding, ...]:
        """The file's findings less what is explained."""
        return tuple(each for each in of_file if each not in self.explained)


def compared(checkpoint: Checkpoint, outcome: Outcome, asked: Asked) -> Modelled:
    """Findings on what the user's objects show. Raises UsageError where the user's own code fails, with its place."""
    if asked.model is None and asked.optimizer is None:
        return Modelled(skipped=_skipped((rule.code for rule in LIVE_RULES), NEEDED))
    from optinspect.live import objects  # noqa: PLC0415  torch and the user's code are loaded here, and only here

    model, optimizer = objects.made(asked.model, asked.optimizer)
    cause = _cause(outcome.findings)
    if cause is None and len(checkpoint.optimizers) != 1:
        cause = f"{len(checkpoint.optimizers)} optimizers in the file (--optimizer-key chooses one):"
    if cause is not None:
        return Modelled(skipped=_skipped((rule.code for rule in LIVE_RULES), f"{cause} names the cause"))
    return _compared(checkpoint, outcome, model, optimizer)


def _compared(checkpoint: Checkpoint, outcome: Outcome, model: Any, optimizer: Any) -> Modelled:
    from optinspect.live import models  # noqa: PLC0415
    from optinspect.live.members import members_of  # noqa: PLC0415
    from optinspect.live.registry import misfits  # noqa: PLC0415
    from optinspect.live.rule import run  # noqa: PLC0415
    from optinspect.live.stand_in import NoStandIn, stand_in  # noqa: PLC0415
    from optinspect.live.standing import case_for, placeholder  # noqa: PLC0415
    from optinspect.naming import name_parameters  # noqa: PLC0415

    naming = name_parameters(checkpoint)[0]
    try:
        members = members_of(optimizer, model) if optimizer is not None else stand_in(checkpoint, naming, model)
    except NoStandIn as reason:
        found = run(models.RULES, case_for(placeholder(model), checkpoint, naming))
        ran = {rule.code for rule in models.RULES}
        left = _skipped((rule.code for rule in LIVE_RULES if rule.code not in ran), str(reason))
        return Modelled(tuple(each.finding() for each in found), left)
    case = case_for(members, checkpoint, naming)
    findings = [each.finding() for each in misfits(case)]
    findings = [each for each in findings if not _known(each, outcome.findings, Severity.ERROR)]
    milder = tuple(each for each in outcome.findings if _milder(each, findings))
    wrong = _gravest((*findings, *outcome.findings), case.file.route)
    if wrong is not None:
        return Modelled(tuple(findings), _skipped(TRIED, f"{wrong} names the cause"), explained=milder)
    return _tried(case, findings, milder)


def _milder(finding: Finding, findings: Iterable[Finding]) -> bool:
    """A warning of the file alone on what the live objects show to be an error: one fault, one finding."""
    return finding.severity is Severity.WARNING and _known(finding, findings, Severity.ERROR)


def _tried(case: Any, findings: list[Finding], milder: tuple[Finding, ...]) -> Modelled:
    from optinspect.errors import OptinspectError  # noqa: PLC0415
    from optinspect.live.trial import tried  # noqa: PLC0415

    try:
        result = tried(case)
    except OptinspectError as problem:
        return Modelled(tuple(findings), _skipped(TRIED, problem.message), f"not tried: {problem.message}", milder)
    findings += [each.finding() for each in result.misfits]
    failed = any(each.code == "OI920" for each in result.misfits)
    left = _skipped(("OI921",), "OI920 names the cause" if failed else result.reason or "")
    return Modelled(tuple(findings), () if result.compared else left, str(result), milder)


def _skipped(codes: Iterable[str], reason: str) -> tuple[Skipped, ...]:
    return tuple(Skipped(code, reason) for code in codes)


def _cause(findings: Sequence[Finding]) -> str | None:
    return next(
        (each.rule for each in findings if each.severity is Severity.ERROR and each.rule.startswith(BROKEN)), None
    )


def _known(finding: Finding, of_file: Iterable[Finding], severity: Severity) -> bool:
    """Whether one of these, of that severity, is about the same state or group, or about all of them."""
    route = finding.where.route or ""
    for each in of_file:
        entry = _entry(each.where.route)
        if each.severity is severity and entry and (route == entry or route.startswith((f"{entry}.", f"{entry}["))):
            return True
    return False


def _entry(route: str | None) -> str | None:
    """ "optimizer.state[3]" of "optimizer.state[3].exp_avg"; of a group likewise."""
    head, bracket, _ = (route or "").partition("]")
    return f"{head}]" if bracket else route or None


def _gravest(findings: Iterable[Finding], route: str) -> str | None:
    """An error that would only be met again in the step: of the comparison, or of the optimizer's part of the file."""
    for each in findings:
        about = each.rule.startswith("OI9") or (each.where.route or "").startswith(route or "\0")
        if each.severity is Severity.ERROR and about:
            return each.rule
    return None
