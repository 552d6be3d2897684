"""--where over the tables of a report: what is left of each.

A condition narrows every table that has its column. Tables that have a row for a parameter (by optimizer and index)
stay together: a parameter of which one of them keeps nothing is left out of the others too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optinspect.commands import columns
from optinspect.commands.conditions import Condition
from optinspect.report import Line, Severity, Table

Key = tuple[Hashable, Hashable]
"""Optimizer and index of a parameter."""
Rows = Sequence[Mapping[str, Any]]


def narrowed(tables: Sequence[Table], conditions: Sequence[Condition]) -> list[Table]:
    """Raises UsageError for a column that no table has, or that cannot be compared so."""
    for condition in conditions:
        found = list(columns.having(tables, condition.column))
        if not found:
            raise columns.unknown("--where", condition.column, tables)
        for _, column in found:
            condition.check(column)
    own = [_matching(table, conditions) for table in tables]
    gone = {key for table, rows in zip(tables, own, strict=True) for key in _keys(table.rows) - _keys(rows)}
    together = {condition.column for condition in conditions} & {
        column.key for table in tables if _is_of_parameters(table) for column in table.columns
    }
    return [_left(table, rows, gone, together, conditions) for table, rows in zip(tables, own, strict=True)]


def _matching(table: Table, conditions: Sequence[Condition]) -> Rows:
    mine = [each for each in conditions if any(column.key == each.column for column in table.columns)]
    return [row for row in table.rows if all(each.takes(row[each.column]) for each in mine)] if mine else table.rows


def _left(table: Table, rows: Rows, gone: set[Key], together: set[str], conditions: Sequence[Condition]) -> Table:
    touched = len(rows) < len(table.rows)
    if _is_of_parameters(table):
        foreign = bool(together - {column.key for column in table.columns})  # asked of what such a row does not have
        left = [row for row in rows if (not foreign if row["index"] is None else _key(row) not in gone)]
        touched = touched or len(left) < len(rows)
        rows = left
    if not touched and not any(column.key == each.column for each in conditions for column in table.columns):
        return table
    note = f"where {' and '.join(each.text for each in conditions)}"
    return replace(table, rows=rows, total=table.total or len(table.rows), notes=(*table.notes, note))


def remarks(tables: Iterable[Table], conditions: Sequence[Condition]) -> tuple[Line, ...]:
    """What is to be said of tables that nothing is left of, and that are therefore not shown."""
    empty = [table.key for table in tables if table.total and not table.rows]
    if not conditions or not empty:
        return ()
    said = " and ".join(each.text for each in conditions)
    return (Line("where", f"nothing in {', '.join(empty)} matches {said}", Severity.WARNING),)


def _is_of_parameters(table: Table) -> bool:
    return {"optimizer", "index"} <= {column.key for column in table.columns}


def _keys(rows: Rows) -> set[Key]:
    return {_key(row) for row in rows if row.get("index") is not None}


def _key(row: Mapping[str, Any]) -> Key:
    return row.get("optimizer"), row["index"]
