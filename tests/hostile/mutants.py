"""Mutations: of raw bytes, and of the structure with everything around it repaired so that the change is reached."""

from __future__ import annotations

import io
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable, Sequence

from hostile import forge

Mutation = Callable[[random.Random, bytearray], bytearray]
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, (1 << 64) - 1)


def flip(rng: random.Random, data: bytearray) -> bytearray:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def overwrite(rng: random.Random, data: bytearray) -> bytearray:
    data[rng.randrange(len(data))] = rng.randrange(256)
    return data


def number(rng: random.Random, data: bytearray) -> bytearray:
    form = rng.choice("BHIQ")
    raw = struct.pack("<" + form, rng.choice(INTERESTING) & ((1 << 8 * struct.calcsize(form)) - 1))
    at = rng.randrange(len(data))
    data[at : at + len(raw)] = raw
    return data


def delete(rng: random.Random, data: bytearray) -> bytearray:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 1, 2, 4, 16, 64))]
    return data


def insert(rng: random.Random, data: bytearray) -> bytearray:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 16)))
    return data


def repeat(rng: random.Random, data: bytearray) -> bytearray:
    start = rng.randrange(len(data))
    chunk = data[start : start + rng.choice((1, 4, 16, 64, 256))]
    at = rng.randrange(len(data))
    data[at:at] = chunk * rng.choice((1, 1, 2, 20))
    return data


def truncate(rng: random.Random, data: bytearray) -> bytearray:
    return data[: rng.randrange(len(data))]


def blank(rng: random.Random, data: bytearray) -> bytearray:
    at = rng.randrange(len(data))
    length = min(rng.choice((1, 8, 64, 512)), len(data) - at)
    data[at : at + length] = bytes(length)
    return data


RAW: tuple[Mutation, ...] = (flip, overwrite, number, delete, insert, repeat, truncate, blank)


def raw(rng: random.Random, seed: bytes) -> bytes:
    """One to four mutations anywhere."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(RAW)(rng, data) or bytearray(b"\0")
    return bytes(data)


def splice(rng: random.Random, pickle: bytes, positions: Sequence[int]) -> bytes:
    """Change a pickle between opcodes: drop, repeat, move or replace whole instructions."""
    data = pickle
    for _ in range(rng.choice((1, 1, 2, 3))):
        start = rng.choice(positions)
        end = rng.choice(positions[positions.index(start) :][:6])
        target = rng.choice(positions)
        piece = rng.choice(
            (
                b"",
                data[start:end],
                data[start:end] * 2,
                bytes((rng.randrange(256),)),
                forge.integer(rng.choice(INTERESTING)),
            )
        )
        data = data[:start] + piece + data[end:] if rng.random() < 0.6 else data[:target] + piece + data[target:]
    return data


def opcode_positions(pickle: bytes) -> list[int]:
    return [position for _, _, position in pickletools.genops(pickle) if position is not None]


class Structured:
    """A seed taken apart once, to be put together wrongly many times."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.parts: list[tuple[str, bytes]] = []
        if seed[:4] == b"PK\3\4":
            with zipfile.ZipFile(io.BytesIO(seed)) as archive:
                self.parts = [(name, archive.read(name)) for name in archive.namelist()]
        self.pickle, self.start = self._find_pickle()
        self.positions = opcode_positions(self.pickle) if self.pickle else []

    def _find_pickle(self) -> tuple[bytes, int]:
        if self.parts:
            return next(data for name, data in self.parts if name.endswith("data.pkl")), 0
        start = 0
        for _ in range(3 if forge.MAGIC[2:] in self.seed[:40] else 0):
            start += self._length(start)
        if self.seed[:1] not in (b"\x80", b"("):
            return b"", 0
        return self.seed[start : start + self._length(start)], start

    def _length(self, start: int) -> int:
        stream = io.BytesIO(self.seed[start:])
        for _ in pickletools.genops(stream):
            pass
        return stream.tell()

    def mutant(self, rng: random.Random) -> bytes:
        if not self.pickle:
            return raw(rng, self.seed)  # safetensors: the header is its structure
        pickle = splice(rng, self.pickle, self.positions) if rng.random() < 0.8 else raw(rng, self.pickle)
        if not self.parts:
            return self.seed[: self.start] + pickle + self.seed[self.start + len(self.pickle) :]
        if rng.random() < 0.3:
            return self._rearranged(rng)
        return self._zipped([(name, pickle if name.endswith("data.pkl") else data) for name, data in self.parts], {})

    def _rearranged(self, rng: random.Random) -> bytes:
        """Records dropped, doubled, renamed, resized; header fields wrong."""
        parts = list(self.parts)
        at = rng.randrange(len(parts))
        name, data = parts[at]
        other = parts[rng.randrange(len(parts))]
        changed = rng.choice(
            (
                [],
                [parts[at]] * 2,
                [(name, data[:-1])],
                [(name, data + b"\0")],
                [(other[0], data)],
                [("../" + name, data)],
                [other],
            )
        )
        fields = (
            {}, {"flags": rng.choice((1, 8, 0x20, 0x40, 0x800, 0x2000))}, {"method": rng.choice((0, 8, 9, 12))},
            {"size": rng.choice(INTERESTING) & 0xFFFFFFFF}, {"packed": rng.choice(INTERESTING) & 0xFFFFFFFF},
            {"header": rng.randrange(len(self.seed))}, {"local_name": other[0].encode()}, {"local_sizes": False},
            {"zip64": True}, {"crc32": 0}, {"extra": bytes(rng.randrange(64))},
        )  # fmt: skip
        options = rng.choice(({}, {}, {"prefix": b"x"}, {"trailing": bytes(9)}, {"zip64_end": True}, {"shift": 1}))
        return self._zipped([*parts[:at], *changed, *parts[at + 1 :]], options, at, rng.choice(fields))

    def _zipped(
        self, parts: Sequence[tuple[str, bytes]], options: dict[str, object], at: int = -1, wrong: object = None
    ) -> bytes:
        made = [
            forge.part(name, data, **(wrong if number == at and isinstance(wrong, dict) else {}))
            for number, (name, data) in enumerate(parts)
        ]
        return forge.zip_bytes(made, **options)  # type: ignore[arg-type]
