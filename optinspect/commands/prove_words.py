"""What a proof says in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from optinspect.commands.wording import counted
from optinspect.optimizers.rules import rule_named
from optinspect.proof import Proof
from optinspect.report import Line, Severity

MARKS = {"refuted": Severity.ERROR, "undecided": Severity.WARNING}


def headline(proof: Proof) -> Iterator[Line]:
    if proof.steps_between is not None:
        yield Line("between", counted(int(proof.steps_between), "step"))
    if proof.variant is not None:
        rule = rule_named(proof.variant)
        others = [name for name in proof.variants_fitting if name != proof.variant]
        also = f"; these two files cannot tell it from {', '.join(others)}" if others else ""
        yield Line("rule", f"{rule.title if rule else proof.variant} ({proof.variant}){also}")
    if proof.gradient_norm is not None:
        pinned = f", pinned to {proof.clipped_at:g}: clipped" if proof.clipped_at is not None else ""
        yield Line("gradient", f"norm {proof.gradient_norm:.6g} as the optimizer used it{pinned}")
    if proof.lr_from is not None:
        yield Line("lr", SOURCES[proof.lr_from])


SOURCES = {
    "a": "the step used the one stored in A",
    "b": "the step used the one stored in B",
    "neither": "the step used one that neither file states",
}


def footer(proof: Proof) -> Iterator[Line]:
    for note in proof.notes:
        yield Line("note", note)
    for each in proof.skipped:
        yield Line("undecided", each.reason, Severity.WARNING)
    evidence = Counter(row.evidence for row in proof.parameters)
    if evidence["step"]:
        yield Line("names", f"{evidence['step']:,} of {len(proof.parameters):,} proved by the step itself")
    elif proof.steps_between == 1:
        yield Line("names", "this pair proves no names: rivals of the same shape fit as well")
    yield Line("verdict", f"{proof.verdict}: {_meaning(proof)}", MARKS.get(proof.verdict))


def _meaning(proof: Proof) -> str:
    worst = max((row.step_residual for row in proof.parameters if row.step_residual is not None), default=0.0)
    if proof.verdict == "verified":
        return f"every weight is where the rule puts it, within {worst:.2f} units of rounding (at most 4)"
    if proof.verdict == "consistent":
        return "nothing that must hold is broken" if proof.steps_between else "no step lies between, and nothing moved"
    if proof.verdict == "refuted":
        return f"{counted(len([f for f in proof.findings if f.severity is Severity.ERROR]), 'finding')} above"
    return "the two files cannot reject any rule for all parameters"
