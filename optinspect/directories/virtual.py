"""One Tree of many: the whole of a directory as if one file had held it, so that every layout and rule reads it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import overload

from optinspect.checkpoint import Problem
from optinspect.containers.base import Record, Tree
from optinspect.directories.base import Found, Part, Session


def whole(session: Session, found: Found, around: tuple[Tree, ...] = ()) -> Tree:
    """`found.root` over all the files that were opened; problems and notes say which file."""
    trees = [part.tree for part in session.parts]
    opaque: dict[str, int] = {}
    for tree in trees:
        for name, count in tree.opaque.items():
            opaque[name] = opaque.get(name, 0) + count
    orders = {tree.byteorder for tree in trees}
    return Tree(
        path=session.folder.path,
        container=around[0].container if around else "directory",
        size=sum(tree.size for tree in around or trees),
        root=found.root,
        byteorder="big" if orders == {"big"} else "little",
        records=_records(session.parts),
        problems=[
            *session.all_problems(),
            *(_moved(part, one) for part in session.parts for one in part.tree.problems),
        ],
        notes=[*session.notes, *_notes(session.parts)],
        opaque=opaque,
        dangerous=tuple(dict.fromkeys(name for tree in trees for name in tree.dangerous)),
        integrity="crc32" if any(tree.integrity == "crc32" for tree in trees) else "none",
        held=(*trees, *around),
    )


def _records(parts: Sequence[Part]) -> Sequence[Record]:
    """Each file's records, its name before theirs."""
    return _Records(parts)


class _Records(Sequence[Record]):
    """Made when they are asked for: 64 shards have some 100,000."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part.tree.records) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        number = bisect_right(self._ends, place)
        part = self._parts[number]
        record = part.tree.records[place - self._ends[number] + len(part.tree.records)]
        return replace(record, name=f"{part.name}: {record.name}")


def _moved(part: Part, problem: Problem) -> Problem:
    where = f"{part.name}: {problem.route}" if problem.route else part.name
    return replace(problem, route=where)


def _notes(parts: Sequence[Part]) -> list[str]:
    """What every file says is said once."""
    said: dict[str, list[str]] = {}
    for part in parts:
        for note in part.tree.notes:
            said.setdefault(note, []).append(part.name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {note}" for note, names in said.items()
    ]
