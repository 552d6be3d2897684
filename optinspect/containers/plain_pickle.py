"""A bare pickle: pickle.dump of a dict. Its tensors hold a small legacy torch file each, which we read as data too."""

from __future__ import annotations

from typing import Any

from optinspect.containers import foreign, torch_legacy
from optinspect.containers.base import Limits, Tree
from optinspect.containers.pickle_builders import BUILDERS
from optinspect.containers.pickle_machine import Machine, NotPlain
from optinspect.containers.pickle_window import interpret_at
from optinspect.containers.source import Source
from optinspect.containers.tree_problems import finish
from optinspect.containers.wording import counted
from optinspect.errors import LimitExceeded, MalformedCheckpoint
from optinspect.tensors import MemoryBytes, Storage

name = "pickle"
_NESTED = "torch.storage._load_from_bytes"


def recognises(head: bytes) -> bool:
    """Protocols 2 to 5 begin with PROTO; 0 and 1 with the opcode of a dict, a list, a tuple or a name."""
    return (head[:1] == b"\x80" and head[1:2] <= b"\x05") or head[:1] in (b"(", b"}", b"]", b"c")


def open(source: Source, limits: Limits) -> Tree:
    """The pickle's value. Raises NotACheckpoint for text that only looks like one, and what interpret() raises."""
    nested = _NestedStorages(limits)
    try:
        pickled = interpret_at(source, 0, "pickle", limits, builders={**BUILDERS, _NESTED: nested})
    except MalformedCheckpoint:
        head = source.head(foreign.HEAD)
        if head[:1] == b"\x80":
            raise
        raise foreign.refusal(source, head) from None
    after = source.size - pickled.end
    notes = ["the integrity of its data cannot be verified: a pickle has no checksum"]
    if after:
        notes.append(f"{counted(after, 'byte')} after the pickle's end, not interpreted")
    tree = Tree(source.path, name, source.size, pickled.value, notes=notes, integrity="none", held=source.held)
    return finish(tree, pickled, limits)


class _NestedStorages:
    """The builder of `_load_from_bytes(legacy file)`: how a tensor that torch did not save itself is pickled."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._read: dict[int, tuple[bytes, Tree]] = {}

    def __call__(self, m: Machine, arguments: tuple[Any, ...]) -> Storage:
        """The storage in it. Raises NotPlain for anything else, after counting the names in it."""
        if len(arguments) != 1 or type(arguments[0]) is not bytes or not torch_legacy.recognises(arguments[0][:64]):
            raise NotPlain
        known = self._read.get(id(arguments[0]))
        tree = known[1] if known is not None else self._open(m, arguments[0])
        self._read[id(arguments[0])] = arguments[0], tree
        if not isinstance(tree.root, Storage):
            raise NotPlain
        return tree.root

    def _open(self, m: Machine, data: bytes) -> Tree:
        m.charge(8000 + len(data))
        try:
            tree = torch_legacy.open(Source(m.where, MemoryBytes(data)), self._limits)
        except LimitExceeded:
            raise
        except MalformedCheckpoint:
            raise NotPlain from None
        for inert, count in tree.opaque.items():
            m.inert[inert] = m.inert.get(inert, 0) + count
        m.called.update(dict.fromkeys(tree.dangerous))
        return tree
