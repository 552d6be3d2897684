"""CRC-32 of a file's records without a second read: what others read is summed as it passes, and put together after.

    A ‖ B  ⇒  crc(A ‖ B) = x^(8·|B|) · crc(A) ⊕ crc(B)      over GF(2), modulo the polynomial of CRC-32

Source: the identity is linear algebra over the polynomial 0x04C11DB7 of IEEE 802.3; bits are kept reflected, as in zip.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache

from optinspect.tensors import Bytes

POLYNOMIAL = 0xEDB88320
PIECE = 1 << 20
"""Bytes that are read at a time where nobody has read them."""
LEAST = 4096
"""Shorter reads are not noted: reading them again costs less than keeping their sums."""


def _times(a: int, b: int) -> int:
    """The product of two polynomials modulo CRC-32's; bit 31 is x⁰."""
    product = 0
    for shift in range(31, -1, -1):
        if a >> shift & 1:
            product ^= b
        b = b >> 1 ^ (POLYNOMIAL if b & 1 else 0)
    return product


@lru_cache(maxsize=4096)
def _zeros(length: int) -> int:
    """x^(8·length): what `length` more bytes do to a sum."""
    result, square, bits = 1 << 31, 1 << 30, 8 * length
    while bits:
        if bits & 1:
            result = _times(square, result)
        square = _times(square, square)
        bits >>= 1
    return result


def joined(first: int, second: int, length: int) -> int:
    """crc(A ‖ B) of crc(A), crc(B) and B's length in bytes."""
    return _times(_zeros(length), first) ^ second


class Passing:
    """Sums of the byte ranges of one file as they are read, by any thread: an observer for HeldFile."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, int, int]] = []
        self._sorted = False

    def __call__(self, offset: int, buffer: memoryview) -> None:
        if len(buffer) >= LEAST:
            self._pieces.append((offset, len(buffer), zlib.crc32(buffer)))

    def crc32(self, data: Bytes, offset: int, size: int) -> int:
        """The sum of `size` bytes at `offset` of the file; `data` are these bytes, read where nobody else has."""
        if not self._sorted:
            self._pieces.sort()
            self._sorted = True
        total, done = 0, 0
        for start, length, crc32 in self._within(offset, size):
            if start > offset + done:
                total = _read(data, done, start - offset, total)
            elif start < offset + done:
                continue
            total, done = joined(total, crc32, length), start - offset + length
        return _read(data, done, size, total)

    def _within(self, offset: int, size: int) -> Iterator[tuple[int, int, int]]:
        place = bisect_left(self._pieces, (offset, 0, 0))
        while place < len(self._pieces) and self._pieces[place][0] < offset + size:
            if self._pieces[place][0] + self._pieces[place][1] <= offset + size:
                yield self._pieces[place]
            place += 1


def _read(data: Bytes, start: int, stop: int, crc32: int) -> int:
    """The sum continued over bytes [start, stop)."""
    buffer = bytearray(min(PIECE, max(stop - start, 0)))
    while start < stop:
        view = memoryview(buffer)[: stop - start]
        data.read_into(start, view)
        crc32 = zlib.crc32(view, crc32)
        start += len(view)
    return crc32


def whole(data: Bytes) -> int:
    """The sum of all of `data`, read from its beginning to its end."""
    return _read(data, 0, data.size, 0)
