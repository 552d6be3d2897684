"""The columns of the tables of `diff` (docs/json.md)."""

from __future__ import annotations

from optinspect.report import Column, Unit

GROUPS = (
    Column("optimizer_a", "optimizer in a", Unit.COUNT, 9, machine=True),
    Column("optimizer_b", "optimizer in b", Unit.COUNT, 9, machine=True),
    Column("group_a", "group in a", Unit.COUNT, 0),
    Column("group_b", "in b", Unit.COUNT, 0),
    Column("key", "hyperparameter", Unit.NAME, 0),
    Column("a", "a", Unit.SETTING, 0),
    Column("b", "b", Unit.SETTING, 0),
    Column("change", "change", Unit.TEXT, 9, machine=True),
    Column("effect", "effect", Unit.TEXT, 0),
)
PARAMETERS = (
    Column("name", "name", Unit.NAME, 0),
    Column("status", "status", Unit.TEXT, 0),
    Column("changes", "what changed", Unit.LIST, 1),
    Column("index_a", "index in a", Unit.COUNT, 1),
    Column("index_b", "in b", Unit.COUNT, 1),
    Column("group_a", "group in a", Unit.COUNT, 1),
    Column("group_b", "in b", Unit.COUNT, 1),
    Column("shape_a", "shape in a", Unit.SHAPE, 2),
    Column("shape_b", "in b", Unit.SHAPE, 2),
    Column("dtype_a", "dtype in a", Unit.TEXT, 3),
    Column("dtype_b", "in b", Unit.TEXT, 3),
    Column("step_a", "step in a", Unit.STEP, 4),
    Column("step_b", "in b", Unit.STEP, 4),
    Column("slots_a", "state in a", Unit.LIST, 9, machine=True),
    Column("slots_b", "state in b", Unit.LIST, 9, machine=True),
    Column("optimizer_a", "optimizer in a", Unit.COUNT, 9, machine=True),
    Column("optimizer_b", "optimizer in b", Unit.COUNT, 9, machine=True),
    Column("evidence_a", "named in a by", Unit.TEXT, 9, machine=True),
    Column("evidence_b", "named in b by", Unit.TEXT, 9, machine=True),
    Column("aligned_by", "aligned by", Unit.TEXT, 5),
)
FIGURES = (
    Column("norm_a", "‖a‖", Unit.REAL, 3),
    Column("norm_b", "‖b‖", Unit.REAL, 3),
    Column("difference_norm", "‖b − a‖", Unit.REAL, 2),
    Column("relative", "relative", Unit.REAL, 0),
    Column("cosine", "cosine", Unit.COSINE, 1),
    Column("max_abs", "max |b − a|", Unit.REAL, 2),
)
TENSORS = (
    Column("name", "name", Unit.NAME, 0),
    Column("index_a", "index in a", Unit.COUNT, 9, machine=True),
    Column("index_b", "index in b", Unit.COUNT, 9, machine=True),
    Column("kind", "kind", Unit.TEXT, 9, machine=True),
    Column("slot", "tensor", Unit.NAME, 0),
    Column("shape", "shape", Unit.SHAPE, 5),
    Column("dtype_a", "dtype in a", Unit.TEXT, 9, machine=True),
    Column("dtype_b", "dtype in b", Unit.TEXT, 9, machine=True),
    *FIGURES,
    Column("bit_equal", "bit-equal", Unit.TEXT, 9, machine=True),
    Column("within_tolerance", "within tolerance", Unit.TEXT, 9, machine=True),
    Column("count", "elements", Unit.COUNT, 9, machine=True),
    Column("differing", "differ", Unit.COUNT, 3),
    Column("first_difference", "first at", Unit.LIST, 4),
    Column("not_finite", "not finite", Unit.COUNT, 5),
    Column("problem", "not compared", Unit.TEXT, 1),
)
TOTALS = (
    Column("optimizer_a", "optimizer in a", Unit.COUNT, 9, machine=True),
    Column("optimizer_b", "optimizer in b", Unit.COUNT, 9, machine=True),
    Column("group_a", "group in a", Unit.COUNT, 0),
    Column("group_b", "in b", Unit.COUNT, 0),
    Column("kind", "kind", Unit.TEXT, 9, machine=True),
    Column("slot", "tensors", Unit.NAME, 0),
    Column("tensors", "compared", Unit.COUNT, 1),
    Column("bit_equal", "bit-equal", Unit.COUNT, 1),
    *FIGURES,
)
LAYERS = (
    Column("layer", "layer", Unit.NAME, 0),
    Column("tensors", "tensors", Unit.COUNT, 2),
    Column("relative", "relative", Unit.REAL, 0),
    Column("bar", "", Unit.BAR, 0),
)
VALUES = (
    Column("route", "value", Unit.NAME, 0),
    Column("a", "a", Unit.ANY, 0),
    Column("b", "b", Unit.ANY, 0),
    Column("change", "change", Unit.TEXT, 9, machine=True),
    Column("note", "note", Unit.TEXT, 0),
)
