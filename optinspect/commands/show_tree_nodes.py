"""The objects of a file as nodes: each with its members, and with the bytes of the tensors below it.

A dict or list that is referred to twice is entered where it is met first, so cycles end; a tensor whose elements were
met before is told to be shared. No tensor's values are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from optinspect.layouts.base import join
from optinspect.opaque import Opaque
from optinspect.plain import plain
from optinspect.routes import steps
from optinspect.tensors import CompositeRef, TensorRef

Views = dict[int, dict[tuple[Any, ...], int]]
"""id of a storage that several tensors view → each distinct view of it, and its bytes."""

_CONTAINERS = (dict, list, tuple, set, frozenset, Opaque, CompositeRef)
_POSITIONS = (list, tuple, set, frozenset)
_PLAIN = (str, int, float, complex, bool, type(None))


@dataclass(slots=True, eq=False)
class Node:
    """One value. `nbytes`: of the tensors and byte strings in it, each element once; None where there are none.

    first  the node that holds the same object, or the same elements, and was met before
    """

    step: Any
    value: Any
    parent: Node | None = None
    members: list[Node] = field(default_factory=list)
    nbytes: int | None = None
    first: Node | None = None
    is_leaf: bool = False
    """A tensor, a single value, or a list of single values, which is written on one line."""

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def route(self) -> str:
        if self.parent is None:
            return ""
        if isinstance(self.parent.value, CompositeRef):
            return f"{self.parent.route}.{self.step}"
        return join(self.parent.route, self.step)

    @property
    def label(self) -> str:
        """The key as it stands in the file; positions in brackets."""
        if isinstance(self.step, str):
            return self.step
        if isinstance(self.step, int) and not (self.parent and isinstance(self.parent.value, _POSITIONS)):
            return str(self.step)
        return f"[{plain(self.step)}]" if isinstance(self.step, tuple | TensorRef) else join("", self.step)

    def every(self) -> Iterator[Node]:
        """This node and all below it, parents before children, in the file's order."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.members))


def grow(root: Any) -> Node:
    """The tree of everything that `root` holds."""
    top = Node(None, root)
    met: dict[Any, Node] = {}
    pending = [top]
    while pending:
        node = pending.pop()
        node.is_leaf = not isinstance(node.value, _CONTAINERS) or _is_flat(node.value)
        identity = _identity(node)
        if identity is not None and (first := met.setdefault(identity, node)) is not node:
            node.first = first
        if node.first is None and not node.is_leaf:
            node.members = [Node(step, value, node) for step, value in _inner(node.value)]
            pending.extend(reversed(node.members))
    _weigh(top)
    return top


def _inner(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, CompositeRef):
        return (*value.parts.items(), *value.attributes.items())
    return steps(value)


def _is_flat(value: Any) -> bool:
    return isinstance(value, _POSITIONS) and all(isinstance(item, _PLAIN) for item in value)


def _identity(node: Node) -> Any:
    """Equal for one object met twice, and for tensors of the same elements; None for values that are only equal."""
    value = node.value
    if isinstance(value, TensorRef):
        return (id(value.storage), *_view(value))
    if node.is_leaf or (isinstance(value, Opaque) and value.is_reference):
        return None
    return id(value)


def _view(tensor: TensorRef) -> tuple[Any, ...]:
    return tensor.dtype.name, tensor.shape, tensor.stride, tensor.offset


def _weigh(top: Node) -> None:
    """Sum the bytes, leaves first. A storage counts no more bytes than it has."""
    users = Counter(id(node.value.storage) for node in top.every() if isinstance(node.value, TensorRef))
    sizes: dict[int, int] = {}
    views: dict[int, Views] = {}
    for node in reversed(list(top.every())):
        own, shared = _own(node, users, sizes)
        for member in node.members:
            inner = views.pop(id(member))
            member_own = (member.nbytes or 0) - _total(inner, sizes)
            own = own if member.nbytes is None else (own or 0) + member_own
            shared = _joined(shared, inner)
        node.nbytes = None if own is None else own + _total(shared, sizes)
        views[id(node)] = shared


def _own(node: Node, users: Counter[int], sizes: dict[int, int]) -> tuple[int | None, Views]:
    """Bytes of the value itself: those nobody shares, and its view of a storage that others view too."""
    value = node.value
    if isinstance(value, bytes | bytearray):
        return len(value), {}
    if not isinstance(value, TensorRef):
        return None, {}
    if users[id(value.storage)] == 1:
        return min(value.nbytes, value.storage.nbytes), {}
    sizes[id(value.storage)] = value.storage.nbytes
    return 0, {id(value.storage): {_view(value): value.nbytes}}


def _total(views: Views, sizes: dict[int, int]) -> int:
    return sum(min(sum(parts.values()), sizes[storage]) for storage, parts in views.items())


def _joined(one: Views, other: Views) -> Views:
    large, small = (one, other) if len(one) >= len(other) else (other, one)
    for storage, parts in small.items():
        mine = large.setdefault(storage, {})
        mine.update(parts)
    return large
