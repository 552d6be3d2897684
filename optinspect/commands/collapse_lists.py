"""Rows of slots that are lists ("al.0", …, "al.99"): they fold by the numbers of the name and of the slot together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from optinspect import ranges
from optinspect.commands.folded_names import Fold, fold

Row = Mapping[str, Any]

BETWEEN = "/\0/"
"""Between a name and a slot that fold as one; no module's name has it."""


def folds(rows: Sequence[Row], member: str, key: Callable[[Row], Hashable]) -> list[tuple[Fold, Row]]:
    """As `fold` of the rows' names, each with the cells that it gives: its name, and what it stands for of `member`.

    member  the column, a part of `key`, that may hold members of a list; "" for none
    """
    stems = _stems(rows, member) if member else [None] * len(rows)
    names = [_joint(row, member, stem) for row, stem in zip(rows, stems, strict=True)]
    keys = [key(row if stem is None else {**row, member: (stem,)}) for row, stem in zip(rows, stems, strict=True)]
    return [
        (each, {"name": each.name} if stems[each.members[0]] is None else _cells(each, rows, member))
        for each in fold(names, keys)
    ]


def _stems(rows: Sequence[Row], member: str) -> list[str | None]:
    """For every row the list that its slot is a member of; None where it is no list."""
    held: dict[Hashable, list[str]] = {}
    for row in rows:
        held.setdefault((row["optimizer"], row["index"], row["name"]), []).append(row[member])
    found = {whose: ranges.lists(members) for whose, members in held.items()}
    every = ((ranges.list_of(row[member]), found[row["optimizer"], row["index"], row["name"]]) for row in rows)
    return [stem if stem in lists else None for stem, lists in every]


def _joint(row: Row, member: str, stem: str | None) -> str | None:
    name: str | None = row["name"]
    return name if stem is None or name is None else f"{name}{BETWEEN}{row[member]}"


def _cells(each: Fold, rows: Sequence[Row], member: str) -> Row:
    if each.name is not None:
        name, _, slots = each.name.rpartition(BETWEEN)
        return {"name": name, member: slots}
    members = list(dict.fromkeys(rows[position][member] for position in each.members))
    return {"name": None, member: ", ".join(str(one.name) for one in fold(members, [None] * len(members)))}
