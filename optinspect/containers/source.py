"""A named byte range to read a checkpoint from: a file, a part of a file, bytes in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from optinspect.containers.wording import counted, line
from optinspect.errors import TruncatedCheckpoint
from optinspect.tensors import Bytes


class Held(Protocol):
    """Something kept open while tensors are read."""

    def verify_unchanged(self) -> None:
        """Raise FileChanged when inode, size or mtime differ from those at opening."""
        ...

    def close(self) -> None: ...


class ByteRange:
    """`size` bytes of `parent` from `offset`; a range of a range reads the outermost parent directly."""

    __slots__ = ("_offset", "_parent", "_size")

    _parent: Bytes
    _offset: int
    _size: int

    def __init__(self, parent: Bytes, offset: int, size: int) -> None:
        if isinstance(parent, ByteRange):
            offset, parent = offset + parent._offset, parent._parent
        self._parent = parent
        self._offset = offset
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    @property
    def place(self) -> tuple[Bytes, int]:
        """What it is a part of, and where it begins there."""
        return self._parent, self._offset

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from `offset`. Raises TruncatedCheckpoint past the end, UnreadableFile from the file."""
        if offset < 0 or offset + len(buffer) > self._size:
            raise TruncatedCheckpoint(f"bytes {offset:,}–{offset + len(buffer):,} asked for (of {self._size:,})")
        self._parent.read_into(self._offset + offset, buffer)


@dataclass(frozen=True, slots=True)
class Source:
    """`path` is what messages call it; `data` its bytes; `held` what a Tree has to close."""

    path: str
    data: Bytes
    held: tuple[Held, ...] = ()

    @property
    def size(self) -> int:
        return self.data.size

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises TruncatedCheckpoint where the source is shorter."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise TruncatedCheckpoint(
                line(self.path, f"ends after {counted(self.size, 'byte')} ({offset + size:,} expected)")
            )
        buffer = bytearray(size)
        self.data.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def head(self, size: int, offset: int = 0) -> bytes:
        """Up to `size` bytes from `offset`, fewer at the end."""
        return self.read(offset, min(size, self.size - offset)) if offset < self.size else b""

    def part(self, offset: int, size: int) -> ByteRange:
        return ByteRange(self.data, offset, size)

    def within(self, label: str, data: Bytes) -> Source:
        """A source inside this one, such as an archive's member: it closes nothing."""
        return Source(f"{self.path}!{label}", data)
