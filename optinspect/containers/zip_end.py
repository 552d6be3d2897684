"""Where a zip archive's directory lies: the end record, its zip64 twin, and what contradicts them."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from optinspect.containers.source import Source
from optinspect.containers.wording import counted, line
from optinspect.errors import MalformedCheckpoint, TruncatedCheckpoint

_END_SIGNATURE = b"PK\x05\x06"
_END = Struct("<4s4H2IH")  # signature, disk, directory's disk, entries here, entries, size, offset, comment
_END64 = Struct("<4sQ2H2I4Q")
_LOCATOR = Struct("<4sIQI")
_LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class End:
    """The directory's number of entries, size and offset. `trailing`: bytes after the end record."""

    count: int
    size: int
    offset: int
    trailing: int


def find_end(source: Source) -> End:
    """Read the end records.

    Raises TruncatedCheckpoint where there is none (a file cut short), MalformedCheckpoint where the directory does
    not end where they say.
    """
    start = max(source.size - _END.size - _LONGEST_COMMENT, 0)
    tail = source.read(start, source.size - start)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or at + _END.size > len(tail):
        raise TruncatedCheckpoint(line(source.path, "is cut short (no zip directory at its end)"))
    _, disk, other_disk, here, count, size, offset, comment = _END.unpack_from(tail, at)
    place = start + at
    trailing = source.size - place - _END.size
    if comment > trailing:
        raise TruncatedCheckpoint(line(source.path, "is cut short (its zip end record is not whole)"))
    if disk != other_disk or here != count or disk not in (0, 0xFFFF):
        raise _malformed(source, "is one part of a zip archive in several parts")
    return _with_zip64(source, End(count, size, offset, trailing), place)


def _with_zip64(source: Source, narrow: End, place: int) -> End:
    """The zip64 end record when a locator stands before the end record at `place`."""
    locator = place - _LOCATOR.size
    if locator < 0 or source.read(locator, 4) != b"PK\x06\x07":
        _check_place(source, narrow, place)
        return narrow
    _, disk, at, disks = _LOCATOR.unpack(source.read(locator, _LOCATOR.size))
    fields = _END64.unpack(source.head(_END64.size, min(at, locator)).ljust(_END64.size, b"\0"))
    if disk or disks > 1 or fields[0] != b"PK\x06\x06" or at + 12 + fields[1] != locator:
        raise _misplaced(source, locator - _END64.size - at)
    here, count, size, offset = fields[6:10]
    pairs = ((narrow.count, count, 0xFFFF), (narrow.size, size, 0xFFFFFFFF), (narrow.offset, offset, 0xFFFFFFFF))
    if here != count or any(small not in (wide, full) for small, wide, full in pairs):
        raise _malformed(source, "its two zip end records disagree")
    wide = End(count, size, offset, narrow.trailing)
    _check_place(source, wide, at)
    return wide


def _check_place(source: Source, end: End, place: int) -> None:
    if end.offset + end.size != place:
        raise _misplaced(source, place - end.offset - end.size)


def _misplaced(source: Source, shift: int) -> MalformedCheckpoint:
    """The directory is `shift` bytes later than the end record says; say what is known to do that."""
    if 0 < shift < source.size and source.head(4, shift) == b"PK\x03\x04":
        return _malformed(source, f"two zip archives, one after the other: the second begins at byte {shift:,}")
    head = source.head(1 << 16)
    if shift > 0 and head.count(b"\r\n") == head.count(b"\n") > 0:
        return _malformed(source, "zip structure broken by a text-mode transfer: every \\n has become \\r\\n")
    return _malformed(source, f"its zip directory is {counted(abs(shift), 'byte')} from where its end record says")


def _malformed(source: Source, found: str) -> MalformedCheckpoint:
    return MalformedCheckpoint(line(source.path, found), hint="copy the file again from its origin, in binary mode")
