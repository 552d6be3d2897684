"""torch.save before 1.6: pickles one after the other, then the storages.

    magic number · protocol version · system information · the object · list of keys · per key: int64 count, elements

Elements are little-endian whatever the machine (THPStorage_writeFileRaw swaps). There is no checksum. The object is
interpreted twice: to learn the sizes of the storages, then with their places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Problem
from optinspect.containers.base import Limits, Tree
from optinspect.containers.pickle_data import Pickled
from optinspect.containers.pickle_machine import Machine
from optinspect.containers.pickle_window import interpret_at
from optinspect.containers.source import Source
from optinspect.containers.storages import StorageId, StorageTable
from optinspect.containers.tree_problems import finish, whole_tensors
from optinspect.containers.wording import counted, line, printable
from optinspect.errors import MalformedCheckpoint, TruncatedCheckpoint
from optinspect.tensors import Storage

name = "torch-legacy"
MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = MAGIC.to_bytes(10, "little")
_MAGIC_DIGITS = str(MAGIC).encode()
_PROTOCOL = 1001
LOST = "cut off: the file ends before its bytes do"
_HINT = "use an earlier checkpoint, or copy the file again if the origin is longer"


def recognises(head: bytes) -> bool:
    return _MAGIC_BYTES in head[:32] or _MAGIC_DIGITS in head[:32]


def open(source: Source, limits: Limits) -> Tree:
    """The checkpoint. Raises TruncatedCheckpoint when it ends before its storages, MalformedCheckpoint."""
    return _Legacy(source, limits).tree()


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    whole: bool


@dataclass
class _Legacy:
    source: Source
    limits: Limits

    def tree(self) -> Tree:
        start = self._preamble()
        declared = StorageTable(_unplaced)
        learnt = self._pickle(start, "object", lambda: declared)
        keys = self._pickle(start + learnt.end, "keys")
        self.places, end = self._find_places(keys.value, start + learnt.end + keys.end, declared.declared)
        placed = StorageTable(self._locate)
        return self._finished(self._pickle(start, "object", lambda: placed), end)

    def _pickle(self, offset: int, what: str, storages: Any = None) -> Pickled:
        try:
            if storages is None:
                return interpret_at(self.source, offset, what, self.limits)
            return interpret_at(self.source, offset, what, self.limits, storages)
        except TruncatedCheckpoint:
            found = f"is cut short inside its structure, after {counted(self.source.size, 'byte')} (legacy format)"
            raise TruncatedCheckpoint(line(self.source.path, found), hint=_HINT) from None

    def _preamble(self) -> int:
        """Check magic number, protocol and system information; where the object begins."""
        offset, values = 0, []
        for what in ("magic number", "protocol version", "system information"):
            pickled = self._pickle(offset, what)
            values.append(pickled.value)
            offset += pickled.end
        if values[0] != MAGIC or values[1] != _PROTOCOL or not isinstance(values[2], dict):
            raise self._malformed("the legacy preamble is damaged (magic number, protocol 1001, system information)")
        self.notes = ["the integrity of its data cannot be verified: the legacy format has no checksums"]
        if values[2].get("little_endian") is False:
            self.notes.append("saved on a big-endian machine")
        return offset

    def _find_places(self, keys: Any, offset: int, declared: dict[str, StorageId]) -> tuple[dict[str, _Place], int]:
        """Walk over the storages; each is preceded by its number of elements."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise self._malformed("its list of storages is no list of keys")
        if len(set(keys)) != len(keys):
            raise self._malformed("its list of storages names one twice")
        places: dict[str, _Place] = {}
        for key in keys:
            if key not in declared:
                raise self._malformed(f"storage {printable(key, 20)} is in the list, but in no tensor")
            head = self.source.head(8, min(offset, self.source.size))
            count, expected = int.from_bytes(head, "little", signed=True), declared[key].numel
            if len(head) == 8 and count != expected:
                found = f"storage {printable(key, 20)} holds {count:,} elements ({expected:,} declared)"
                raise self._malformed(found)
            end = offset + 8 + declared[key].nbytes
            places[key] = _Place(offset + 8, end <= self.source.size)
            offset = end
        return places, offset

    def _locate(self, m: Machine, declared: StorageId) -> Storage:
        place = self.places.get(declared.key)
        data = self.source.part(place.offset, declared.nbytes) if place is not None and place.whole else None
        absent = f"storage {printable(declared.key, 20)} is not in the file"
        problem = None if data is not None else LOST if place is not None else absent
        made = Storage(declared.key, declared.dtype, declared.nbytes, declared.device, data, "little", problem)
        if place is None:
            m.broken(made, "missing", absent)
        return made

    def _finished(self, pickled: Pickled, end: int) -> Tree:
        after = self.source.size - end
        if after > 0:
            self.notes.append(f"{counted(after, 'byte')} after the last storage")
        tree = Tree(
            path=self.source.path,
            container=name,
            size=self.source.size,
            root=pickled.value,
            notes=self.notes,
            integrity="none",
            held=self.source.held,
        )
        finished = finish(tree, pickled, self.limits)
        if after < 0:
            whole, total = whole_tensors(finished.root)
            message = f"the file is cut short by {counted(-after, 'byte')}: {whole:,} of {total:,} tensors are whole"
            finished.problems.insert(0, Problem("truncated", "", message))
        return finished

    def _malformed(self, found: str) -> MalformedCheckpoint:
        return MalformedCheckpoint(line(self.source.path, found), hint="copy or save the file again")


def _unplaced(_m: Machine, declared: StorageId) -> Storage:
    return Storage(declared.key, declared.dtype, declared.nbytes, declared.device, None)
