"""The records of a zip archive without a directory, one after the other by their local headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from optinspect.containers.deflated import DeflatedBytes
from optinspect.containers.source import Source
from optinspect.containers.zip_directory import HAS_DESCRIPTOR, LOCAL, LOCAL_SIGNATURE, zip64_values
from optinspect.tensors import Bytes

_DESCRIPTOR = b"PK\x07\x08"
_FULL = 0xFFFFFFFF
_SMALL = 64 << 10  # a record of unknown size other than data.pkl: byteorder, version, …
_LARGEST_PICKLE = 256 << 20


@dataclass(frozen=True, slots=True)
class LocalRecord:
    """A record as its own header has it. `packed` and `size` are -1 where the cut hides them."""

    name: str
    offset: int
    packed: int
    size: int
    crc32: int | None
    deflated: bool
    whole: bool

    def data(self, source: Source) -> Bytes | None:
        """Its bytes, when all of them are there."""
        if not self.whole:
            return None
        part = source.part(self.offset, self.packed)
        return DeflatedBytes(part, self.size, f"{source.path}: {self.name}") if self.deflated else part


def records_from(source: Source, start: int, sizes: Mapping[str, int], limit: int) -> Iterator[LocalRecord]:
    """Records from `start` until the cut, or until something that is no record.

    `sizes` gives the size of stored records whose header does not; without it the descriptor is searched for.
    """
    for _ in range(limit):
        head = source.head(LOCAL.size, start)
        if len(head) < LOCAL.size or head[:4] != LOCAL_SIGNATURE:
            return
        _, _, flags, method, _, _, crc32, packed, size, name_size, extra_size = LOCAL.unpack(head)
        named = source.head(name_size + extra_size, start + LOCAL.size)
        if len(named) < name_size + extra_size or method not in (0, 8):
            return
        name = named[:name_size].decode("utf-8", "backslashreplace")
        offset = start + LOCAL.size + name_size + extra_size
        if _FULL in (packed, size):
            size, packed = ([*zip64_values(named[name_size:]), 0, 0])[:2]
        if flags & HAS_DESCRIPTOR and packed == 0:
            packed = size = _unwritten_size(source, offset, name, sizes) if method == 0 else -1
        honest = method == 8 or packed == size  # a stored record is as long in the file as it is
        whole = honest and 0 <= packed <= source.size - offset
        after, described = _after_descriptor(source, offset + packed, packed, flags) if whole else (0, None)
        yield LocalRecord(name, offset, packed, size, described or crc32 or None, method == 8, whole)
        if not whole:
            return
        start = after


def _unwritten_size(source: Source, offset: int, name: str, sizes: Mapping[str, int]) -> int:
    """From `sizes`, else by the descriptor that follows the data; -1 when it is not there."""
    if name in sizes and (sizes[name] == 0 or not name.endswith("data.pkl")):
        return sizes[name]
    limit = _LARGEST_PICKLE if name.endswith("data.pkl") else _SMALL
    overlap, position = 16, offset
    while position < min(source.size, offset + limit):
        window = source.head(1 << 20, position)
        at = window.find(_DESCRIPTOR)
        while at >= 0:
            size = position + at - offset
            if int.from_bytes(source.head(4, position + at + 8), "little") == size:
                return size
            at = window.find(_DESCRIPTOR, at + 1)
        position += max(len(window) - overlap, 1)
    return sizes.get(name, -1)


def _after_descriptor(source: Source, end: int, packed: int, flags: int) -> tuple[int, int | None]:
    """Where the next record begins, and the checksum that the descriptor gives (12 or 20 bytes after its mark)."""
    if not flags & HAS_DESCRIPTOR:
        return end, None
    head = source.head(28, end)
    if head[:4] != _DESCRIPTOR or len(head) < 16:
        return end, None
    crc32 = int.from_bytes(head[4:8], "little")
    wide = int.from_bytes(head[8:16], "little") == packed and head[24:26] == b"PK" and head[16:18] != b"PK"
    return end + (24 if wide else 16), crc32
