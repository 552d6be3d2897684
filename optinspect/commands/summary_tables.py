"""The tables of `summary`: those of `show` with what only live objects have, and who is frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optinspect.commands.facts import Subject
from optinspect.commands.show_tables import elements
from optinspect.commands.summary_facts import Live, Place
from optinspect.report import Column, Table, Unit

TRAINED = (
    Column("requires_grad", "requires grad", Unit.ANY, 2),
    Column("grad", "grad", Unit.TEXT, 2),
    Column("grad_rms", "grad rms", Unit.REAL, 3),
)
"""Of a parameter. grad: see live.gradients.Gradient."""

GROUP_LR = (Column("lr_factor", "lr / initial", Unit.REAL, 3),)
GROUP_COUNTS = (
    Column("trainable", "trainable", Unit.COUNT, 1),
    Column("frozen", "frozen", Unit.COUNT, 1),
    Column("with_gradient", "with grad", Unit.COUNT, 2),
)
FREEZING = (
    Column("where", "where", Unit.TEXT, 0),
    Column("group", "group", Unit.COUNT, 9, machine=True),
    Column("requires_grad", "requires grad", Unit.ANY, 0),
    Column("parameters", "parameters", Unit.COUNT, 0),
    Column("of", "of", Unit.COUNT, 0),
    Column("elements", "elements", Unit.COUNT, 2),
    Column("with_state", "with state", Unit.COUNT, 1),
    Column("to_train", "to train them", Unit.LIST, 0),
    Column("new_optimizer", "needs a new optimizer", Unit.ANY, 1),
    Column("names", "names", Unit.LIST, 9, machine=True),
)
UNFREEZE, ADD, NEW = "requires_grad_(True)", "add_param_group", "a new optimizer"

ONE_GROUP = frozenset({"LBFGS"})
"""Optimizers that take one group, whose step fails when there is another."""


def extended(tables: Iterable[Table], live: Live) -> Iterator[Table]:
    """The tables of `show` with the columns of live objects beside the ones they belong to."""
    adding = {"groups": _groups, "parameters": _parameters, "unoptimized": _unoptimized}
    for table in tables:
        yield adding[table.key](table, live) if table.key in adding else table


def _groups(table: Table, live: Live) -> Table:
    columns = _with(_with(table.columns, "initial_lr", GROUP_LR), "parameters", GROUP_COUNTS)
    return replace(table, columns=columns, rows=[{**row, **_group(row, live)} for row in table.rows])


def _group(row: Mapping[str, Any], live: Live) -> dict[str, Any]:
    members = [each for each in live.shot.members.parameters if each.group == row["group"]]
    trainable = sum(each.tensor.requires_grad for each in members)
    held = [live.gradients.get(index) for index, each in enumerate(live.shot.members.parameters) if each in members]
    return {
        "lr_factor": _factor(row["lr"], row["initial_lr"]),
        "trainable": trainable,
        "frozen": len(members) - trainable,
        "with_gradient": sum(one.kind != "none" for one in held if one) if all(held) else None,
    }


def _factor(lr: Any, initial: Any) -> float | None:
    return lr / initial if isinstance(lr, int | float) and isinstance(initial, int | float) and initial else None


def _parameters(table: Table, live: Live) -> Table:
    columns = _with(table.columns, "step", TRAINED)
    columns = tuple(replace(each, rank=2) if each.key == "evidence" else each for each in columns)
    return replace(table, columns=columns, rows=[{**row, **_trained(row["index"], live)} for row in table.rows])


def _unoptimized(table: Table, live: Live) -> Table:
    """Buffers are not trained: for them, and for second names, there is nothing to say."""
    rows = [{**row, **_trained(row["name"] if row["name"] in live.loose else None, live)} for row in table.rows]
    return replace(table, columns=_with(table.columns, "kind", TRAINED), rows=rows)


def _trained(place: Place | None, live: Live) -> dict[str, Any]:
    if place is None:
        return {column.key: None for column in TRAINED}
    gradient = live.gradients[place]
    return {"requires_grad": live.tensor(place).requires_grad, "grad": gradient.kind, "grad_rms": gradient.rms}


def _with(columns: tuple[Column, ...], after: str, more: tuple[Column, ...]) -> tuple[Column, ...]:
    place = [column.key for column in columns].index(after) + 1
    return (*columns[:place], *more, *columns[place:])


def freezing(live: Live) -> Table:
    """Who is not trained, by group, and what it takes to train them; no rows where everything is."""
    rows = [*_frozen_in_groups(live), *_in_no_group(live)]
    return Table("freezing", "Not trained", FREEZING, rows)


def _frozen_in_groups(live: Live) -> Iterator[dict[str, Any]]:
    for (_, number), subjects in live.facts.by_group.items():
        frozen = [one for one in subjects if not live.trains(one)]
        if frozen:
            yield {
                "where": f"group {number}",
                "group": number,
                "requires_grad": False,
                "parameters": len(frozen),
                "of": len(subjects),
                "elements": elements(frozen),
                "with_state": sum(one.state.present != "missing" for one in frozen),
                "to_train": [UNFREEZE],
                "new_optimizer": False,
                "names": [one.label for one in frozen],
            }


def _in_no_group(live: Live) -> Iterator[dict[str, Any]]:
    late = live.facts.checkpoint.optimizers[0].family in ONE_GROUP
    for trains in (True, False):
        names = [name for name in live.loose if live.tensor(name).requires_grad is trains]
        if names:
            yield {
                "where": "in no group",
                "group": None,
                "requires_grad": trains,
                "parameters": len(names),
                "of": len(live.loose),
                "elements": sum(shape_of(live, name) for name in names),
                "with_state": None,
                "to_train": [*([] if trains else [UNFREEZE]), NEW if late else ADD],
                "new_optimizer": late,
                "names": names,
            }


def shape_of(live: Live, name: str) -> int:
    """Elements of a tensor of the model."""
    return live.facts.checkpoint.models[0].by_name[name].tensor.numel


def counts(live: Live) -> dict[str, Any]:
    """Totals for the summary, of what was selected."""
    subjects: Sequence[Subject] = live.facts.subjects
    trained = [one for one in subjects if live.trains(one)]
    return {
        "trainable": len(trained),
        "frozen": len(subjects) - len(trained),
        "trainable_in_no_group": sum(live.tensor(name).requires_grad for name in live.loose),
        "frozen_in_no_group": sum(not live.tensor(name).requires_grad for name in live.loose),
        "not_in_model": len(live.strangers) if live.has_model else None,
        "with_gradient": sum(live.gradient(one).kind != "none" for one in subjects),
        "torch_scheduler": live.driven,
    }
