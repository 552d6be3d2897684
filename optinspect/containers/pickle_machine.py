"""The state of the pickle interpreter: a stack, a memo, and a bound on what a file may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from optinspect.containers.base import Limits
from optinspect.containers.wording import line
from optinspect.errors import LimitExceeded, MalformedCheckpoint, TruncatedCheckpoint
from optinspect.opaque import Opaque
from optinspect.tensors import CompositeRef, TensorRef

Builder = Callable[["Machine", tuple[Any, ...]], Any]
"""Makes plain data of a call's arguments, or raises NotPlain."""

Storages = Callable[["Machine", Any], Any]
"""What a persistent id stands for: a container's storage."""

_LEAF_KEYS = frozenset((str, bytes, type(None), bool, int, float))
_MAX_SHARED_HASH = 64
_RESERVED = 256 << 20
_CUT = "use an earlier checkpoint, or copy the file again if the origin is longer"


class NotPlain(Exception):
    """A builder cannot make plain data of these arguments: the call is kept as an Opaque."""


class Global(Opaque):
    """A name that a pickle refers to. `builder` is ours, when the name is one we can build."""

    __slots__ = ("builder",)

    def __init__(self, name: str, builder: Builder | None) -> None:
        super().__init__(name)
        self.builder = builder


class AttributedDict(dict[Any, Any]):
    """An OrderedDict, defaultdict or Counter: a dict that may carry attributes (`state_dict()._metadata`)."""

    attributes: Any = None


DICTS = (dict, AttributedDict)


class Machine:
    """What the opcode handlers work on. `where` names the pickle in messages: "ckpt.pt: data.pkl"."""

    __slots__ = (
        "bound", "called", "data", "globals", "inert", "limits", "marks", "memo", "problems", "seen",
        "sparse", "spent", "stack", "storages", "table", "where",
    )  # fmt: skip

    def __init__(
        self, data: bytes, where: str, limits: Limits, storages: Storages, table: Mapping[str, Builder | None]
    ) -> None:
        self.data = data
        self.where = where
        self.limits = limits
        self.storages = storages
        self.table = table
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: list[Any] = []
        """Numbers 0, 1, 2 … as every pickler writes them; others are in `sparse` until the gap is filled."""
        self.sparse: dict[int, Any] = {}
        self.globals: dict[str, Global] = {}
        self.spent = len(data)
        self.bound = min(limits.objects, max(_RESERVED, 64 * len(data)))
        self.inert: dict[str, int] = {}
        self.called: dict[str, None] = {}
        self.problems: list[tuple[Any, str, str]] = []
        """(tensor or storage, kind of Problem, message); the route is found when the tree is whole."""
        self.seen: dict[int, tuple[Any, dict[int, int]]] = {}
        """id of a dict or set → itself, and how many of its keys have each hash."""

    def charge(self, size: int) -> None:
        """Account for `size` bytes of objects. Raises LimitExceeded."""
        self.spent += size
        spent = self.spent + 16 * len(self.memo) + 100 * (len(self.sparse) + len(self.marks))
        if spent > self.bound:
            raise LimitExceeded("bytes of objects", self.bound, spent, where=self.where)

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        value = self.stack[-1]
        if index == len(self.memo):
            self.memo.append(value)
            self.sparse.pop(index, None)
        elif index < len(self.memo):
            self.memo[index] = value
        else:
            self.sparse[index] = value

    def replace(self, old: Any, new: Any) -> None:
        """Put `new` where `old` is, on the stack's top and among the latest 64 of the memo."""
        self.stack[-1] = new
        for index in range(len(self.memo) - 1, max(len(self.memo) - 65, -1), -1):
            if self.memo[index] is old:
                self.memo[index] = new
        for index in list(islice(reversed(self.sparse), 64)):
            if self.sparse[index] is old:
                self.sparse[index] = new

    def malformed(self, found: str, pos: int | None = None) -> MalformedCheckpoint:
        """An error to raise, with the byte it was found at."""
        at = "" if pos is None else f" at byte {pos:,}"
        return MalformedCheckpoint(line(self.where, f"{found}{at}"), hint="copy or save the file again")

    def truncated(self, found: str = "its pickle goes on") -> TruncatedCheckpoint:
        """An error to raise where the data ends too early."""
        return TruncatedCheckpoint(line(self.where, f"{found}, but it ends after {len(self.data):,}"), hint=_CUT)

    def broken(self, what: Any, kind: str, message: str) -> None:
        """Remember a problem of a tensor or storage that does not stop the reading."""
        self.charge(500)
        self.problems.append((what, kind, message))

    def opaque(self, name: str, args: Any, *, called: bool = True) -> Opaque:
        """An inert record of a call, counted under its name."""
        self.spent += 400
        self.inert[name] = self.inert.get(name, 0) + 1
        if called:
            self.called[name] = None
        return Opaque(name, args)

    def check_key(self, target: Any, key: Any) -> None:
        """A dict key or set member must have a hash that is cheap, and that few others of `target` share."""
        kind = type(key)
        if kind is str or kind is bytes or kind is bool or key is None:
            return
        if kind is int and -(1 << 60) < key < 1 << 60:
            return
        if isinstance(key, Opaque | TensorRef | CompositeRef):
            return
        members = _members(key, 3)
        if members < 0:
            raise self.malformed(f"a {kind.__name__} cannot be a key (text, bytes, 64-bit numbers or short tuples)")
        self.charge(300 + 32 * members)
        hashes = self.seen.setdefault(id(target), (target, {}))[1]
        hashes[hash(key)] = hashes.get(hash(key), 0) + 1
        if hashes[hash(key)] > _MAX_SHARED_HASH:
            raise self.malformed("too many keys share one hash")

    def store(self, target: Any, items: list[Any]) -> None:
        """SETITEM(S): key, value, key, value …"""
        kind = type(target)
        if kind is not dict and kind is not AttributedDict:
            if not isinstance(target, Opaque):
                raise self.malformed(f"items are set on a {kind.__name__} (a dict expected)")
            target = target.items
        if len(items) % 2:
            raise self.malformed("a key without a value")
        self.spent += 60 * len(items)
        for at in range(0, len(items), 2):
            key = items[at]
            if type(key) is not str:
                self.check_key(target, key)
            target[key] = items[at + 1]

    def extend(self, target: Any, items: Iterable[Any], count: int) -> None:
        """APPEND(S)."""
        if type(target) is not list:
            if not isinstance(target, Opaque):
                raise self.malformed(f"items are appended to a {type(target).__name__} (a list expected)")
            target = target.entries
        self.spent += 9 * count
        target.extend(items)

    def add(self, target: Any, items: list[Any]) -> None:
        """ADDITEMS."""
        if type(target) is not set:
            raise self.malformed(f"members are added to a {type(target).__name__} (a set expected)")
        self.charge(80 * len(items))
        for item in items:
            self.check_key(target, item)
            target.add(item)


def _members(key: Any, depth: int) -> int:
    """How many values are hashed with `key`; negative when one of them is not allowed."""
    kind = type(key)
    if kind is int:
        return 1 if -(1 << 63) <= key < 1 << 64 else -1
    if kind in _LEAF_KEYS or isinstance(key, Opaque | TensorRef | CompositeRef):
        return 1
    if kind is not tuple or depth == 0 or len(key) > 16:
        return -1
    counts = [_members(item, depth - 1) for item in key]
    return sum(counts) if min(counts, default=0) >= 0 else -1
