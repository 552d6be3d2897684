"""Opcodes that push plain values, one function each: (machine, position after the opcode) → position after it.

A handler may raise IndexError, KeyError, ValueError or struct.error for bad data; the loop in pickle_data names the
byte. None of them calls anything that a file names: that is pickle_calls, and there is no such instruction there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from struct import Struct
from typing import Any

from optinspect.containers.pickle_machine import Machine

Handler = Callable[[Machine, int], int]

_U16 = Struct("<H").unpack_from
_U32 = Struct("<I").unpack_from
_I32 = Struct("<i").unpack_from
_U64 = Struct("<Q").unpack_from
_F64 = Struct(">d").unpack_from
_MAX_LONG_BYTES = 32
_INTEGER = re.compile(rb"-?[0-9]{1,80}\Z")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
MAX_PROTOCOL = 5


def constant(value: Any) -> Handler:
    """The handler of an opcode that pushes `value`."""

    def push(m: Machine, pos: int) -> int:
        m.stack.append(value)
        return pos

    return push


def read_line(m: Machine, pos: int) -> tuple[bytes, int]:
    """The bytes up to the next newline, and the position after it."""
    end = m.data.find(b"\n", pos, pos + m.limits.line)
    if end < 0 and pos + m.limits.line > len(m.data):
        raise m.truncated()
    if end < 0:
        raise m.malformed(f"a line without an end (at most {m.limits.line:,} bytes)", pos)
    return m.data[pos:end], end + 1


def _block(m: Machine, start: int, size: int) -> bytes:
    if start + size > len(m.data):
        raise m.truncated(f"{size:,} bytes are announced at byte {start:,}")
    m.spent += 60 + size
    return m.data[start : start + size]


def _text(m: Machine, start: int, size: int) -> None:
    m.stack.append(str(_block(m, start, size), "utf-8", "surrogatepass"))


def proto(m: Machine, pos: int) -> int:
    if m.data[pos] > MAX_PROTOCOL:
        raise m.malformed(f"pickle protocol {m.data[pos]} (0 to {MAX_PROTOCOL} expected)", pos)
    return pos + 1


def frame(m: Machine, pos: int) -> int:
    (size,) = _U64(m.data, pos)
    if pos + 8 + size > len(m.data):
        raise m.truncated(f"a frame of {size:,} bytes begins at byte {pos + 8:,}")
    return pos + 8


def int_line(m: Machine, pos: int) -> int:
    text, after = read_line(m, pos)
    m.stack.append({b"00": False, b"01": True}[text] if text in (b"00", b"01") else _integer(m, text, pos))
    return after


def long_line(m: Machine, pos: int) -> int:
    text, after = read_line(m, pos)
    m.stack.append(_integer(m, text[:-1] if text.endswith(b"L") else text, pos))
    return after


def _integer(m: Machine, text: bytes, pos: int) -> int:
    if not _INTEGER.match(text):
        raise m.malformed("an integer that is no integer of at most 80 digits", pos)
    return int(text)


def binint(m: Machine, pos: int) -> int:
    m.stack.append(_I32(m.data, pos)[0])
    return pos + 4


def binint1(m: Machine, pos: int) -> int:
    m.stack.append(m.data[pos])
    return pos + 1


def binint2(m: Machine, pos: int) -> int:
    m.stack.append(_U16(m.data, pos)[0])
    return pos + 2


def long1(m: Machine, pos: int) -> int:
    return _long(m, pos + 1, m.data[pos])


def long4(m: Machine, pos: int) -> int:
    return _long(m, pos + 4, _I32(m.data, pos)[0])


def _long(m: Machine, pos: int, size: int) -> int:
    if not 0 <= size <= _MAX_LONG_BYTES:
        raise m.malformed(f"an integer of {size:,} bytes (at most {_MAX_LONG_BYTES})", pos)
    m.stack.append(int.from_bytes(_block(m, pos, size), "little", signed=True))
    return pos + size


def float_line(m: Machine, pos: int) -> int:
    text, after = read_line(m, pos)
    m.stack.append(float(text))
    return after


def binfloat(m: Machine, pos: int) -> int:
    m.stack.append(_F64(m.data, pos)[0])
    return pos + 8


def string_line(m: Machine, pos: int) -> int:
    text, after = read_line(m, pos)
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise m.malformed("a string without quotes", pos)
    m.spent += 60 + 2 * len(text)
    m.stack.append(_python2_text(_ESCAPE.sub(_unescaped, text[1:-1])))
    return after


def _unescaped(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes((int(code[1:], 16),))
    if code.isdigit():
        return bytes((int(code, 8) & 0xFF,))
    return _ESCAPES.get(code, code if code in (b"\\", b"'", b'"') else b"\\" + code)


def _python2_text(data: bytes) -> str:
    """Python 2's str: text in an encoding that the file does not name."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def binstring(m: Machine, pos: int) -> int:
    size: int = _I32(m.data, pos)[0]
    if size < 0:
        raise m.malformed(f"a string of {size:,} bytes", pos)
    m.stack.append(_python2_text(_block(m, pos + 4, size)))
    return pos + 4 + size


def short_binstring(m: Machine, pos: int) -> int:
    size = m.data[pos]
    m.stack.append(_python2_text(_block(m, pos + 1, size)))
    return pos + 1 + size


def unicode_line(m: Machine, pos: int) -> int:
    text, after = read_line(m, pos)
    m.spent += 60 + 4 * len(text)
    m.stack.append(codecs.raw_unicode_escape_decode(text)[0])
    return after


def short_binunicode(m: Machine, pos: int) -> int:
    size = m.data[pos]
    _text(m, pos + 1, size)
    return pos + 1 + size


def binunicode(m: Machine, pos: int) -> int:
    (size,) = _U32(m.data, pos)
    _text(m, pos + 4, size)
    return pos + 4 + int(size)


def binunicode8(m: Machine, pos: int) -> int:
    (size,) = _U64(m.data, pos)
    _text(m, pos + 8, size)
    return pos + 8 + int(size)


def short_binbytes(m: Machine, pos: int) -> int:
    size = m.data[pos]
    m.stack.append(_block(m, pos + 1, size))
    return pos + 1 + size


def binbytes(m: Machine, pos: int) -> int:
    (size,) = _U32(m.data, pos)
    m.stack.append(_block(m, pos + 4, size))
    return pos + 4 + int(size)


def binbytes8(m: Machine, pos: int) -> int:
    (size,) = _U64(m.data, pos)
    m.stack.append(_block(m, pos + 8, size))
    return pos + 8 + int(size)


def bytearray8(m: Machine, pos: int) -> int:
    (size,) = _U64(m.data, pos)
    m.stack.append(bytearray(_block(m, pos + 8, size)))
    return pos + 8 + int(size)


SCALARS: tuple[tuple[int, str, Handler], ...] = (
    (0x80, "PROTO", proto),
    (0x95, "FRAME", frame),
    (0x4E, "NONE", constant(None)),
    (0x88, "NEWTRUE", constant(True)),
    (0x89, "NEWFALSE", constant(False)),
    (0x49, "INT", int_line),
    (0x4A, "BININT", binint),
    (0x4B, "BININT1", binint1),
    (0x4D, "BININT2", binint2),
    (0x4C, "LONG", long_line),
    (0x8A, "LONG1", long1),
    (0x8B, "LONG4", long4),
    (0x46, "FLOAT", float_line),
    (0x47, "BINFLOAT", binfloat),
    (0x53, "STRING", string_line),
    (0x54, "BINSTRING", binstring),
    (0x55, "SHORT_BINSTRING", short_binstring),
    (0x56, "UNICODE", unicode_line),
    (0x58, "BINUNICODE", binunicode),
    (0x8C, "SHORT_BINUNICODE", short_binunicode),
    (0x8D, "BINUNICODE8", binunicode8),
    (0x42, "BINBYTES", binbytes),
    (0x43, "SHORT_BINBYTES", short_binbytes),
    (0x8E, "BINBYTES8", binbytes8),
    (0x96, "BYTEARRAY8", bytearray8),
)
