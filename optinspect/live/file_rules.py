"""What `optinspect check` finds in the part of a file that is about to be loaded, under the names of the live objects.

The file alone has to guess which parameter a state belongs to; here the live optimizer says it. So names and shapes are
judged by the rules OI9xx, and the file's own rules see the live names.
"""

from __future__ import annotations

from optinspect.checkpoint import ModelEntry
from optinspect.layouts.base import last
from optinspect.live.case import Case, Pair
from optinspect.live.misfit import Misfit, Reaction
from optinspect.naming.base import NamedParameter, Naming
from optinspect.naming.recorded import plain
from optinspect.report import Finding, Severity

JUDGED_LIVE = frozenset(("OI208", "OI214", "OI215", "OI218", "OI220"))
"""Which parameters there are, their shapes and which need state: what the live objects show better (OI903 to OI908)."""


def file_misfits(case: Case) -> tuple[Misfit, ...]:
    """Errors and warnings of the file's own rules about what is about to be loaded: every value is read."""
    from optinspect.checks import RULES, gather, run  # noqa: PLC0415  numpy comes with the first value

    outcome = run(RULES, gather(case.checkpoint, namings=(live_naming(case),)))
    return tuple(
        _as_misfit(each) for each in outcome.findings if each.severity is not Severity.NOTE and _counts(case, each)
    )


def live_naming(case: Case) -> Naming:
    """The names of the live parameters for the states that they would get, in the file's order.

    Without a model the file's own names stay, but those by order alone: of these none where a live shape refutes one.
    """
    rows = list(case.naming.parameters)
    refuted = any(_refutes(pair) for pair in case.pairs)
    for pair in case.pairs:
        rows[pair.state.index] = _row(case, pair, refuted=refuted)
    agreeing = {pair.state.index for pair in case.pairs if pair.written in {*map(plain, pair.member.names)}}
    contradictions = tuple(each for each in case.naming.contradictions if each.index not in agreeing)
    return Naming(case.naming.optimizer, tuple(rows), contradictions, case.naming.notes)


def _refutes(pair: Pair) -> bool:
    entry = pair.named.entry
    return pair.named.evidence == "order" and entry is not None and entry.shape != tuple(pair.member.tensor.shape)


def _row(case: Case, pair: Pair, *, refuted: bool) -> NamedParameter:
    member, state = pair.member, pair.state
    if not case.members.order:
        guessed = pair.named.evidence == "order" and refuted
        return NamedParameter(state.index, state.key, None, "none") if guessed else pair.named
    number, entry = _entry(case, pair)
    if member.evidence != "live":
        return NamedParameter(state.index, state.key, None, "none")
    return NamedParameter(state.index, state.key, member.name, "live", member.aliases, entry=entry, model=number)


def _entry(case: Case, pair: Pair) -> tuple[int | None, ModelEntry | None]:
    """The file's tensor of that name and shape: of the model that is compared with, or of another under its key."""
    shape = tuple(pair.member.tensor.shape)
    for number, model in enumerate(case.checkpoint.models):
        prefixes = ("",) if model is case.model else (f"{last(model.route)}.",) if model.role == "model" else ()
        for name in (*pair.member.names, *map(plain, pair.member.names)):
            for prefix in prefixes:
                entry = model.by_name.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
                if entry is not None and entry.shape == shape:
                    return number, entry
    return None, None


def _counts(case: Case, finding: Finding) -> bool:
    return finding.rule not in JUDGED_LIVE and _loads(case, finding)


def _loads(case: Case, finding: Finding) -> bool:
    """Whether a finding is about what will be loaded: the optimizer, the model if it is, the container."""
    route = finding.where.route or ""
    routes = [case.file.route] + ([case.model.route] if case.whole and case.model is not None else [])
    others = [each.route for each in (*case.checkpoint.schedulers, *case.checkpoint.scalers, *case.checkpoint.rng)]
    if any(other and route.startswith(other) for other in others):
        return False
    models = [each.route for each in case.checkpoint.models if each is not case.model or not case.whole]
    if any(other and route.startswith(other) for other in models):
        return False
    return finding.rule.startswith("OI1") or any(route.startswith(each) for each in routes)


def _as_misfit(finding: Finding) -> Misfit:
    where = finding.where
    return Misfit(
        finding.rule,
        finding.title,
        finding.severity,
        f"{where.parameter or where.route or 'the file'}: {finding.message}",
        where.route,
        where.parameter,
        None,
        None,
        Reaction("none"),
        finding.repair,
    )
