"""safetensors: an 8-byte length, a JSON header, then the tensors without gaps.

    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {text: text}}

Refused, as the format demands: headers over 100 MB, a name twice, overlaps, gaps, sizes that do not fit. A header's
order is the writer's own sorting and says nothing about the model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Problem
from optinspect.containers.base import Limits, Tree
from optinspect.containers.geometry import contiguous, integers
from optinspect.containers.source import Source
from optinspect.containers.wording import counted, line, printable
from optinspect.errors import LimitExceeded, MalformedCheckpoint, TruncatedCheckpoint
from optinspect.tensors import DTYPES, DType, Storage, TensorRef

name = "safetensors"
_MAX_HEADER = 100_000_000
_METADATA = "__metadata__"
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
LOST = "cut off: the file ends before its bytes do"


def recognises(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40


def open(source: Source, limits: Limits) -> Tree:
    """A dict of tensors by name, in the order of the header.

    Raises MalformedCheckpoint, TruncatedCheckpoint when the header itself is cut, LimitExceeded.
    """
    return _Safetensors(source, limits).tree()


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: DType
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass
class _Safetensors:
    source: Source
    limits: Limits

    def tree(self) -> Tree:
        header = self._header()
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise self._malformed("its __metadata__ is no mapping of text to text")
        entries = [self._entry(key, value) for key, value in header.items()]
        end = self._check_places(entries)
        missing = end - (self.source.size - self.start)
        if missing < 0:
            raise self._malformed(f"{counted(-missing, 'byte')} after the last tensor (none expected)")
        root = {entry.name: self._tensor(entry) for entry in entries}
        tree = Tree(self.source.path, name, self.source.size, root, ordered=False, integrity="none")
        tree.held, tree.metadata = self.source.held, metadata
        if missing:
            whole = sum(tensor.problem is None for tensor in root.values())
            found = f"the file is cut short by {counted(missing, 'byte')}: {whole:,} of {len(root):,} tensors are whole"
            tree.problems.append(Problem("truncated", "", found))
        return tree

    def _header(self) -> dict[str, Any]:
        size = int.from_bytes(self.source.read(0, 8), "little")
        if size > _MAX_HEADER:
            raise LimitExceeded("bytes of safetensors header", _MAX_HEADER, size, where=self.source.path)
        self.start = 8 + size
        if self.start > self.source.size:
            found = f"is cut short inside its header: {self.source.size:,} of {self.start:,} bytes"
            raise TruncatedCheckpoint(line(self.source.path, found), hint="copy the file again from its origin")
        try:
            text = str(self.source.read(8, size), "utf-8")  # given bytes, json would guess UTF-16 and -32 too
            header = json.loads(text, object_pairs_hook=self._object, parse_constant=_no_constant)
        except (ValueError, RecursionError):  # JSON, UTF-8 or a number that is none
            raise self._malformed("its header is no valid JSON") from None
        if not isinstance(header, dict):
            raise self._malformed("its header is no JSON object")
        return header

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise self._malformed(f"its header names {printable(twice)} twice")
        return made

    def _entry(self, key: str, value: Any) -> _Entry:
        shown = printable(key)
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
            raise self._malformed(f"tensor {shown}: dtype, shape and data_offsets expected")
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise self._malformed(f"tensor {shown} has the unknown dtype {printable(str(dtype), 20)}")
        if not integers(shape) or not integers(offsets) or len(offsets) != 2 or min((*shape, *offsets)) < 0:
            raise self._malformed(f"tensor {shown}: its shape or offsets are no whole numbers")
        entry = _Entry(key, DTYPES[_DTYPES[dtype]], tuple(shape), offsets[0], offsets[1])
        numel = 1
        for size in shape:
            numel *= size
        if entry.end - entry.begin != numel * entry.dtype.itemsize or numel >= 1 << 62:
            raise self._malformed(f"tensor {shown}: its shape needs {numel * entry.dtype.itemsize:,} bytes")
        return entry

    def _check_places(self, entries: list[_Entry]) -> int:
        """Without gap or overlap from 0; where the last tensor ends."""
        end = 0
        for entry in sorted(entries, key=lambda candidate: (candidate.begin, candidate.end)):
            if entry.begin != end:
                what = "overlaps the one before it" if entry.begin < end else "leaves a gap before it"
                raise self._malformed(f"tensor {printable(entry.name)} {what}")
            end = entry.end
        return end

    def _tensor(self, entry: _Entry) -> TensorRef:
        whole = self.start + entry.end <= self.source.size
        data = self.source.part(self.start + entry.begin, entry.end - entry.begin) if whole else None
        problem = None if whole else LOST
        storage = Storage(entry.name, entry.dtype, entry.end - entry.begin, "cpu", data, "little", problem)
        return TensorRef(entry.dtype, entry.shape, contiguous(entry.shape), 0, storage, problem=problem)

    def _malformed(self, found: str) -> MalformedCheckpoint:
        return MalformedCheckpoint(line(self.source.path, found), hint="copy the file again from its origin")


def _no_constant(text: str) -> Any:
    raise ValueError(text)
