"""The tables of `diff` (docs/json.md): hyperparameters, parameters, tensors with a summary, everything else by path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import Any

from optinspect.checkpoint import ModelEntry
from optinspect.commands.diff_columns import GROUPS, PARAMETERS, TENSORS, VALUES
from optinspect.commands.diff_sums import by_group, by_layer, figures
from optinspect.commands.show_tables import whole
from optinspect.comparison import Comparison, Parameter, Setting, TensorChange, Value
from optinspect.plain import plain
from optinspect.report import Column, Table
from optinspect.subjects import Subject

MOST = 10
"""Rows of a long table that people are shown."""
LONG = ("parameters", "tensors", "values")
OF_VALUES = frozenset(("weight", "state", "step"))


def summary(found: Comparison) -> dict[str, Any]:
    return {
        "identical": found.identical,
        "verdict": found.verdict,
        "aligned_by": found.aligned_by,
        "steps_a": whole(found.steps_a),
        "steps_b": whole(found.steps_b),
        "steps_between": whole(found.between),
        "parameters": len(found.parameters),
        "parameters_added": found.count("added"),
        "parameters_removed": found.count("removed"),
        "parameters_moved": found.count("moved"),
        "parameters_renumbered": found.count("renumbered"),
        "parameters_changed": found.count("changed"),
        "groups_changed": found.groups_changed,
        "tensors": len(found.tensors),
        "tensors_different": sum(not each.within for each in found.tensors),
        "values_changed": len(found.values),
        "compared": list(found.wanted.parts),
        "rtol": found.wanted.tolerance.rtol,
        "atol": found.wanted.tolerance.atol,
    }


def tables(found: Comparison, *, chart: bool, brief: bool) -> list[Table]:
    """All tables. brief: only what differs, and of parameters only what is not of their values alone."""
    owners = {row.number: row for row in found.parameters}
    parameters = [each for each in found.parameters if not brief or set(each.changes) - OF_VALUES]
    tensors = sorted((each for each in found.tensors if not brief or not each.within), key=_by_change)
    made = [
        Table("groups", "Hyperparameters that differ", GROUPS, [_setting(each) for each in found.settings]),
        _shown(
            "parameters", "Parameters", PARAMETERS, [_parameter(each) for each in parameters], len(found.parameters)
        ),
        by_group(found),
        _shown(
            "tensors",
            "Tensors, most changed first",
            TENSORS,
            [_tensor(owners[each.job.owner], each) for each in tensors],
            len(found.tensors),
        ),
        Table("values", "Other values", VALUES, [_value(each) for each in found.values]),
    ]
    if chart:
        made.insert(3, by_layer(found))
    return made


def shortened(tables: Iterable[Table]) -> tuple[Table, ...]:
    """The first rows of the long tables."""
    return tuple(
        replace(table, rows=table.rows[:MOST], total=table.total or len(table.rows)) if table.key in LONG else table
        for table in tables
    )


def _shown(key: str, title: str, columns: tuple[Column, ...], rows: list[dict[str, Any]], total: int) -> Table:
    return Table(key, title, columns, rows, total=total if rows else None)


def _setting(each: Setting) -> dict[str, Any]:
    (optimizer_a, group_a), (optimizer_b, group_b) = each.group_a or (None, None), each.group_b or (None, None)
    return {
        "optimizer_a": optimizer_a,
        "optimizer_b": optimizer_b,
        "group_a": group_a,
        "group_b": group_b,
        "key": each.key,
        "a": plain(each.a),
        "b": plain(each.b),
        "change": each.happened,
        "effect": each.effect or (None if each.happened == "changed" else each.happened),
    }


def _parameter(row: Parameter) -> dict[str, Any]:
    sides = {"a": (row.a, row.entry_a), "b": (row.b, row.entry_b)}
    told: dict[str, Any] = {"name": row.name, "status": row.status, "changes": list(row.changes) or None}
    for side, (subject, entry) in sides.items():
        told.update((f"{key}_{side}", value) for key, value in _side(subject, entry).items())
    return told | {"aligned_by": row.pair.by if row.pair else ("name" if row.entry_a and row.entry_b else None)}


def _side(subject: Subject | None, entry: ModelEntry | None) -> dict[str, Any]:
    shape = entry.shape if entry else subject.shape if subject else None
    dtype = entry.tensor.dtype if entry else None
    return {
        "index": subject.state.index if subject else None,
        "group": subject.group.number if subject else None,
        "optimizer": subject.optimizer if subject else None,
        "shape": None if shape is None else list(shape),
        "dtype": dtype.name if dtype else None,
        "step": whole(subject.state.step) if subject else None,
        "slots": list(subject.state.slots) if subject else None,
        "evidence": subject.named.evidence if subject else None,
    }


def _by_change(each: TensorChange) -> tuple[float, float]:
    """Most relative change first; what was not compared before all, what came from nothing next."""
    if each.change is None:
        return (inf if each.trusted else -inf), 0.0
    relative = each.change.relative
    return -(relative if relative is not None else inf if each.change.differing else 0.0), -each.change.differing


def _tensor(row: Parameter, each: TensorChange) -> dict[str, Any]:
    change, job = each.change, each.job
    first = each.first
    return {
        "name": row.name,
        "index_a": row.a.state.index if row.a else None,
        "index_b": row.b.state.index if row.b else None,
        "kind": job.kind,
        "slot": job.slot,
        "shape": list(job.a.shape),
        "dtype_a": job.a.dtype.name if job.a.dtype else None,
        "dtype_b": job.b.dtype.name if job.b.dtype else None,
        **figures(change),
        "bit_equal": each.bit_equal,
        "within_tolerance": each.within if each.problem is None else None,
        "count": job.a.numel,
        "differing": 0 if each.trusted else change.differing if change else None,
        "first_difference": None if first is None else list(first),
        "not_finite": change.left_out if change else None,
        "problem": each.problem,
    }


def _value(each: Value) -> dict[str, Any]:
    return {"route": each.route, "a": each.a, "b": each.b, "change": each.happened, "note": each.note}
