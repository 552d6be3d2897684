"""--columns: which columns a report is left with; and what there is to choose from, where somebody asks for another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from optinspect.errors import UsageError
from optinspect.report import Column, Table

FOLDED = "folded"
"""A folded table keeps the count of its rows: without it nobody knows what a figure is of."""


def parse(text: str | None) -> tuple[str, ...]:
    """The keys of "a,b,c", each once. Raises UsageError."""
    if text is None:
        return ()
    keys = tuple(dict.fromkeys(key.strip() for key in text.split(",")))
    if "" in keys:
        raise UsageError(f"--columns {text:.60}: expected names of columns with commas between them, as name,rms")
    return keys


def chosen(tables: Sequence[Table], keys: Sequence[str], only: str | None = None) -> list[Table]:
    """The tables that have all columns `keys`, with these alone and in this order. Raises UsageError.

    only  the key of the one table that is wanted
    """
    within = [table for table in tables if only in (None, table.key)] or list(tables)
    for key in keys:
        if not any(key in _keys(table) for table in within):
            raise unknown("--columns", key, within)
    having = [table for table in within if set(keys) <= set(_keys(table))]
    if not having:
        raise UsageError(f"--columns {','.join(keys):.80}: no table has all of them", hint=offer(within))
    return [_with(table, keys) for table in having]


def _with(table: Table, keys: Sequence[str]) -> Table:
    by_key = {column.key: column for column in table.columns}
    wanted = [*keys, FOLDED] if FOLDED in by_key and FOLDED not in keys else keys
    columns = tuple(replace(by_key[key], rank=0, machine=False) for key in wanted)
    empty = [key for key in keys if table.rows and all(row[key] is None for row in table.rows)]
    notes = (*table.notes, f"no row has a value of {', '.join(empty)}") if empty else table.notes
    return replace(table, columns=columns, notes=notes, machine=False)


def unknown(option: str, key: str, tables: Iterable[Table]) -> UsageError:
    """The refusal of a column that no table has."""
    found = list(tables)
    where = f" in {found[0].key}" if len(found) == 1 else ""
    meant = _meant(key, found)
    guess = f"did you mean {meant}? " if meant else ""
    return UsageError(f"{option} {key:.60}: no such column{where}", hint=guess + offer(found))


def _meant(key: str, tables: Sequence[Table]) -> str | None:
    """The key of the column that is titled so on the screen, or whose key is most like it."""
    from difflib import get_close_matches  # noqa: PLC0415  for who mistypes only

    keys = {column.key: column.key for table in tables for column in table.columns}
    told = {column.title.lower(): column.key for table in tables for column in table.columns} | keys
    close = get_close_matches(key.lower()[:60], told, 1, cutoff=0.75)
    return told[close[0]] if close else None


def offer(tables: Iterable[Table]) -> str:
    """Every column there is, table by table."""
    return "; ".join(_offers(list(tables)))


def _offers(tables: Sequence[Table]) -> Iterator[str]:
    for table in tables:
        yield f"{table.key} has {', '.join(_keys(table))}"


def _keys(table: Table) -> list[str]:
    return [column.key for column in table.columns]


def having(tables: Iterable[Table], key: str) -> Iterator[tuple[Table, Column]]:
    """The tables that have the column, with it."""
    for table in tables:
        yield from ((table, column) for column in table.columns if column.key == key)
