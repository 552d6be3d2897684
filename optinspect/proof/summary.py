"""The cases of all optimizers as one Proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import hypot

from optinspect.proof import diagnosis, diagnosis_far
from optinspect.proof.candidates import Candidate, Source
from optinspect.proof.case import Case
from optinspect.proof.inference import LeastSquares, round_value
from optinspect.proof.pairing import Parameter, Place
from optinspect.proof.precision import FITS
from optinspect.proof.result import GroupProof, ParameterProof, Proof, Verdict
from optinspect.proof.tallies import Stepping
from optinspect.report import Severity, Skipped

PINNED = 1e-5
"""Relative distance from a round norm. Measured on clipped runs: 1e-8 to 2e-6 (torch divides by norm + 1e-6)."""
FINE = 2.0**-20
"""Roundoff of slots up to which a norm is known well enough to be called pinned."""

FLOAT32_DECAY = 2.0**-25
"""A float32 factor 1 − lr·wd is known to half the distance between numbers below 1."""


def combined(cases: Sequence[Case]) -> Proof:
    groups = tuple(group for case in cases for group in _groups(case))
    rows = tuple(_row(case, p) for case in cases for p in case.parameters)
    verdict = _verdict(cases, rows)
    variants = _variants(cases)
    norms = [row.gradient_norm for row in rows if (row.optimizer, row.index) in _stepped(cases)]
    norm = hypot(*[n for n in norms if n is not None]) if norms and None not in norms else None
    sources = {group.lr_from for group in groups if group.variants}
    reasons = Counter(row.reason for row in rows if row.reason)
    return Proof(
        verdict=verdict,
        steps_between=_usual(rows),
        variant=_variant(cases, variants),
        variants_fitting=variants,
        gradient_norm=norm,
        clipped_at=_clipped(cases, norm),
        lr_from=sources.pop() if len(sources) == 1 else None,
        groups=groups,
        parameters=rows,
        tests=tuple(test for case in cases for test in diagnosis_far.tests(case)),
        findings=tuple(found for case in cases for found in case.findings),
        skipped=tuple(Skipped("OI600", f"{count:,} parameters: {reason}") for reason, count in reasons.items()),
        notes=tuple(note for case in cases for note in (*case.pair.notes, *case.notes)),
        names_a=dict(_names(cases, "a")),
        names_b=dict(_names(cases, "b")),
    )


def _stepped(cases: Sequence[Case]) -> set[tuple[int, int]]:
    return {
        (case.pair.number, index) for case in cases for index, work in case.works.items() if isinstance(work, Stepping)
    }


def _norm(case: Case, p: Parameter) -> float | None:
    """None where L2 is to be taken off the gradient, and which weight it belongs to is not known for certain."""
    work = case.works[p.index]
    if not isinstance(work, Stepping) or (case.study is not None and p.index in case.study.broken):
        return None
    told = case.study is not None and p.index in case.study.sole
    certain = told or p.named.evidence in ("live", "recorded", "forced")
    return case.tallies[p.index].gradient if certain or not work.candidates[0].l2 else None


def _usual(rows: Sequence[ParameterProof]) -> float | None:
    steps = Counter(row.steps_between for row in rows if row.steps_between)
    if steps:
        return steps.most_common(1)[0][0]
    return 0.0 if any(row.steps_between == 0 for row in rows) else None


def _verdict(cases: Sequence[Case], rows: Sequence[ParameterProof]) -> Verdict:
    if any(found.severity is Severity.ERROR for case in cases for found in case.findings):
        return "refuted"
    verdicts = {row.verdict for row in rows}
    if not rows or "undecided" in verdicts:
        return "undecided"
    return "verified" if "verified" in verdicts and not _far(rows) else "consistent"


def _far(rows: Sequence[ParameterProof]) -> bool:
    return any((row.steps_between or 0) > 1 for row in rows)


def _row(case: Case, p: Parameter) -> ParameterProof:
    tally, work = case.tallies.get(p.index), case.works.get(p.index)
    single = tally is not None and isinstance(work, Stepping) and p.index not in case.reasons
    verdict, reason = _of(case, p)
    k = case.steps[p.index]
    if k is None and verdict == "verified":
        k = 1.0
    proved = case.study is not None and _proved(case, p)
    weight = case.study.weights.get(p.index) if case.study and proved else None
    return ParameterProof(
        case.pair.number,
        p.index,
        p.group,
        weight.name if weight is not None else p.named.name,
        "step" if proved else p.named.evidence,
        k,
        _norm(case, p) if single else None,
        tally.moment if single and tally and work.moments is not None else None,  # type: ignore[union-attr]
        tally.steps[0] if single and tally and tally.steps else None,
        verdict,
        reason,
    )


def _of(case: Case, p: Parameter) -> tuple[Verdict, str | None]:
    if p.index in case.verdicts:
        return case.verdicts[p.index], None
    if p.index in case.reasons:
        return "undecided", case.reasons[p.index]
    work = case.works.get(p.index)
    if isinstance(work, Stepping):
        if work.weight is None:
            return "undecided", "its weight is not known: no name, or no model in both files"
        return "verified", None
    return (
        ("undecided", "nothing of it can be followed") if work is None and p.shape is not None else ("consistent", None)
    )


def _proved(case: Case, p: Parameter) -> bool:
    study, tally = case.study, case.tallies.get(p.index)
    if study is None or tally is None or p.index not in study.proved:
        return False
    return bool(tally.steps) and tally.steps[0] <= FITS


def _names(cases: Sequence[Case], side: str) -> Iterator[tuple[tuple[int, int], Place]]:
    for case in cases:
        for p in case.parameters:
            if case.study is not None and _proved(case, p):
                weight = case.study.weights[p.index]
                if side == "a":
                    yield (case.pair.number, p.index), weight.place
                else:
                    yield (case.pair.number, case.study.after[p.index].index_b), weight.place_b


def _variants(cases: Sequence[Case]) -> tuple[str, ...]:
    """Rules that fit every group that was stepped."""
    found: list[list[str]] = []
    for case in cases:
        for group in case.study.groups.values() if case.study else ():
            found.append([each.rule.name for each in diagnosis.fitting(case, case.study, group)])  # type: ignore[arg-type]
    if not found:
        return ()
    return tuple(name for name in found[0] if all(name in names for names in found))


def _variant(cases: Sequence[Case], variants: Sequence[str]) -> str | None:
    declared = [r.name for case in cases for choice in case.pair.choices.values() for r in choice.candidates]
    return next((name for name in declared if name in variants), variants[0] if variants else None)


def _clipped(cases: Sequence[Case], norm: float | None) -> float | None:
    coarse = [sample.roundoff for case in cases if case.study for sample in case.study.samples.states.values()]
    if norm is None or not coarse or max(coarse) > FINE:
        return None
    return round_value(norm, PINNED)


def _groups(case: Case) -> Iterator[GroupProof]:
    for number, (before, after) in case.pair.groups.items():
        study = case.study.groups.get(number) if case.study else None
        fits = diagnosis.fitting(case, case.study, study) if case.study and study else []
        lr_a, lr_b, wd = before.number_of("lr"), after.number_of("lr"), before.number_of("weight_decay")
        written = before.hyperparameters.get("betas")
        stored = _pair(written)
        if case.study is None or study is None:
            yield GroupProof(case.pair.number, number, lr_a, lr_b, weight_decay=wd, betas=stored)
            continue
        lr, error, decay, decay_error = _inferred(case, study.members, fits[0] if fits else None)
        norms = [_norm(case, p) for p in study.members if p.index in case.tallies]
        source: Source | None = fits[0].source if fits else None
        yield GroupProof(
            case.pair.number,
            number,
            lr_a,
            lr_b,
            lr,
            error,
            source,
            wd,
            decay,
            decay_error,
            stored,
            study.inferred if study.inferred != (None, None) else None,
            hypot(*[n for n in norms if n is not None]) if norms and None not in norms else None,
            tuple(each.rule.name for each in fits),
        )


def _pair(value: object) -> tuple[float, float] | None:
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(x, int | float) for x in value):
        return float(value[0]), float(value[1])
    return None


def _inferred(
    case: Case, members: Sequence[Parameter], lead: Candidate | None
) -> tuple[float | None, float | None, float | None, float | None]:
    """lr and wd with standard errors; lr is 0 where the weights stood still, wd then cannot be told."""
    total = LeastSquares()
    for p in members:
        if p.index in case.tallies:
            total = total + case.tallies[p.index].slope
    slope = total.solve()
    if slope is None or lead is None:
        return None, None, None, None
    decay = slope.decay or 0.0
    # a float32 lr/(1 − β1^t) is rounded itself: measured 3e-8 and 8e-8 of lr
    alone = total.solve(decays=bool(lead.settings.weight_decay) and not lead.l2) or slope
    lr = alone.lr / (1 - decay) if lead.decays_after and decay < 0.5 else alone.lr
    lr_error = hypot(alone.lr_error, 2.0**-24 * lr)
    if slope.decay is None or slope.decay_error is None or lead.l2 or abs(lr) <= 4 * lr_error:
        return lr, lr_error, None, None
    error = (slope.decay_error**2 + FLOAT32_DECAY**2) ** 0.5
    return lr, lr_error, decay / lr, error / abs(lr)
