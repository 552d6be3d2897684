"""Zip archives, legacy files and pickles written by hand, so that every field can be wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}(X\x10\x00\x00\x00protocol_versionM\xe9\x03X\r\x00\x00\x00little_endian\x88u."


@dataclass(frozen=True)
class Part:
    """A record of a zip archive; whatever is None is what it should be."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    local_name: bytes | None = None
    crc32: int | None = None
    size: int | None = None
    packed: int | None = None
    header: int | None = None
    local_sizes: bool = True
    extra: bytes = b""
    zip64: bool = False


def part(name: str, data: bytes, **wrong: object) -> Part:
    return replace(Part(name.encode(), data), **wrong)  # type: ignore[arg-type]


def zip_bytes(
    parts: Sequence[Part],
    *,
    prefix: bytes = b"",
    trailing: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    zip64_end: bool = False,
    shift: int = 0,
) -> bytes:
    """An archive; `shift` is added to the directory's offset in the end record."""
    body, central = bytearray(prefix), bytearray()
    for each in parts:
        header = len(body)
        packed = _deflate(each.data) if each.method == 8 else each.data
        crc32 = zlib.crc32(each.data) if each.crc32 is None else each.crc32
        sizes = (
            len(packed) if each.packed is None else each.packed,
            len(each.data) if each.size is None else each.size,
        )
        own = (crc32, *sizes) if each.local_sizes else (0, 0, 0)
        local_name = each.name if each.local_name is None else each.local_name
        flags = each.flags | (0 if each.local_sizes else 8)
        body += struct.pack(
            "<4s5H3I2H", b"PK\3\4", 20, flags, each.method, 0, 0, *own, len(local_name), len(each.extra)
        )
        body += local_name + each.extra + packed
        if not each.local_sizes:
            form = "<4sIQQ" if each.zip64 else "<4sIII"
            body += struct.pack(form, b"PK\7\x08", crc32, *sizes)
        place = header if each.header is None else each.header
        extra = struct.pack("<HHQQQ", 1, 24, sizes[1], sizes[0], place) if each.zip64 else b""
        shown = (0xFFFFFFFF,) * 2 if each.zip64 else sizes
        fields = (20, 20, flags, each.method, 0, 0, crc32, *shown, len(each.name), len(extra), 0, 0, 0, 0)
        central += struct.pack("<4s6H3I5H2I", b"PK\1\2", *fields, 0xFFFFFFFF if each.zip64 else place)
        central += each.name + extra
    number = len(parts) if count is None else count
    return bytes(body + central) + _end(len(body), len(central), number, zip64_end, shift, comment) + trailing


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _end(offset: int, size: int, count: int, zip64: bool, shift: int, comment: bytes) -> bytes:
    wide = b""
    if zip64:
        wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset + shift)
        wide += struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    shown = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if zip64 else (count, count, size, offset + shift)
    return wide + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *shown, len(comment)) + comment


def torch_zip(pickle: bytes, storages: Iterable[bytes] = (), folder: str = "a", **wrong: object) -> bytes:
    """What torch.save would write around this data.pkl."""
    parts = [part(f"{folder}/data.pkl", pickle), part(f"{folder}/byteorder", b"little")]
    parts += [part(f"{folder}/data/{number}", data) for number, data in enumerate(storages)]
    return zip_bytes([*parts, part(f"{folder}/version", b"3\n")], **wrong)  # type: ignore[arg-type]


def torch_legacy(pickle: bytes, storages: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """The old format: pickles one after the other, then (count, bytes) of each storage, with keys "0", "1", …"""
    listed = list(storages)
    keys = b"".join(text(str(number)) for number in range(len(listed)))
    data = b"".join(struct.pack("<q", count) + content for count, content in listed)
    return MAGIC + PROTOCOL + SYSTEM + pickle + b"\x80\x02](" + keys + b"e." + data


def text(value: str) -> bytes:
    """BINUNICODE."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    """BININT, or LONG1 beyond 32 bits."""
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes((value.bit_length() // 8) + 1, "little", signed=True)
    return b"\x8a" + bytes((len(raw),)) + raw


def name(full: str) -> bytes:
    """GLOBAL."""
    module, _, attribute = full.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(full: str, *arguments: bytes) -> bytes:
    """GLOBAL, arguments, REDUCE."""
    return name(full) + tuple_of(*arguments) + b"R"


def storage(key: str = "0", numel: int = 4, kind: str = "torch.FloatStorage", location: str = "cpu") -> bytes:
    """BINPERSID of a storage."""
    return tuple_of(text("storage"), name(kind), text(key), text(location), integer(numel)) + b"Q"


def tensor(
    place: bytes, shape: Sequence[int] = (4,), stride: Sequence[int] = (1,), offset: int = 0, *more: bytes
) -> bytes:
    """A call of _rebuild_tensor_v2."""
    sizes = tuple_of(*map(integer, shape))
    steps = tuple_of(*map(integer, stride))
    hooks = call("collections.OrderedDict")
    return call("torch._utils._rebuild_tensor_v2", place, integer(offset), sizes, steps, b"\x89", hooks, *more)


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(value: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes((protocol,)) + value + b"."
