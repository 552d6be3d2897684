"""A deflated record as bytes at any offset: inflated in small steps, never held whole."""

from __future__ import annotations

import threading
import zlib

from optinspect.containers.wording import line
from optinspect.errors import MalformedCheckpoint
from optinspect.tensors import Bytes

_STEP = 64 << 10  # bytes read or skipped at a time
_CURSORS = 4  # threads that may read the same record side by side without starting over


class _Cursor:
    """One pass over the compressed bytes: what comes next, and from where."""

    __slots__ = ("consumed", "inflater", "pending", "position")

    def __init__(self) -> None:
        self.inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self.consumed = 0
        self.pending = b""
        self.position = 0


class DeflatedBytes:
    """`size` bytes, as declared, inflated from `packed`.

    Reading onwards is cheap; reading backwards starts again. Memory: at most four cursors of about 200 kB.
    Raises MalformedCheckpoint when the data is damaged, shorter or longer than declared.
    """

    def __init__(self, packed: Bytes, size: int, where: str) -> None:
        self._packed = packed
        self._size = size
        self._where = where
        self._lock = threading.Lock()
        self._cursors: list[_Cursor] = []

    @property
    def size(self) -> int:
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` whole from `offset`."""
        if offset < 0 or offset + len(buffer) > self._size:
            raise self._malformed(f"bytes to {offset + len(buffer):,} asked for (of {self._size:,})")
        with self._lock:
            cursor = self._cursor_before(offset)
            while cursor.position < offset:
                self._inflate(cursor, min(_STEP, offset - cursor.position))
            done = 0
            while done < len(buffer):
                data = self._inflate(cursor, min(_STEP, len(buffer) - done))
                buffer[done : done + len(data)] = data
                done += len(data)
            if cursor.position == self._size:
                self._finish(cursor)

    def _cursor_before(self, offset: int) -> _Cursor:
        """The nearest cursor at or before `offset`, most recently used last; a new one where none is."""
        usable = [cursor for cursor in self._cursors if cursor.position <= offset]
        cursor = max(usable, key=lambda candidate: candidate.position) if usable else _Cursor()
        if usable:
            self._cursors.remove(cursor)
        self._cursors = [*self._cursors[-_CURSORS + 1 :], cursor]
        return cursor

    def _inflate(self, cursor: _Cursor, limit: int) -> bytes:
        """Between 1 and `limit` bytes."""
        try:
            while not cursor.inflater.eof:
                packed = cursor.pending or self._next_packed(cursor)
                data = cursor.inflater.decompress(packed, limit)
                cursor.pending = cursor.inflater.unconsumed_tail
                cursor.position += len(data)
                if data:
                    return data
                if not packed:
                    break
        except zlib.error:
            raise self._malformed("its compressed data is damaged") from None
        raise self._malformed(f"inflates to {cursor.position:,} bytes ({self._size:,} declared)")

    def _next_packed(self, cursor: _Cursor) -> bytes:
        buffer = bytearray(min(_STEP, self._packed.size - cursor.consumed))
        self._packed.read_into(cursor.consumed, memoryview(buffer))
        cursor.consumed += len(buffer)
        return bytes(buffer)

    def _finish(self, cursor: _Cursor) -> None:
        """At the declared end: nothing more may come."""
        self._cursors.remove(cursor)
        if cursor.inflater.eof:
            return
        try:
            more = self._inflate(cursor, 1)
        except MalformedCheckpoint:
            return
        if more:
            raise self._malformed(f"inflates to more than the {self._size:,} bytes declared")

    def _malformed(self, found: str) -> MalformedCheckpoint:
        return MalformedCheckpoint(line(self._where, found), hint="copy the file again from its origin")
