"""--collapse: rows of repeated layers told by one row, their figures merged as if the tensors were one.

Only rows fold that are alike in what a figure depends on (shape, dtype, slots); see folded_names for the names.
Machines always get every row: a folded table is for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import hypot, sqrt
from typing import Any

from optinspect.commands import collapse_cells as cells
from optinspect.commands.collapse_lists import folds
from optinspect.commands.facts import Facts
from optinspect.commands.folded_names import Fold, fold
from optinspect.commands.show_statistics import figures, summed
from optinspect.report import Column, Table, Unit

Row = Mapping[str, Any]

FOLDED = Column("folded", "rows", Unit.COUNT, 3)
"""How many rows a row stands for."""
HIGHEST = Column("update_ratio_max", "highest", Unit.RATIO, 3)
"""Merged, one layer that moves too far is lost among the others; so the greatest is told too."""


@dataclass(frozen=True, slots=True)
class Folding:
    """How a table folds: rows that are the same in `alike`, cell by cell as `merged` says; other cells as `span`."""

    alike: tuple[str, ...]
    merged: Mapping[str, cells.Merge] = field(default_factory=dict)
    together: Callable[[Facts, Sequence[Row]], Row] = lambda _facts, _rows: {}
    """Cells that follow from several columns at once."""
    named: bool = True
    extra: tuple[Column, ...] = ()
    member: str = ""
    """The column, one of `alike`, that may hold a member of a list: its numbers fold as those of the name do."""


def _statistics(_: Facts, rows: Sequence[Row]) -> Row:
    return figures(summed(rows))


def _steps(facts: Facts, rows: Sequence[Row]) -> Row:
    """effective_step and update_ratio of all rows as of one parameter: rms of all steps, over rms of all weights."""
    highest = max((row["update_ratio"] for row in rows if row["update_ratio"] is not None), default=None)
    measured = [(facts.measured or {}).get((row["optimizer"], row["index"])) for row in rows]
    known = [(each.joint, each.bundle.terms.lr) for each in measured if each and each.joint and each.bundle.terms]
    count, weights = sum(joint.count for joint, _ in known), sum(joint.weight_count for joint, _ in known)
    if len(known) < len(rows) or not count:
        return {"effective_step": None, "update_ratio": None, HIGHEST.key: highest}
    step = hypot(*(joint.update_norm * lr for joint, lr in known)) / sqrt(count)
    weight = hypot(*(joint.weight_norm for joint, _ in known)) / sqrt(weights) if weights else 0.0
    ratio = step / weight if weight and all(joint.weight_count for joint, _ in known) else None
    return {"effective_step": step, "update_ratio": ratio, HIGHEST.key: highest}


FOLDINGS: Mapping[str, Folding] = {
    "groups": Folding(
        ("optimizer", "weight_decay", "betas", "eps", "keys"),
        {
            "group": cells.numbers,
            "indices": cells.runs,
            "hyperparameters": cells.settings,
            "non_default": cells.settings,
            "parameters": cells.total,
            "elements": cells.total,
            "state_bytes": cells.total,
            **dict.fromkeys(("trainable", "frozen", "with_gradient"), cells.total),
        },
        named=False,
    ),
    "parameters": Folding(
        ("optimizer", "shape", "dtype", "slots", "state", "requires_grad", "grad"),
        {
            "index": cells.numbers,
            "key": cells.nothing,
            "aliases": cells.joined,
            "group": cells.numbers,
            "elements": cells.total,
            "rivals": cells.joined,
        },
        _steps,
        extra=(HIGHEST,),
    ),
    "unoptimized": Folding(
        ("shape", "dtype", "kind", "requires_grad", "grad"), {"aliases": cells.joined, "elements": cells.total}
    ),
    "statistics": Folding(
        ("optimizer", "kind", "slot", "dtype", "shape", "problem"),
        {"index": cells.numbers},
        _statistics,
        member="slot",
    ),
    "dead": Folding(
        ("optimizer", "shape", "slots", "dead_row_ranges", "dead_channel_ranges", "problem"),
        {"index": cells.numbers},
    ),
}
"""The tables that fold; the others have few rows by nature."""


def folder(facts: Facts, beyond: int) -> Callable[[Table], Table]:
    """What folds the tables that have more than `beyond` rows."""
    return lambda table: collapsed(facts, table) if len(table.rows) > beyond else table


def collapsed(facts: Facts, table: Table) -> Table:
    """The table with a row for every set of rows that fold; itself where none do."""
    folding = FOLDINGS.get(table.key)
    if folding is None:
        return table
    found = _folds(table, folding)
    if len(found) == len(table.rows):
        return table
    merges = {column.key: folding.merged.get(column.key, cells.span) for column in table.columns}
    merges |= dict.fromkeys(folding.alike, _first) | {"name": cells.nothing}
    rows = []
    for each, named in found:
        members = [table.rows[position] for position in each.members]
        row = _alone(members[0]) if len(members) == 1 else _merged(facts, folding, members, merges)
        rows.append({**row, "folded": len(members), **named})
    note = _note(table, len(rows))
    return replace(table, columns=_columns(table, folding), rows=rows, total=None, notes=(*table.notes, note))


def _folds(table: Table, folding: Folding) -> list[tuple[Fold, Row]]:
    """What folds, with the cells that say which rows it is of."""
    if folding.named:
        return folds(table.rows, folding.member, lambda row: _key(row, folding))
    return [(each, {}) for each in fold([None] * len(table.rows), [_key(row, folding) for row in table.rows])]


def _key(row: Row, folding: Folding) -> str:
    told = {**row, "keys": sorted(row["hyperparameters"])} if "hyperparameters" in row else row
    return repr([told.get(key) for key in folding.alike])  # some columns are of live objects only


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _alone(row: Row) -> dict[str, Any]:
    return {**row, HIGHEST.key: row.get("update_ratio")}


def _merged(facts: Facts, folding: Folding, rows: Sequence[Row], merges: Mapping[str, cells.Merge]) -> dict[str, Any]:
    together = folding.together(facts, rows)
    apart = {key: merge for key, merge in merges.items() if key in rows[0] and key not in together}
    return {**together, **{key: merge([row[key] for row in rows]) for key, merge in apart.items()}}


def _columns(table: Table, folding: Folding) -> tuple[Column, ...]:
    """The count of rows stands behind what a row is called; numbers as ranges are wide, and say less than a name."""
    named = folding.named and all(row["name"] is not None for row in table.rows)
    columns: list[Column] = []
    for column in table.columns:
        wide = named and folding.merged.get(column.key) is cells.numbers
        columns.append(replace(column, rank=max(column.rank, 3)) if wide else column)
        if column.key == ("name" if folding.named else "group"):
            columns.append(FOLDED)
    return (*columns, *folding.extra)


def _note(table: Table, left: int) -> str:
    whole = f"{len(table.rows):,} rows" + (f" of {table.total:,}" if (table.total or 0) > len(table.rows) else "")
    return (
        f"{whole} folded to {left:,} (--no-collapse shows every row): a..b is each number from a to b, a..b..s every"
        " s-th; figures are of all of them together"
    )
