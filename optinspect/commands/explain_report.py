"""The report of `explain`: what was asked, the terms of one element, what they say, the distributions of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import frexp, isfinite, ldexp
from typing import Any

from optinspect.commands import damage
from optinspect.commands.explain_parts import Found
from optinspect.commands.facts import Facts, Subject
from optinspect.commands.show_tables import whole
from optinspect.commands.wording import command_line
from optinspect.explain import Distribution, Explained, Part, Source
from optinspect.explain_words import dominant, in_numbers, why
from optinspect.report import Column, Line, Report, Severity, Table, Unit

TERMS = (
    Column("symbol", "symbol", Unit.TEXT, 0),
    Column("meaning", "what it is", Unit.TEXT, 2),
    Column("formula", "formula", Unit.TEXT, 1),
    Column("worked", "in numbers", Unit.TEXT, 0),
    Column("value", "value", Unit.SETTING, 9, machine=True),
)
DISTRIBUTION = (
    Column("quantity", "quantity", Unit.TEXT, 0),
    Column("meaning", "what it is", Unit.TEXT, 2),
    Column("count", "count", Unit.COUNT, 5),
    Column("zeros", "zeros", Unit.COUNT, 3),
    Column("not_finite", "no value", Unit.COUNT, 4),
    Column("min", "min", Unit.REAL, 1),
    Column("max", "max", Unit.REAL, 1),
    Column("log2_histogram", "by magnitude", Unit.HISTOGRAM, 0),
)
STEPS: dict[Source, str] = {
    "last": "the last step, from what it left behind",
    "zero": "the next step, if its gradient were 0: what momentum and decay alone still do",
    "synthetic": "the next step, with a gradient drawn from what the moments describe: N(m̂, max(v̂ − m̂², 0))",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line said. chosen: the element was named."""

    path: str
    source: Source
    seed: int
    chosen: bool


def report(facts: Facts, subject: Subject, found: Found, explained: Explained, asked: Asked) -> Report:
    at = ",".join(map(str, explained.at))
    title = f"Element {at}" if at else "The element"
    damaged = damage.findings(facts)
    return Report(
        command="explain",
        status=damage.status(damaged),
        inputs=facts.checkpoint.inputs,
        summary=_summary(subject, found, explained, asked),
        tables=(
            Table("terms", title, TERMS, _terms(explained)),
            Table(
                "distribution", "All elements", DISTRIBUTION, [_distribution(each) for each in explained.distributions]
            ),
        ),
        findings=damaged,
        headline=tuple(_headline(subject, found, explained, asked)),
        footer=tuple(_footer(found, explained, asked)),
        next_command=_next(subject, asked),
    )


def _summary(subject: Subject, found: Found, explained: Explained, asked: Asked) -> dict[str, Any]:
    return {
        "name": subject.named.name,
        "index": subject.state.index,
        "step": whole(explained.step) if found.rule.counts else whole(found.part.step or None),
        "rule": found.rule.name,
        "optimizer": subject.optimizer,
        "group": subject.group.number,
        "evidence": subject.named.evidence,
        "shape": list(found.part.shape),
        "at": list(explained.at),
        "source": asked.source,
        "lr": found.lr.value,
        "lr_from": found.lr.origin,
        "dominated_by": dominant(explained.values),
        "lost_to_rounding": lost(found.part, explained.values),
        "formula": found.part.explanation.formula,
    }


MANTISSA = {"float64": 52, "complex128": 52, "float32": 23, "complex64": 23, "float16": 10, "bfloat16": 7}
"""Bits of an element's fraction, by dtype of the weight."""


def lost(part: Part, values: Mapping[str, float]) -> bool | None:
    """Whether the weight's dtype is too coarse for this Δθ, so that adding it changes nothing; None: not known.

    Half the gap between two numbers of θ's size is lost; gaps are 2^(floor(log2|θ|) − bits).
    """
    bits = MANTISSA.get(part.weight.dtype.name) if part.weight is not None else None
    theta, delta = values.get("θ"), values["Δθ"]
    if bits is None or not theta or not isfinite(theta) or not isfinite(delta):
        return None
    return 0 < abs(delta) < ldexp(0.5, frexp(theta)[1] - 1 - bits)


def _terms(explained: Explained) -> list[dict[str, Any]]:
    worked = in_numbers(explained.terms)
    return [
        {"symbol": t.symbol, "meaning": t.meaning, "formula": t.formula, "worked": numbers, "value": t.value}
        for t, numbers in zip(explained.terms, worked, strict=True)
    ]


def _distribution(each: Distribution) -> dict[str, Any]:
    return {
        "quantity": each.quantity,
        "meaning": each.meaning,
        "count": each.count,
        "zeros": each.zeros,
        "not_finite": each.not_finite,
        "min": each.min,
        "max": each.max,
        "log2_histogram": dict(each.histogram),
    }


def _headline(subject: Subject, found: Found, explained: Explained, asked: Asked) -> Iterator[Line]:
    shape = "×".join(map(str, found.part.shape)) or "scalar"
    place = f"index {subject.state.index}, group {subject.group.number}, {shape}"
    yield Line("parameter", f"{subject.named.name} ({place})" if subject.named.name else place)
    number = f"step {explained.step:g}: " if found.rule.counts else ""
    yield Line(
        "step", f"{number}{STEPS[asked.source]}" + (f" (seed {asked.seed})" if asked.source == "synthetic" else "")
    )
    yield Line("rule", f"{found.rule.title}: {found.part.explanation.formula}")
    at = ",".join(map(str, explained.at)) or "the only one"
    yield Line("element", at if asked.chosen else f"{at}: the one that this step moves furthest (--at names another)")


def _footer(found: Found, explained: Explained, asked: Asked) -> Iterator[Line]:
    yield Line("decided by", why(explained.values))
    if lost(found.part, explained.values) and found.part.weight is not None:
        name, values = found.part.weight.dtype.name, explained.values
        gap = f"less than half the gap between {name} numbers near {values['θ']:.2g}"
        yield Line("note", f"Δθ {values['Δθ']:.1e} is {gap}: it is lost in rounding", Severity.WARNING)
    if found.part.complex:
        yield Line("note", "complex: the last index is 0 for the real part, 1 for the imaginary part")
    for note in (found.lr.note, *found.notes):
        yield Line("note", note)
    estimated = asked.source == "last" and (found.part.settings.nesterov or found.rule.name == "nadam")
    if estimated:
        yield Line("note", "the last gradient is not in the file: taken for the average one, so Δθ is an estimate")
    else:
        yield Line("note", "worked out in float64 from the stored values; the run itself rounded to its own dtype")
    yield Line("safety", "nothing from the file was executed")


def _next(subject: Subject, asked: Asked) -> str | None:
    if asked.source != "last":
        return None
    return command_line("optinspect", "explain", asked.path, subject.named.name or str(subject.state.index), "--zero")
