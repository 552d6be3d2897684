"""A zip checkpoint whose save was cut short: no directory, but the structure stands at its front.

    local header  data.pkl  descriptor   local header  data/0  descriptor   … cut

torch writes no sizes into local headers (they follow in descriptors), so the size of a record comes from what data.pkl
declares for it. The pickle is interpreted twice: to learn the sizes, then with what is really there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from optinspect.checkpoint import Problem
from optinspect.containers.base import Limits, Record, Tree
from optinspect.containers.pickle_data import Pickled, interpret
from optinspect.containers.pickle_machine import Machine, Storages
from optinspect.containers.pickle_window import interpret_at
from optinspect.containers.salvage_records import LocalRecord, records_from
from optinspect.containers.source import Source
from optinspect.containers.storages import StorageId, StorageTable
from optinspect.containers.tree_problems import finish, whole_tensors
from optinspect.containers.wording import counted, line
from optinspect.errors import LimitExceeded, TruncatedCheckpoint
from optinspect.tensors import ByteOrder, Storage

LOST = "cut off: the file ends before its bytes do"
_HINT = "use an earlier checkpoint, or copy the file again if the origin is longer"


def open(source: Source, limits: Limits) -> Tree:
    """What can be recovered. Raises TruncatedCheckpoint when not even the structure is whole."""
    return _Salvage(source, limits).tree()


@dataclass
class _Salvage:
    source: Source
    limits: Limits
    sizes: dict[str, int] = field(default_factory=dict)

    def tree(self) -> Tree:
        first = StorageTable(_unplaced)
        pickle = self._find_pickle()
        folder = pickle.name.removesuffix("data.pkl")
        learnt = self._interpret(pickle, lambda: first)
        self.sizes = {f"{folder}data/{key}": declared.nbytes for key, declared in first.declared.items()}
        self.sizes[pickle.name] = learnt.end
        self.records = {record.name: record for record in records_from(self.source, 0, self.sizes, self.limits.records)}
        self.folder = folder
        self.byteorder = self._byteorder()
        placed = StorageTable(self._locate)
        return self._finished(self._interpret(pickle, lambda: placed))

    def _find_pickle(self) -> LocalRecord:
        count = 0
        for record in records_from(self.source, 0, {}, self.limits.records):
            count += 1
            if record.name.rpartition("/")[2] == "data.pkl":
                return record
        found = f"is cut short: {counted(self.source.size, 'byte')}, {counted(count, 'record')}, none of them data.pkl"
        raise TruncatedCheckpoint(line(self.source.path, found), hint=_HINT)

    def _interpret(self, pickle: LocalRecord, storages: Callable[[], Storages]) -> Pickled:
        """Interpret data.pkl with the storages that `storages()` gives."""
        try:
            if pickle.deflated:
                return self._interpret_packed(pickle, storages)
            return interpret_at(self.source, pickle.offset, "data.pkl", self.limits, storages)
        except TruncatedCheckpoint:
            found = f"is cut short inside data.pkl, after {counted(self.source.size, 'byte')}: no tensor is whole"
            raise TruncatedCheckpoint(line(self.source.path, found), hint=_HINT) from None

    def _interpret_packed(self, pickle: LocalRecord, storages: Callable[[], Storages]) -> Pickled:
        data = pickle.data(self.source)
        if data is None:
            raise TruncatedCheckpoint("")
        if data.size > self.limits.pickle:
            raise LimitExceeded("bytes of data.pkl", self.limits.pickle, data.size, where=self.source.path)
        buffer = bytearray(data.size)
        data.read_into(0, memoryview(buffer))
        return interpret(bytes(buffer), f"{self.source.path}: data.pkl", self.limits, storages())

    def _byteorder(self) -> ByteOrder:
        record = self.records.get(f"{self.folder}byteorder")
        whole = record is not None and record.whole and record.size == 3
        return "big" if whole and record is not None and self.source.read(record.offset, 3) == b"big" else "little"

    def _locate(self, _m: Machine, declared: StorageId) -> Storage:
        key = f"data/{declared.key}"
        record = self.records.get(self.folder + key)
        data = record.data(self.source) if record is not None and record.size >= declared.nbytes else None
        problem = LOST if data is None else None
        return Storage(key, declared.dtype, declared.nbytes, declared.device, data, self.byteorder, problem)

    def _finished(self, pickled: Pickled) -> Tree:
        tree = Tree(
            path=self.source.path,
            container="torch-zip",
            size=self.source.size,
            root=pickled.value,
            byteorder=self.byteorder,
            records=tuple(
                Record(record.name.removeprefix(self.folder), record.size, record.crc32, record.data(self.source))
                for record in self.records.values()
            ),
            integrity="crc32",
            held=self.source.held,
        )
        finished = finish(tree, pickled, self.limits)
        whole, total = whole_tensors(finished.root)
        message = f"the save was cut short (no zip directory): {whole:,} of {total:,} tensors are whole"
        finished.problems.insert(0, Problem("truncated", "", message))
        return finished


def _unplaced(_m: Machine, declared: StorageId) -> Storage:
    return Storage(declared.key, declared.dtype, declared.nbytes, declared.device, None)
