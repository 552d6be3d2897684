"""The tables of `replay A --to B` (docs/json.md)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from optinspect.proof import GroupProof, ParameterProof, Proof
from optinspect.report import Column, Table, Unit

GROUPS = (
    Column("optimizer", "optimizer", Unit.COUNT, 9, machine=True),
    Column("group", "group", Unit.COUNT, 0),
    Column("lr_a", "lr in A", Unit.SETTING, 1),
    Column("lr_b", "lr in B", Unit.SETTING, 1),
    Column("lr_inferred", "lr used", Unit.REAL, 0),
    Column("lr_error", "± lr", Unit.REAL, 9, machine=True),
    Column("lr_from", "lr from", Unit.TEXT, 2),
    Column("weight_decay", "wd", Unit.SETTING, 2),
    Column("weight_decay_inferred", "wd used", Unit.REAL, 2),
    Column("weight_decay_error", "± wd", Unit.REAL, 3),
    Column("betas", "betas", Unit.LIST, 4),
    Column("betas_inferred", "betas used", Unit.LIST, 3),
    Column("gradient_norm", "gradient", Unit.REAL, 2),
    Column("variants", "fitting rules", Unit.LIST, 9, machine=True),
)
PARAMETERS = (
    Column("optimizer", "optimizer", Unit.COUNT, 9, machine=True),
    Column("index", "index", Unit.COUNT, 5),
    Column("group", "group", Unit.COUNT, 9, machine=True),
    Column("name", "name", Unit.NAME, 0),
    Column("evidence", "evidence", Unit.TEXT, 1),
    Column("steps_between", "steps", Unit.STEP, 2),
    Column("gradient_norm", "gradient", Unit.REAL, 2),
    Column("moment_residual", "moments", Unit.REAL, 2),
    Column("step_residual", "step", Unit.REAL, 1),
    Column("verdict", "verdict", Unit.TEXT, 0),
    Column("reason", "because", Unit.TEXT, 6, machine=True),
)
TESTS = (
    Column("name", "law", Unit.TEXT, 0),
    Column("worst", "worst", Unit.REAL, 0),
    Column("held", "held", Unit.TEXT, 0),
    Column("strength", "what it can exclude here", Unit.TEXT, 1),
)
ORDER = ("refuted", "undecided", "verified", "consistent")


def summary(proof: Proof) -> dict[str, Any]:
    return {
        "steps_between": _count(proof.steps_between),
        "verdict": proof.verdict,
        "variant": proof.variant,
        "variants_fitting": list(proof.variants_fitting),
        "gradient_norm": proof.gradient_norm,
        "clipped_at": proof.clipped_at,
        "lr_from": proof.lr_from,
    }


def groups(proof: Proof) -> Table:
    return Table("groups", "Parameter groups", GROUPS, [_group(group) for group in proof.groups])


def _group(group: GroupProof) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(group).items()}


def parameters(proof: Proof, most: int | None) -> Table:
    """What is refuted or undecided first, then the largest step residuals."""
    rows = proof.parameters
    if most is not None:
        rows = tuple(sorted(rows, key=_rank))[:most]
    title = "Parameters" if most is None else "Parameters, the doubtful and the least exact first"
    return Table("parameters", title, PARAMETERS, [_parameter(row) for row in rows], total=len(proof.parameters))


def _parameter(row: ParameterProof) -> dict[str, Any]:
    return {**asdict(row), "steps_between": _count(row.steps_between)}


def _count(steps: float | None) -> float | int | None:
    return int(steps) if steps is not None and steps.is_integer() else steps


def _rank(row: ParameterProof) -> tuple[float, ...]:
    return ORDER.index(row.verdict), -(row.step_residual or 0.0), row.index


def tests(proof: Proof) -> Table:
    rows = [{"name": t.name, "worst": t.worst, "held": t.held, "strength": t.strength} for t in proof.tests]
    return Table("tests", "Laws that hold whatever the gradients were (worst: value/limit)", TESTS, rows)
