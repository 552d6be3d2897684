"""torch.distributed.checkpoint: `.metadata` says where each chunk lies in the `*.distcp` files.

A data file is torch.save archives laid end to end, one a chunk. They are opened when their values are read; the
tensors that are listed are those of the whole model, put together from the chunks of all ranks as they are read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from typing import Any

from optinspect.containers import open_source
from optinspect.containers.assembled import Assembled, box
from optinspect.containers.base import Tree
from optinspect.containers.geometry import contiguous
from optinspect.containers.source import Source
from optinspect.containers.wording import line, printable
from optinspect.directories import dcp_metadata
from optinspect.directories.base import Found, Session, found_in
from optinspect.directories.dcp_archives import Archives
from optinspect.directories.dcp_metadata import MODULE, Chunk, Metadata, Object, Place, Shape, Tensor
from optinspect.directories.folder import Folder
from optinspect.directories.nesting import nested
from optinspect.errors import LimitExceeded, NotACheckpoint, OptinspectError, UnreadableFile
from optinspect.tensors import DTYPES, Bytes, DType, MemoryBytes, Storage, TensorRef

METADATA = ".metadata"
REPACK = "load it with torch.distributed.checkpoint, and save it without the extension"
BESIDE = "meta.pt"
"""What Lightning keeps beside a sharded state: loops, callbacks, counters."""


VALUES = 300
"""Thousandths of the opening for the values; the rest is `.metadata`, read whole before them."""


class Distributed:
    """A directory of torch.distributed.checkpoint, whatever saved it: torch, torchtitan, FSDP, Lightning."""

    name = "dcp"

    def recognises(self, folder: Folder) -> bool:
        return METADATA in folder.files

    def gather(self, session: Session) -> Found:
        """Raises NotACheckpoint where `.metadata` is something else, and what reading a pickle raises."""
        root = contents(session)
        if BESIDE in session.folder.files:
            beside = session.try_open(BESIDE)
            root = {**(beside.root if beside is not None and isinstance(beside.root, dict) else {}), **root}
        return Found(root)


def contents(session: Session) -> dict[str, Any]:
    """The state_dict of the session's folder. Raises as `gather` does."""
    tree = session.open(METADATA)
    if not dcp_metadata.is_metadata(tree.root):
        raise NotACheckpoint(line(session.folder.path, ".metadata is not that of torch.distributed.checkpoint"))
    session.parts[-1] = replace(session.parts[-1], tree=_without_own_names(tree))
    metadata = dcp_metadata.read(tree.root)
    if metadata.packed and all(packed for packed in metadata.packed):
        found = f"its chunks are packed by {printable(metadata.packed[0], 40)}, which is not read (plain ones expected)"
        raise UnreadableFile(line(session.folder.path, found), hint=REPACK)
    return nested(_Values(session, metadata).all(), metadata.paths)


def _without_own_names(tree: Tree) -> Tree:
    """The format's own classes were understood; what else the pickle names stays inert and is told."""
    other = {name: count for name, count in tree.opaque.items() if not name.startswith(MODULE)}
    dangerous = tuple(name for name in tree.dangerous if not name.startswith(MODULE))
    return replace(tree, opaque=other, dangerous=dangerous, notes=[])


class _Values:
    """Makes the value of every entry; what is missing is said once a file."""

    def __init__(self, session: Session, metadata: Metadata) -> None:
        self.session, self.metadata = session, metadata
        self.sources: dict[str, Source | None] = {}
        self.objects: dict[bytes, Any] = {}
        self.lost: Counter[str] = Counter()
        self.archives = Archives(session.limits)

    def all(self) -> dict[str, Any]:
        for key in self.metadata.malformed:
            self.session.problem("integrity", key, "an entry of .metadata that makes no sense")
        values = {}
        for entry in self.metadata.entries:
            values[entry.key] = self._tensor(entry) if isinstance(entry, Tensor) else self._object(entry)
            self.session.share.add(VALUES / len(self.metadata.entries))
        for file, count in self.lost.items():
            if file not in self.session.folder.files:
                self.session.problem("missing", file, f"the shard is not in the directory: {count:,} chunks are lost")
        return values

    def _source(self, place: Place) -> Source | None:
        """The data file, opened once; only what lies in this very directory is ever opened."""
        name = place.file
        if name not in self.sources:
            self.sources[name] = self._opened(name) if name in self.session.folder.files else None
        source = self.sources[name]
        if source is None:
            self.lost[name] += 1
        return source

    def _opened(self, name: str) -> Source | None:
        try:
            source = self.session.folder.source(name)
        except OptinspectError as error:
            self.session.problem("missing", name, found_in(error, name))
            return None
        tree = Tree(source.path, "distcp", source.size, None, integrity="none", held=source.held)
        self.session.add(name, tree)
        return source

    def _object(self, entry: Object) -> Any:
        """A value pickled by itself. Equal bytes are read once: settings of 10,000 parameters are nearly all alike."""
        source = self._source(entry.place) if entry.place else None
        if entry.place is None or source is None:
            return None
        try:
            if entry.place.length > self.session.limits.pickle:
                raise LimitExceeded(
                    "bytes of an object", self.session.limits.pickle, entry.place.length, where=source.path
                )
            data = source.read(entry.place.offset, entry.place.length)
            if data not in self.objects:
                inner = open_source(Source(f"{source.path}: {entry.key[:60]}", MemoryBytes(data)), self.session.limits)
                self.objects[data] = inner.root
            return self.objects[data]
        except LimitExceeded:
            raise
        except OptinspectError as error:
            self.session.problem("integrity", entry.key, found_in(error, entry.key[:60]))
            return None

    def _tensor(self, entry: Tensor) -> TensorRef:
        dtype = entry.dtype or DTYPES["uint8"]
        size = dtype.itemsize
        pieces = []
        problem = None if entry.dtype else "a dtype that is not known"
        for chunk in entry.chunks:
            data, lost = self._chunk(entry, chunk)
            problem = problem or lost
            if data is not None:
                pieces.append(box(data, entry.shape, size, chunk.offsets, chunk.sizes))
        made = Assembled(TensorRef(dtype, entry.shape, (), 0, _NOTHING).nbytes, pieces)
        if problem is None and not made.whole:
            problem = f"its chunks hold {made.covered:,} of {made.size:,} bytes"
        if problem is not None:
            self.session.problem("missing", entry.key, problem)
        storage = Storage(entry.key, dtype, made.size, "cpu", made if problem is None else None, problem=problem)
        return TensorRef(
            dtype, entry.shape, contiguous(entry.shape), 0, storage, requires_grad=entry.requires_grad, problem=problem
        )

    def _chunk(self, entry: Tensor, chunk: Chunk) -> tuple[Bytes | None, str | None]:
        if chunk.place is None:
            return None, "a chunk that .metadata places nowhere"
        source = self._source(chunk.place)
        if source is None:
            return None, f"the shard {printable(chunk.place.file)} is not there"
        if chunk.place.offset + chunk.place.length > source.size:
            return None, f"the shard {printable(chunk.place.file)} ends before its chunk"
        if chunk.place.packed:
            return None, f"packed by {printable(chunk.place.packed, 40)}, an extension that is not supported"
        dtype = entry.dtype or DTYPES["uint8"]
        if prod(chunk.sizes) * dtype.itemsize > chunk.place.length:
            return None, "its chunk is larger than the bytes that .metadata gives it"
        return _LazyChunk(entry.key, source, chunk.place, chunk.sizes, dtype, self.archives), None


_NOTHING = Storage("", DTYPES["uint8"], 0, "cpu", None)


class _LazyChunk:
    """The elements of one chunk; its archive is opened at the first read."""

    __slots__ = ("_archives", "_data", "_dtype", "_key", "_place", "_sizes", "_source", "size")

    def __init__(self, key: str, source: Source, place: Place, sizes: Shape, dtype: DType, archives: Archives) -> None:
        self._key = key
        self._source, self._place, self._sizes, self._dtype, self._archives = source, place, sizes, dtype, archives
        self._data: Bytes | None = None
        self.size = prod(sizes) * dtype.itemsize

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Raises what Archives.locate raises."""
        if self._data is None:
            self._data = self._archives.locate(self._key, self._source, self._place, self._sizes, self._dtype)
        self._data.read_into(offset, buffer)
