"""`optinspect show PATH --tree`: every object of a file like a directory listing, without reading a tensor's values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.commands.show_tree_choice import Extent
from optinspect.commands.show_tree_nodes import Node, grow
from optinspect.opaque import Opaque
from optinspect.plain import BEYOND, plain
from optinspect.report import Column, Table, Unit
from optinspect.tensors import CompositeRef, TensorRef

TREE = (
    Column("path", "path", Unit.NAME, 9, machine=True),
    Column("depth", "depth", Unit.COUNT, 9, machine=True),
    Column("route", "route", Unit.NAME, 9, machine=True),
    Column("entry", "entry", Unit.TREE, 0),
    Column("type", "type", Unit.TEXT, 0),
    Column("members", "members", Unit.COUNT, 4),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("dtype", "dtype", Unit.TEXT, 3),
    Column("bytes", "bytes", Unit.BYTES, 2),
    Column("value", "value", Unit.GLANCE, 1),
    Column("kept", "kept", Unit.TEXT, 4),
    Column("same_as", "same as", Unit.NAME, 3),
    Column("storage", "storage", Unit.NAME, 9, machine=True),
    Column("storage_bytes", "in a storage of", Unit.BYTES, 5),
    Column("device", "device", Unit.TEXT, 9, machine=True),
    Column("left_out", "left out", Unit.COUNT, 9, machine=True),
    Column("problem", "not readable because", Unit.TEXT, 1),
)
ITEMS = 32
"""Items of a list that a row repeats."""


TOP = 60
"""Entries of the root that people are shown, where they did not say how many they want."""
MOST = 16
"""Tensors and values of one container, likewise."""
ALIKE = 2
"""Containers of one container that have the same keys, likewise."""


def table(checkpoint: Checkpoint, extent: Extent) -> Table:
    """A row an object. Bytes are those of the tensors in it, shared ones once; tensors are never read."""
    rows: list[dict[str, Any]] = []
    total = 0
    for tree in checkpoint.trees:
        top = grow(tree.root)
        total += sum(1 for _ in top.every())
        kept = _kept(top, extent.filters) if extent.filters else None
        rows += [row | {"path": tree.path} for row in _listed(top, tree.path, extent, kept)]
    shown = sum(row["type"] is not None for row in rows)
    note = f"{shown:,} of {total:,} entries shown" + _how_to_see_more(extent)
    return Table("tree", "Tree", TREE, rows, notes=(note,) if shown < total else ())


def _how_to_see_more(extent: Extent) -> str:
    if extent.members is None and extent.brief and not extent.filters:
        return " (--limit N: up to N of each; --filter GLOB: only some; --no-collapse: all)"
    return ""


def _kept(top: Node, filters: Sequence[str]) -> set[int]:
    """ids of the nodes that are wanted: what matches, all below it, and what leads to it."""
    wanted = [glob for glob in filters if not glob.startswith("!")]
    refused = [glob[1:] for glob in filters if glob.startswith("!")]
    kept: set[int] = set()
    pending = [(top, not wanted)]
    while pending:
        node, inside = pending.pop()
        if node.parent is not None and _matches(node, refused):
            continue
        inside = inside or _matches(node, wanted)
        if inside:
            at: Node | None = node
            while at is not None and id(at) not in kept:
                kept.add(id(at))
                at = at.parent
        pending.extend((member, inside) for member in node.members)
    return kept


def _matches(node: Node, globs: Sequence[str]) -> bool:
    return bool(globs) and any(fnmatchcase(name, glob) for name in (node.label, node.route) for glob in globs)


def _listed(top: Node, path: str, extent: Extent, kept: set[int] | None) -> Iterator[dict[str, Any]]:
    pending: list[Node | dict[str, Any]] = [top]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            continue
        members = [each for each in node.members if kept is None or id(each) in kept]
        shown = _chosen(node, members, extent)
        yield row_of(node) | {"left_out": len(node.members) - len(shown)} | _as_root(node, path)
        left = len(members) - len(shown)
        if left and extent.brief and shown:
            pending.append(_more(node.depth + 1, left, alike=_are_alike(members, shown)))
        pending.extend(reversed(shown))


def _as_root(node: Node, path: str) -> dict[str, Any]:
    """The root is called by its file."""
    return {} if node.parent is not None else {"entry": path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path}


def _chosen(node: Node, members: list[Node], extent: Extent) -> list[Node]:
    """The members that are listed."""
    if extent.depth is not None and node.depth >= extent.depth:
        return []
    if extent.members is not None:
        return members[: extent.members]
    if extent.filters or not extent.brief:
        return members
    return _first_of_each(members, TOP if node.parent is None else MOST)


def _first_of_each(members: list[Node], most: int) -> list[Node]:
    """Up to `most` single values, and of containers that are built alike the first ALIKE.

    Where that is too few, what holds nothing (None, {}: the hooks of a pickled module) is left out first.
    """
    if sum(not member.members for member in members) > most:
        members = [member for member in members if member.members or not _is_hollow(member.value)]
    seen: dict[Any, int] = {}
    chosen: list[Node] = []
    for member in members:
        build = None if member.is_leaf or not member.members else _build(member)
        seen[build] = seen.get(build, 0) + 1
        if seen[build] <= (most if build is None else ALIKE) and len(chosen) < max(most, TOP):
            chosen.append(member)
    return members if len(members) - len(chosen) == 1 else chosen  # "1 more" would take its place


def _is_hollow(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list | tuple | set | frozenset) and not value)


def _build(node: Node) -> tuple[Any, ...]:
    return (kind(node.value), *(member.label for member in node.members))


def _are_alike(members: list[Node], shown: list[Node]) -> bool:
    known, left = {_build(each) for each in shown}, {id(each) for each in shown}
    return all(each.members and _build(each) in known for each in members if id(each) not in left)


def _more(depth: int, count: int, *, alike: bool) -> dict[str, Any]:
    """The row that stands for members which are left out."""
    told = dict.fromkeys(column.key for column in TREE)
    return told | {"depth": depth, "entry": f"{BEYOND} {count:,} more{' like these' if alike else ''}"}


def row_of(node: Node) -> dict[str, Any]:
    """What one node is. Raw values; `type` is None in no row of an object."""
    value, tensor = node.value, isinstance(node.value, TensorRef | CompositeRef)
    storage = value.storage if isinstance(value, TensorRef) else None
    return {
        "path": None,
        "depth": node.depth,
        "route": node.route,
        "entry": node.label if node.parent is not None else "",
        "type": kind(value),
        "members": None if tensor or not isinstance(value, _COUNTED) else _count(node),
        "shape": list(value.shape) if tensor else None,
        "dtype": value.dtype.name if tensor and value.dtype else None,
        "bytes": node.nbytes,
        "value": _value(node) if node.is_leaf and not tensor else None,
        "kept": ("name only" if value.is_reference else "inert") if isinstance(value, Opaque) else None,
        "same_as": (node.first.route or "the root") if node.first else None,
        "storage": storage.key if storage else None,
        "storage_bytes": storage.nbytes if storage and storage.nbytes > value.nbytes else None,
        "device": value.device if tensor else None,
        "left_out": None,
        "problem": (value.problem or value.storage.problem) if isinstance(value, TensorRef) else None,
    }


_COUNTED = (dict, list, tuple, set, frozenset, Opaque)


def _count(node: Node) -> int | None:
    return len(node.members) or None if isinstance(node.value, Opaque) else len(node.value)


def kind(value: Any) -> str:
    """What an object is: a plain type by Python's name, a class of the file by its own, which was never imported."""
    if isinstance(value, TensorRef):
        return "parameter" if value.is_parameter else "tensor"
    if isinstance(value, CompositeRef):
        return value.kind
    if isinstance(value, Opaque):
        return value.name
    if value is None:
        return "None"
    plain_types = (dict, list, tuple, set, frozenset, str, bytes, bytearray, bool, int, float, complex)
    return next((each.__name__ for each in plain_types if isinstance(value, each)), type(value).__name__.lower())


def _value(node: Node) -> Any:
    """A single value as plain data, a list of such values up to its first ITEMS."""
    value = node.value
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        return plain(value, nodes=ITEMS)
    items = [plain(item) for _, item in zip(range(ITEMS), value, strict=False)]
    return [*items, BEYOND] if len(value) > ITEMS else items
