"""The tree of a file, walked once: what is an optimizer, a model, a companion, and what is left.

Iterative and by identity: a tree may be deep, and may contain itself. Something found is not searched further, but a
model dict may hold an optimizer among its tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from optinspect.layouts.base import children, is_container, join, only_tensors
from optinspect.layouts.companions import may_be_rng
from optinspect.layouts.recognition import Role, role_of
from optinspect.tensors import is_tensor

MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_LISTED = 100_000
"""Members of a file with nothing found in it; more are said as one (3 million took 13 s and 580 MB by route)."""


@dataclass(slots=True)
class Node:
    """A container of the tree.

    opened    something was found in it, so its other members are listed one by one
    repeated  the same object was met before, by another route
    """

    route: str
    value: Any
    depth: int
    key: object
    parent: Node | None
    role: Role | None = None
    opened: bool = False
    repeated: bool = False
    members: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Walk:
    root: Node
    found: list[Node]


def walk(value: Any) -> Walk:
    """Everything found below `value`, in the file's order."""
    root = Node("", value, 0, "", None)
    found: list[Node] = []
    seen: set[int] = set()
    pending = [root] if is_container(value) else []
    while pending:
        node = pending.pop()
        node.repeated = id(node.value) in seen
        if node.repeated or len(seen) > MAX_NODES:
            continue
        seen.add(id(node.value))
        node.role = role_of(node.value, node.route, node.depth)
        if node.role is not None:
            found.append(node)
            _open_above(node)
        if node.role in (None, "model") and node.depth < MAX_DEPTH:
            pending.extend(reversed(_members(node)))
    return Walk(root, found)


def _open_above(node: Node) -> None:
    above = node.parent
    while above is not None and not above.opened:
        above.opened = True
        above = above.parent


def _members(node: Node) -> list[Node]:
    """The members worth a look: containers, and byte tensors that may be random states.

    Of a model only what is no part of it.
    """
    for key, item in children(node.value):
        if node.role == "model":
            worth = is_container(item) and not only_tensors(item)
        else:
            worth = is_container(item) or may_be_rng(item)
        if worth:
            node.members.append(Node(join(node.route, key), item, node.depth + 1, key, node))
    return node.members


def rest(found: Walk) -> Iterator[tuple[object, str, Any]]:
    """What no role has taken: key, route, value. Of containers that hold something found, each other member."""
    pending = [found.root]
    while pending:
        node = pending.pop()
        if node.role not in (None, "model") or node.repeated:
            continue
        whole = node.parent is not None or next(islice(children(node.value), MAX_LISTED, None), None) is not None
        if node.role is None and not node.opened and whole:
            yield node.key, node.route, node.value
            continue
        nodes = {id(member.value): member for member in node.members}
        for key, item in children(node.value):
            member = nodes.pop(id(item), None)
            if member is not None:
                pending.append(member)
            elif node.role is None or not (is_tensor(item) or only_tensors(item)):
                yield key, join(node.route, key), item
