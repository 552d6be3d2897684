"""torch.save since 1.6: a zip archive of data.pkl, one record a storage, and a few small records.

    <folder>/data.pkl   <folder>/byteorder   <folder>/data/0 …   <folder>/version

The folder is that of the first record; its name means nothing. A file without a directory is handed to salvage.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from optinspect.checkpoint import Problem
from optinspect.containers import salvage, zip_layout
from optinspect.containers.base import Limits, Record, Tree
from optinspect.containers.pickle_data import Pickled, interpret
from optinspect.containers.pickle_machine import Machine
from optinspect.containers.source import Source
from optinspect.containers.storages import StorageId, StorageTable
from optinspect.containers.tree_problems import finish
from optinspect.containers.wording import counted, line, printable
from optinspect.containers.zip_directory import LOCAL_SIGNATURE, Directory, Entry, read_directory
from optinspect.errors import LimitExceeded, MalformedCheckpoint, TruncatedCheckpoint
from optinspect.tensors import ByteOrder, Storage

name = "torch-zip"
PICKLE = "data.pkl"
_SMALL = 1 << 20
_MAX_RATIO = 100  # of an inflated pickle to its deflated size; 100,000 honest tensors have 3.9, a bomb up to 1032


def recognises(head: bytes) -> bool:
    return head[:4] == LOCAL_SIGNATURE


def open(source: Source, limits: Limits) -> Tree:
    """The checkpoint in a zip archive.

    Raises NotACheckpoint for archives of other things, MalformedCheckpoint, TruncatedCheckpoint, LimitExceeded.
    """
    try:
        directory = read_directory(source, limits)
    except TruncatedCheckpoint:
        return salvage.open(source, limits)
    return _Archive(source, directory, limits).tree()


@dataclass
class _Archive:
    source: Source
    directory: Directory
    limits: Limits

    def tree(self) -> Tree:
        layout = zip_layout.find(self.source, self.directory.entries)
        self.folder = layout.folder
        self.entries = self.directory.by_name
        self.byteorder = self._byteorder()
        data, damage = self._pickle_bytes()
        storages = StorageTable(self._locate)
        pickled = self._interpreted(data, damage, storages)
        problems = [Problem("refused", route, message) for route, message in layout.refusals]
        problems += [Problem("structure", route, message) for route, message in layout.oddities]
        if damage:
            problems.append(Problem("integrity", PICKLE, damage))
        tree = Tree(
            path=self.source.path,
            container=name,
            size=self.source.size,
            root=pickled.value,
            byteorder=self.byteorder,
            records=_Records(self.source, self.directory.entries, self.folder),
            problems=problems,
            notes=self._notes(storages, len(data) - pickled.end),
            integrity="crc32",
            held=self.source.held,
        )
        return finish(tree, pickled, self.limits)

    def _byteorder(self) -> ByteOrder:
        entry = self.entries.get(f"{self.folder}byteorder")
        if entry is None:
            return "little"  # torch before 2.1 writes none, and was used on little-endian machines
        text = self._bytes(entry, 16, "bytes of byteorder record")
        if text not in (b"little", b"big"):
            found = printable(text.decode("latin-1"), 20)
            raise MalformedCheckpoint(line(self.source.path, f"byte order {found} (little or big expected)"))
        return "big" if text == b"big" else "little"

    def _bytes(self, entry: Entry, limit: int, what: str) -> bytes:
        if entry.size > limit:
            raise LimitExceeded(what, limit, entry.size, where=self.source.path)
        buffer = bytearray(entry.size)
        entry.data(self.source).read_into(0, memoryview(buffer))
        return bytes(buffer)

    def _pickle_bytes(self) -> tuple[bytes, str | None]:
        """data.pkl, and what its checksum says against it."""
        entry = self.entries[f"{self.folder}{PICKLE}"]
        if entry.size > _SMALL and entry.size > _MAX_RATIO * entry.packed:
            raise LimitExceeded("bytes of data.pkl", _MAX_RATIO * entry.packed, entry.size, where=self.source.path)
        data = self._bytes(entry, self.limits.pickle, "bytes of data.pkl")
        crc32 = zlib.crc32(data)
        if entry.recorded_crc32 in (None, crc32):
            return data, None
        return data, f"{PICKLE} fails its checksum ({crc32:08x}, {entry.crc32:08x} recorded)"

    def _interpreted(self, data: bytes, damage: str | None, storages: StorageTable) -> Pickled:
        try:
            return interpret(data, f"{self.source.path}: {PICKLE}", self.limits, storages)
        except MalformedCheckpoint as error:
            if damage is None:
                raise
            found = error.message.removeprefix(f"{self.source.path}: ")
            raise MalformedCheckpoint(
                line(self.source.path, f"{damage} and cannot be read: {found.removeprefix(PICKLE + ': ')}"),
                hint="the file was damaged after it was saved: copy it again from its origin",
            ) from None

    def _locate(self, m: Machine, declared: StorageId) -> Storage:
        key = f"data/{declared.key}"
        entry = self.entries.get(f"{self.folder}{key}")
        problem = None
        if entry is None:
            problem = f"record {printable(key, 40)} is not in the file"
            kind = "missing"
        elif entry.size < declared.nbytes:
            problem = f"record {key} has {counted(entry.size, 'byte')} ({declared.nbytes:,} declared)"
            kind = "truncated"
        data = entry.data(self.source) if entry is not None and problem is None else None
        made = Storage(key, declared.dtype, declared.nbytes, declared.device, data, self.byteorder, problem)
        if problem is not None:
            m.broken(made, kind, problem)
        elif entry is not None and entry.size > declared.nbytes:
            m.broken(made, "structure", f"record {key} has {entry.size:,} bytes, {declared.nbytes:,} declared")
        return made

    def _notes(self, storages: StorageTable, after_stop: int) -> list[str]:
        prefix = f"{self.folder}data/"
        unused = [
            entry.name.removeprefix(self.folder)
            for entry in self.directory.entries
            if entry.name.startswith(prefix) and entry.name[len(prefix) :] not in storages.declared
        ]
        compressed = sum(entry.deflated for entry in self.directory.entries)
        trailing = self.directory.trailing
        notes = (
            (unused, f"no tensor uses {counted(len(unused), 'record')}: {printable(', '.join(unused[:3]))}"),
            (compressed, f"{counted(compressed, 'record')} compressed: torch.load(mmap=True) would read garbage"),
            (trailing, f"{counted(trailing, 'byte')} after the end of the zip archive"),
            (after_stop, f"{counted(after_stop, 'byte')} after the end of data.pkl's pickle, not interpreted"),
        )
        return [text for present, text in notes if present]


class _Records(Sequence[Record]):
    """Records by position, made when they are asked for: listing a file needs none of them."""

    def __init__(self, source: Source, entries: Sequence[Entry], folder: str) -> None:
        self._source = source
        self._entries = entries
        self._folder = folder

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return _Records(self._source, self._entries[index], self._folder)
        entry = self._entries[index]
        short = entry.name.removeprefix(self._folder)
        return Record(short, entry.size, entry.recorded_crc32, entry.data(self._source))
