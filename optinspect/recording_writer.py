"""Recorded gradients, written: parts of bounded size, and a journal so that a crash loses no complete step.

    part-000001.pt        torch zip {"steps", "used", "lrs", "norm", "groups", …}: whole or not there at all
    part-000002.journal   the steps since, each a safetensors file with its length (8 bytes, little-endian) in front

Steps are gathered in memory, one row a step, and go to the journal as they come; a full part is saved from memory and
its journal removed. A part holds steps in which the same parameters had gradients (no gradient is not a zero one), so
another set of them begins a new part. Nothing is synced to the disk: what is written survives the process, and is as
safe against a power failure as any file just written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedWriter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect.recording_parts import JOURNAL, Key

if TYPE_CHECKING:
    import torch

MOST_STEPS = 4096
"""Steps of a part, however small they are."""
_NORM_BLOCK = 4096
"""Elements whose norm is taken in float32; theirs is taken in float64. Measured on 2^26 normal numbers: 3e-9 relative
(5e-3 in one go in float32), and 14 times as fast as all in float64."""
_SAFETENSORS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "complex64": "C64"}
"""Gradients of another dtype cannot be in a journal: their steps become parts of one step each."""

Layout = tuple[tuple[Key, "torch.dtype", tuple[int, ...]], ...]
"""Which gradients a step has: key, dtype and shape, by dtype."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `number` completed before it, the gradients it used, one lr and one set of settings a group."""

    number: int
    gradients: Mapping[Key, torch.Tensor]
    lrs: list[float]
    groups: list[dict[str, Any]]


class Writer:
    """Writes steps into a folder; `close` saves what is still in memory. OSErrors of the file system pass through."""

    def __init__(self, folder: Path, part_bytes: int, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._about = dict(about)
        self._number = 0
        self._part: _Part | None = None

    def add(self, step: Step) -> None:
        layout = _layout(step.gradients)
        if self._part is not None and not self._part.takes(step.number, layout):
            self.flush()
        if self._part is None:
            self._number += 1
            name = f"part-{self._number:06d}"
            self._part = _Part(self._folder / f"{name}.pt", self._folder / f"{name}{JOURNAL}", layout, self._part_bytes)
        self._part.add(step)
        if self._part.full:
            self.flush()

    def flush(self) -> None:
        """Save the part in memory."""
        part, self._part = self._part, None
        if part is not None:
            try:
                part.save(self._about)
            finally:
                part.close()

    close = flush


@dataclass
class _Part:
    """Steps in memory. One block of memory a dtype, one row a step: a step is copied, measured and written whole."""

    path: Path
    journal_path: Path
    layout: Layout
    part_bytes: int
    steps: list[int] = field(default_factory=list)
    lrs: list[list[float]] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    groups: list[list[dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch  # noqa: PLC0415

        sizes: dict[torch.dtype, int] = {}
        for _, dtype, shape in self.layout:
            sizes[dtype] = sizes.get(dtype, 0) + prod(shape)
        step_bytes = sum(size * dtype.itemsize for dtype, size in sizes.items())
        loggable = all(_name(dtype) in _SAFETENSORS for dtype in sizes)
        self.rows = max(1, min(MOST_STEPS, self.part_bytes // max(step_bytes, 1))) if loggable else 1
        self.memory = {dtype: torch.empty(self.rows, size, dtype=dtype) for dtype, size in sizes.items()}
        self.header = _header(self.layout) if self.rows > 1 else b""
        self.journal: BufferedWriter | None = None

    @property
    def full(self) -> bool:
        return len(self.steps) == self.rows

    def takes(self, number: int, layout: Layout) -> bool:
        return layout == self.layout and number > self.steps[-1]

    def add(self, step: Step) -> None:
        row = len(self.steps)
        ends = dict.fromkeys(self.memory, 0)
        for key, dtype, shape in self.layout:
            begin, ends[dtype] = ends[dtype], ends[dtype] + prod(shape)
            self.memory[dtype][row, begin : ends[dtype]].view(shape).copy_(step.gradients[key])
        self.steps.append(step.number)
        self.lrs.append(step.lrs)
        self.norm.append(_norm([memory[row] for memory in self.memory.values()]))
        same = self.groups and self.groups[-1] == step.groups
        self.groups.append(self.groups[-1] if same else step.groups)  # an object that repeats is pickled once
        if self.rows > 1:
            self._log(row)

    def _log(self, row: int) -> None:
        """The last step, to the operating system: it is kept there when this process is killed."""
        if self.journal is None:
            self.journal = self.journal_path.open("wb")
        about = {"steps": self.steps[-1:], "lrs": self.lrs[-1:], "norm": self.norm[-1:], "groups": self.groups[-1:]}
        metadata = {key: json.dumps(value) for key, value in about.items()}
        metadata["keys"] = "index" if self.layout and isinstance(self.layout[0][0], int) else "name"
        header = json.dumps({"__metadata__": metadata}).encode()[:-1] + self.header
        header += b" " * (-len(header) % 8)
        data: list[bytes | memoryview] = [_bytes(memory[row]) for memory in self.memory.values()]
        size = 8 + len(header) + sum(map(len, data))
        for piece in (size.to_bytes(8, "little"), len(header).to_bytes(8, "little"), header, *data):
            self.journal.write(piece)
        self.journal.flush()

    def save(self, about: Mapping[str, Any]) -> None:
        import torch  # noqa: PLC0415

        if not self.full:  # torch saves whole blocks of memory
            self.memory = {dtype: memory[: len(self.steps)].clone() for dtype, memory in self.memory.items()}
            self.rows = len(self.steps)
        told = {"steps": self.steps, "lrs": self.lrs, "norm": self.norm, "groups": self.groups}
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                torch.save({"used": self._used(), **told, **about}, file)
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the journal; what the disk did not take is lost with what follows it."""
        if self.journal is not None:
            with suppress(OSError):
                self.journal.close()

    def _used(self) -> dict[Key, torch.Tensor]:
        """Views of the memory: (steps, *shape)."""
        used: dict[Key, torch.Tensor] = {}
        ends = dict.fromkeys(self.memory, 0)
        for key, dtype, shape in self.layout:
            begin, ends[dtype] = ends[dtype], ends[dtype] + prod(shape)
            used[key] = self.memory[dtype][:, begin : ends[dtype]].view(len(self.steps), *shape)
        return used


def _layout(gradients: Mapping[Key, torch.Tensor]) -> Layout:
    rows = [(key, gradient.dtype, tuple(gradient.shape)) for key, gradient in gradients.items()]
    return tuple(sorted(rows, key=lambda row: str(row[1])))


def _header(layout: Layout) -> bytes:
    """The part of a safetensors header that every step of a part shares: from the first tensor to the closing brace."""
    text, offset = "", 0
    for key, dtype, shape in layout:
        end = offset + prod(shape) * dtype.itemsize
        entry = {"dtype": _SAFETENSORS[_name(dtype)], "shape": [1, *shape], "data_offsets": [offset, end]}
        text += f",{json.dumps(str(key))}:{json.dumps(entry)}"
        offset = end
    return f"{text}}}".encode()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _norm(rows: Sequence[torch.Tensor]) -> float:
    """The L2 norm of all rows together; complex numbers count by their absolute value."""
    import torch  # noqa: PLC0415

    norms: list[torch.Tensor] = []
    for row in rows:
        values = torch.view_as_real(row).flatten() if row.is_complex() else row
        wide = torch.promote_types(values.dtype, torch.float32)
        whole = len(values) // _NORM_BLOCK * _NORM_BLOCK
        blocks = (values[:whole].view(-1, _NORM_BLOCK), values[whole:].view(1, -1))
        norms += [torch.linalg.vector_norm(block, dim=1, dtype=wide).double() for block in blocks]
    return float(torch.linalg.vector_norm(torch.cat(norms))) if norms else 0.0


def _bytes(row: torch.Tensor) -> memoryview:
    import torch  # noqa: PLC0415

    data: memoryview = row.view(torch.uint8).numpy().data
    return data
