"""Checkpoints of many gigabytes that cost no disk: tensors of zeros are holes of a sparse file.

Written here byte by byte (zip: PKWARE APPNOTE 6.3 with zip64 fields; torch's two formats; safetensors), because torch
would write the zeros. `tests/test_platforms.py` lets torch and safetensors themselves read them.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from optinspect.checksums import joined

MiB = 1 << 20
Write = Callable[[Path, Mapping[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Zeros:
    """A float32 tensor of zeros, of any size."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Values:
    """A float32 tensor with these values."""

    data: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape


Tensor = Zeros | Values


def nbytes(tensor: Tensor) -> int:
    return 4 * prod(tensor.shape)


@dataclass(frozen=True, eq=False)
class _Storage:
    key: str
    numel: int


class _Rebuilt:
    """Pickled as torch pickles a tensor."""

    def __init__(self, key: str, tensor: Tensor) -> None:
        self.key, self.tensor = key, tensor

    def __reduce__(self) -> tuple[Any, ...]:
        shape = self.tensor.shape
        stride = tuple(prod(shape[at + 1 :]) for at in range(len(shape)))
        storage = _Storage(self.key, prod(shape))
        return torch._utils._rebuild_tensor_v2, (storage, 0, shape, stride, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, *, legacy: bool) -> None:
        super().__init__(stream, protocol=2)
        self.legacy = legacy

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Storage):
            return None
        return ("storage", torch.FloatStorage, value.key, "cpu", value.numel, *((None,) if self.legacy else ()))


def _pickled(root: Any, *, legacy: bool = False) -> tuple[bytes, list[Tensor]]:
    """The object's pickle, and its tensors in the order of their keys 0, 1, 2, …"""
    found: list[Tensor] = []

    def prepared(value: Any) -> Any:
        if isinstance(value, Zeros | Values):
            found.append(value)
            return _Rebuilt(str(len(found) - 1), value)
        if isinstance(value, dict):
            return {key: prepared(item) for key, item in value.items()}
        return [prepared(item) for item in value] if isinstance(value, list) else value

    stream = io.BytesIO()
    _Pickler(stream, legacy=legacy).dump(prepared(root))
    return stream.getvalue(), found


def _put(stream: BinaryIO, tensor: Tensor) -> int:
    """Write the values, zeros as a hole, and return their CRC-32."""
    if isinstance(tensor, Values):
        data = tensor.data.astype("<f4").tobytes()
        stream.write(data)
        return zlib.crc32(data)
    stream.seek(nbytes(tensor), io.SEEK_CUR)
    return _crc_of_zeros(nbytes(tensor))


def _crc_of_zeros(size: int) -> int:
    """By doubling: `joined` is tested against zlib elsewhere."""
    if size <= MiB:
        return zlib.crc32(bytes(size))
    half = _crc_of_zeros(size // 2)
    even = joined(half, half, size // 2)
    return zlib.crc32(bytes(size % 2), even)


def torch_zip(path: Path, root: Mapping[str, Any]) -> None:
    """As torch.save writes it since 1.6: records uncompressed, data at multiples of 64 bytes."""
    pickled, tensors = _pickled(dict(root))
    records: list[tuple[str, bytes | Tensor]] = [("archive/data.pkl", pickled), ("archive/byteorder", b"little")]
    records += [(f"archive/data/{key}", tensor) for key, tensor in enumerate(tensors)]
    records.append(("archive/version", b"3\n"))
    with path.open("wb") as stream:
        entries = [_record(stream, name, content) for name, content in records]
        start = stream.tell()
        for entry in entries:
            stream.write(entry)
        _end(stream, len(entries), start)


def _record(stream: BinaryIO, name: str, content: bytes | Tensor) -> bytes:
    """Write local header and data; the entry of the central directory."""
    offset, size = stream.tell(), len(content) if isinstance(content, bytes) else nbytes(content)
    encoded = name.encode()
    wide = struct.pack("<HHQQ", 1, 16, size, size)
    gap = -(offset + 30 + len(encoded) + len(wide) + 4) % 64
    extra = wide + struct.pack("<HH", 0x4246, gap) + bytes(gap)
    stream.write(bytes(30) + encoded + extra)
    if isinstance(content, bytes):
        stream.write(content)
        crc = zlib.crc32(content)
    else:
        crc = _put(stream, content)
    end = stream.tell()
    stream.seek(offset)
    full = 0xFFFFFFFF
    stream.write(struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 0, crc, full, full, len(encoded), len(extra)))
    stream.seek(end)
    central = struct.pack("<HHQQQ", 1, 24, size, size, offset)
    head = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 0, crc, full, full, len(encoded), len(central), 0, 0, 0, 0, full
    )
    return head + encoded + central


def _end(stream: BinaryIO, count: int, start: int) -> None:
    at = stream.tell()
    stream.write(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, at - start, start))
    stream.write(struct.pack("<4sIQI", b"PK\6\7", 0, at, 1))
    stream.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, at - start, 0xFFFFFFFF, 0))


def torch_legacy(path: Path, root: Mapping[str, Any]) -> None:
    """As torch.save wrote it before 1.6."""
    pickled, tensors = _pickled(dict(root), legacy=True)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    with path.open("wb") as stream:
        for part in (0x1950A86A20F9469CFC6C, 1001, system):
            stream.write(pickle.dumps(part, 2))
        stream.write(pickled + pickle.dumps([str(key) for key in range(len(tensors))], 2))
        for tensor in tensors:
            stream.write(struct.pack("<q", prod(tensor.shape)))
            _put(stream, tensor)
        stream.truncate()  # a hole at the end is part of the file


def safetensors(path: Path, root: Mapping[str, Any]) -> None:
    """A flat dict of tensors."""
    header, offset = {}, 0
    for name, tensor in root.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + nbytes(tensor)]}
        offset += nbytes(tensor)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for tensor in root.values():
            _put(stream, tensor)
        stream.truncate()


def training_run(elements: int, seed: int = 0) -> dict[str, Any]:
    """SGD with momentum over two parameters: `big` of so many zeros, `small` with values, which lies behind it."""
    small = np.random.default_rng(seed).normal(0, 1e-3, (2, 7, 5)).astype(np.float32)
    group = {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False, "params": [0, 1]}
    return {
        "model": {"big.weight": Zeros((elements, 2)), "small.weight": Values(small[0])},
        "optimizer": {
            "state": {
                0: {"momentum_buffer": Zeros((elements, 2))},
                1: {"momentum_buffer": Values(small[1])},
            },
            "param_groups": [group],
        },
        "step": 1234,
    }
