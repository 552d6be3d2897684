"""The directory of a zip archive, read so that no second parser could see another archive in the same bytes.

    [local header, data, descriptor]…  central directory  [zip64 end record, locator]  end record

Refused: records outside the file or over one another, names that differ between the directory and the local header,
names that differ in case only (torch's reader folds them), encryption, unknown compression. Format: PKWARE APPNOTE 6.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from optinspect.containers import zip_end
from optinspect.containers.base import Limits
from optinspect.containers.deflated import DeflatedBytes
from optinspect.containers.source import Source
from optinspect.containers.wording import counted, line, printable
from optinspect.errors import LimitExceeded, MalformedCheckpoint
from optinspect.tensors import Bytes

LOCAL_SIGNATURE = b"PK\x03\x04"
CENTRAL_SIGNATURE = b"PK\x01\x02"
LOCAL = Struct("<4s5H3I2H")  # signature, version, flags, method, time, date, crc, packed, size, name, extra
_CENTRAL = Struct("<4s6H3I5H2I")
STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR = 0x0008
_REFUSED_FLAGS = 0x2061  # encrypted, patch data, strong encryption, masked headers
_IN_ZIP64 = 0xFFFFFFFF


class Entry(NamedTuple):
    """A record of the archive: where its bytes lie in the source, and what the directory says of them."""

    name: str
    header: int
    """Offset of its local header."""
    offset: int
    """Offset of its first byte."""
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes after inflating; equal to `packed` when stored."""
    crc32: int
    deflated: bool

    def data(self, source: Source) -> Bytes:
        """Its bytes, inflated as they are read. Raises what DeflatedBytes raises."""
        part = source.part(self.offset, self.packed)
        return DeflatedBytes(part, self.size, f"{source.path}: {self.name}") if self.deflated else part

    @property
    def recorded_crc32(self) -> int | None:
        """None where the writer left it out: torch can write 0 for every record."""
        return self.crc32 if self.crc32 or not self.size else None


@dataclass(frozen=True, slots=True)
class Directory:
    """All entries in the directory's order. `trailing`: bytes after the end record."""

    entries: tuple[Entry, ...]
    trailing: int

    @property
    def by_name(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries}


def read_directory(source: Source, limits: Limits) -> Directory:
    """The archive's directory.

    Raises TruncatedCheckpoint when there is no end record (the file may be cut short), MalformedCheckpoint for
    everything that contradicts itself, LimitExceeded for too many records.
    """
    end = zip_end.find_end(source)
    if end.count > limits.records:
        raise LimitExceeded("records in the zip directory", limits.records, end.count, where=source.path)
    if end.size > limits.pickle:
        raise LimitExceeded("bytes of zip directory", limits.pickle, end.size, where=source.path)
    directory = source.read(end.offset, end.size)
    entries = tuple(_entries(_Headers(source, end.count), directory, end.count))
    _check_names(source, entries)
    _check_places(source, entries, end.offset)
    return Directory(entries, end.trailing)


class _Headers:
    """Reads local headers: many at a time where records are small, each by itself where they are large."""

    def __init__(self, source: Source, count: int) -> None:
        self.source = source
        self._window = 1 << 16 if source.size < count << 12 else 128
        self._start, self._bytes = 0, b""

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes, fewer at the end of the source."""
        place = offset - self._start
        if place < 0 or place + size > len(self._bytes):
            self._bytes = self.source.head(max(size, self._window), offset)
            self._start, place = offset, 0
        return self._bytes[place : place + size]


def _entries(headers: _Headers, directory: bytes, count: int) -> Iterator[Entry]:
    position, source = 0, headers.source
    for number in range(count):
        if position + _CENTRAL.size > len(directory):
            raise _malformed(source, f"its zip directory holds {number:,} of {count:,} records")
        fields = _CENTRAL.unpack_from(directory, position)
        name_size, extra_size, comment_size = fields[10:13]
        after = position + _CENTRAL.size + name_size + extra_size + comment_size
        if fields[0] != CENTRAL_SIGNATURE or after > len(directory):
            raise _malformed(source, f"record {number:,} of its zip directory is damaged")
        name = directory[position + _CENTRAL.size : position + _CENTRAL.size + name_size]
        extra = directory[position + _CENTRAL.size + name_size : after - comment_size]
        yield _entry(headers, name, fields, extra)
        position = after
    if position != len(directory):
        raise _malformed(source, f"its zip directory has {counted(len(directory) - position, 'byte')} too many")


def _entry(headers: _Headers, raw_name: bytes, fields: tuple[int, ...], extra: bytes) -> Entry:
    source = headers.source
    flags, method, crc32, disk = fields[3], fields[4], fields[7], fields[13]
    name = raw_name.decode("utf-8", "backslashreplace")
    size, packed, header = fields[9], fields[8], fields[16]
    if _IN_ZIP64 in (size, packed, header):
        size, packed, header = _wide(source, name, (size, packed, header), extra)
    if flags & _REFUSED_FLAGS:
        raise _malformed(source, f"record {printable(name)} is encrypted or patched (plain records expected)")
    if method not in (STORED, DEFLATED):
        found = f"is compressed by method {method} (0 stored or 8 deflated expected)"
        raise _malformed(source, f"record {printable(name)} {found}")
    if method == STORED and packed != size:
        found = f"is stored, but its two sizes disagree: {packed:,} and {size:,}"
        raise _malformed(source, f"record {printable(name)} {found}")
    if disk not in (0, 0xFFFF):
        raise _malformed(source, f"record {printable(name)} lies on another disk of the archive")
    offset = _data_offset(headers, name, raw_name, header, (flags, method, crc32, packed, size))
    return Entry(name, header, offset, packed, size, crc32, method == DEFLATED)


def _wide(source: Source, name: str, narrow: tuple[int, int, int], extra: bytes) -> tuple[int, int, int]:
    """Size, packed size and header offset, from the zip64 field where the 32-bit ones are full."""
    values = iter(zip64_values(extra))
    wide = tuple(next(values, -1) if value == _IN_ZIP64 else value for value in narrow)
    if -1 in wide:
        raise _malformed(source, f"record {printable(name)} lacks its zip64 sizes")
    return wide[0], wide[1], wide[2]


def zip64_values(extra: bytes) -> list[int]:
    """The 8-byte values of the zip64 field (id 1) among an entry's extra fields."""
    position = 0
    while position + 4 <= len(extra):
        size = int.from_bytes(extra[position + 2 : position + 4], "little")
        if extra[position : position + 2] == b"\x01\x00":
            field = extra[position + 4 : position + 4 + size]
            return [int.from_bytes(field[at : at + 8], "little") for at in range(0, len(field) - 7, 8)]
        position += 4 + size
    return []


def _data_offset(
    headers: _Headers, name: str, raw_name: bytes, header: int, expected: tuple[int, int, int, int, int]
) -> int:
    """Where the record's bytes begin. Its local header must say what the directory says."""
    source, length = headers.source, LOCAL.size + len(raw_name)
    if header + length > source.size:
        raise _malformed(source, f"record {printable(name)} begins at byte {header:,} of {source.size:,}")
    head = headers.at(header, length)
    signature, _, flags, method, _, _, crc32, packed, size, name_size, extra_size = LOCAL.unpack_from(head)
    if signature != LOCAL_SIGNATURE:
        raise _malformed(source, f"record {printable(name)} has no header at byte {header:,}")
    if name_size != len(raw_name) or head[LOCAL.size :] != raw_name:
        raise _malformed(source, f"record {printable(name)} has another name in its own header")
    if (flags & _REFUSED_FLAGS, method) != (expected[0] & _REFUSED_FLAGS, expected[1]):
        raise _malformed(source, f"record {printable(name)}: its own header and the zip directory disagree")
    own = (crc32, packed, size)
    if own != expected[2:]:
        # Written behind the data where a descriptor is announced, in a zip64 field where full; what is there counts.
        blank = (0, _IN_ZIP64) if flags & HAS_DESCRIPTOR else (_IN_ZIP64,)
        if any(mine != other and mine not in blank for mine, other in zip(own, expected[2:], strict=True)):
            found = "its own header and the zip directory disagree on size or checksum"
            raise _malformed(source, f"record {printable(name)}: {found}")
    return header + length + int(extra_size)


def _check_names(source: Source, entries: tuple[Entry, ...]) -> None:
    seen: set[str] = set()
    for entry in entries:
        folded = entry.name.lower()
        if folded in seen:
            raise _malformed(source, f"two records are named {printable(entry.name)}: readers differ in which one wins")
        seen.add(folded)


def _check_places(source: Source, entries: tuple[Entry, ...], directory: int) -> None:
    """Records lie one after the other from byte 0 to the directory."""
    if entries and min(entry.header for entry in entries) != 0:
        first = min(entry.header for entry in entries)
        raise _malformed(source, f"{counted(first, 'byte')} stand before the first record (none expected)")
    previous_end, previous = 0, ""
    for entry in sorted(entries, key=lambda candidate: candidate.header):
        if entry.header < previous_end:
            raise _malformed(source, f"records {printable(previous, 40)} and {printable(entry.name, 40)} overlap")
        previous_end, previous = entry.offset + entry.packed, entry.name
        if previous_end > directory:
            raise _malformed(source, f"record {printable(entry.name)} reaches past the records into the zip directory")


def _malformed(source: Source, found: str) -> MalformedCheckpoint:
    return MalformedCheckpoint(line(source.path, found), hint="copy the file again from its origin, in binary mode")
