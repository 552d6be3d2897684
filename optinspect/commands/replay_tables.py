"""The tables of `replay`: a row a step, a row a parameter (docs/json.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from optinspect.replaying.result import ParameterRow, Replayed, StepRow
from optinspect.report import Column, Table, Unit

STEPS = (
    Column("step", "step", Unit.STEP, 0),
    Column("lr", "lr", Unit.LIST, 5),
    Column("bias_correction1", "1 − β1^t", Unit.REAL, 4),
    Column("bias_correction2", "1 − β2^t", Unit.REAL, 4),
    Column("loss", "loss", Unit.REAL, 0),
    Column("gradient_norm", "gradient", Unit.REAL, 0),
    Column("update_norm", "update", Unit.REAL, 0),
    Column("max_abs_difference", "difference", Unit.REAL, 2),
    Column("max_ulps", "in ulps", Unit.COUNT, 3),
    Column("bit_equal", "bit-equal", Unit.TEXT, 2),
)
PARAMETERS = (
    Column("index", "index", Unit.COUNT, 5),
    Column("name", "name", Unit.NAME, 0),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("update_norm", "update", Unit.REAL, 1),
    Column("update_ratio", "update/weight", Unit.REAL, 0),
    Column("max_abs_difference", "difference", Unit.REAL, 2),
    Column("max_ulps", "in ulps", Unit.COUNT, 3),
    Column("bit_equal", "bit-equal", Unit.TEXT, 4),
)
SKIPPED = (Column("name", "name", Unit.NAME, 0), Column("reason", "not stepped because", Unit.TEXT, 0))


def summary(replayed: Replayed) -> dict[str, Any]:
    apart = replayed.apart
    return {
        "steps": len(replayed.steps),
        "source": replayed.source,
        "rule": replayed.rule,
        "against": replayed.against,
        "bit_equal": apart.bit_equal,
        "max_ulps": apart.max_ulps,
        "max_abs_difference": apart.max_abs,
    }


def steps(replayed: Replayed) -> Table:
    return Table("steps", "Steps", STEPS, [_step(row) for row in replayed.steps])


def _step(row: StepRow) -> dict[str, Any]:
    return {
        "step": row.step,
        "lr": list(row.lr),
        "bias_correction1": row.bias_correction1,
        "bias_correction2": row.bias_correction2,
        "loss": row.loss,
        "gradient_norm": row.gradient_norm,
        "update_norm": row.update_norm,
        "max_abs_difference": row.apart.max_abs,
        "max_ulps": row.apart.max_ulps,
        "bit_equal": row.apart.bit_equal,
    }


def parameters(replayed: Replayed) -> Table:
    """Those that came furthest apart first; of those that did not, the ones that moved most for their size."""
    rows = sorted(replayed.parameters, key=_rank)
    equal = replayed.bit_equal
    title = "Parameters, the most moved first" if equal else "Parameters, the furthest apart first"
    return Table("parameters", title, PARAMETERS, [_parameter(row) for row in rows])


def shortened(tables: Iterable[Table], most: int | None) -> tuple[Table, ...]:
    """For people who have set no limit: of the parameters only the first."""
    return tuple(
        replace(each, rows=each.rows[:most], total=len(each.rows)) if most and each.key == "parameters" else each
        for each in tables
    )


def _rank(row: ParameterRow) -> tuple[float, ...]:
    difference = row.apart.max_abs if row.apart.max_abs == row.apart.max_abs else float("inf")
    return -difference, -row.apart.max_ulps, -(row.update_ratio or 0.0), row.index


def _parameter(row: ParameterRow) -> dict[str, Any]:
    return {
        "index": row.index,
        "name": row.name,
        "shape": list(row.shape),
        "update_norm": row.update_norm,
        "update_ratio": row.update_ratio,
        "max_abs_difference": row.apart.max_abs,
        "max_ulps": row.apart.max_ulps,
        "bit_equal": row.apart.bit_equal,
    }


def skipped(rows: Iterable[tuple[str, str]]) -> Table:
    """For machines; people read the first and the number of them at the end."""
    told = [{"name": name, "reason": reason} for name, reason in rows]
    return Table("skipped", "Not stepped", SKIPPED, told, machine=True)
