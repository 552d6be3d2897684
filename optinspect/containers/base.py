"""What every container gives: a Tree of plain data, TensorRefs and Opaques, over files held open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from optinspect.checkpoint import Problem
from optinspect.containers.source import Held, Source
from optinspect.tensors import ByteOrder, Bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A named byte range of a container, for integrity checks.

    crc32  as recorded; None where the format has none or the writer left it out (0 on a non-empty record)
    data   None where the bytes are not in the file
    """

    name: str
    size: int
    crc32: int | None
    data: Bytes | None


@dataclass
class Tree:
    """One opened container. `root` is what the file holds; nothing in it was executed."""

    path: str
    container: str
    size: int
    root: Any
    byteorder: ByteOrder = "little"
    records: Sequence[Record] = ()
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    opaque: Mapping[str, int] = field(default_factory=dict)
    """Names kept inert → occurrences."""
    dangerous: tuple[str, ...] = ()
    """Of these, the names outside torch's own allowlist that a full load would have *called*."""
    ordered: bool = True
    """False where key order is not the order of saving (safetensors)."""
    integrity: str = "unknown"
    """"crc32": records carry checksums; "none": the format has none."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Text that the format keeps beside the tensors (safetensors' `__metadata__`)."""
    held: tuple[Held, ...] = ()

    def verify_unchanged(self) -> None:
        for item in self.held:
            item.verify_unchanged()

    def close(self) -> None:
        for item in self.held:
            item.close()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what an untrusted file may ask of us; `scaled` is what --max-memory changes."""

    objects: int = 1 << 30
    """Cap in bytes on accounted objects; the working bound is max(256 MiB, 64 × pickle size) below it."""
    pickle: int = 256 << 20
    opcodes: int = 20_000_000
    records: int = 1_000_000
    line: int = 64 << 10
    depth: int = 200

    @classmethod
    def scaled(cls, max_memory: int) -> Limits:
        """Limits for a caller who allows `max_memory` bytes."""
        factor = max(1, -(-max_memory // (1 << 30)))
        return cls(
            objects=max_memory,
            pickle=max(max_memory // 4, 1 << 20),
            opcodes=20_000_000 * factor,
            records=1_000_000 * factor,
        )


class Container(Protocol):
    """A module of this folder: `recognises` the first bytes of a source, `open` makes a Tree of it.

    A source is a byte range, not a path: a checkpoint may lie inside another file.
    """

    name: str

    def recognises(self, head: bytes) -> bool: ...

    def open(self, source: Source, limits: Limits) -> Tree: ...
