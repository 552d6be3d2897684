"""`.metadata` of torch.distributed.checkpoint: a bare pickle of Metadata, read as data by our own interpreter.

state_dict_metadata   flat key → TensorStorageMetadata(properties, size, chunks) or BytesStorageMetadata
storage_data          MetadataIndex(fqn, offset, index) → _StorageInfo(relative_path, offset, length)
planner_data          flat key → path in the nested state_dict, where it was flattened
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optinspect.containers.geometry import integers
from optinspect.opaque import Opaque
from optinspect.tensors import DTYPES, DType

MODULE = "torch.distributed.checkpoint."
BOX = ("offsets", "sizes")
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of a data file."""

    file: str
    offset: int
    length: int
    packed: str
    """The extension of the writer that compressed or transformed them ("stream.zstd/1"); "" for plain bytes."""


@dataclass(frozen=True, slots=True)
class Chunk:
    offsets: Shape
    sizes: Shape
    place: Place | None


@dataclass(frozen=True, slots=True)
class Tensor:
    key: str
    dtype: DType | None
    shape: Shape
    chunks: tuple[Chunk, ...]
    requires_grad: bool = False


@dataclass(frozen=True, slots=True)
class Object:
    """Anything else, pickled by itself."""

    key: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class Metadata:
    entries: tuple[Tensor | Object, ...]
    paths: Mapping[str, tuple[Any, ...]]
    malformed: tuple[str, ...]
    """Keys whose entry makes no sense."""

    @property
    def packed(self) -> list[str]:
        """For every place how it is packed."""
        places = (chunk.place for entry in self.entries if isinstance(entry, Tensor) for chunk in entry.chunks)
        return [place.packed for place in places if place is not None]


def is_metadata(root: Any) -> bool:
    return isinstance(root, Opaque) and isinstance(root.attribute("state_dict_metadata"), dict)


def read(root: Opaque) -> Metadata:
    """What the pickle says, checked piece by piece; an entry that makes no sense is listed in `malformed`."""
    places = dict(_places(root.attribute("storage_data")))
    entries: list[Tensor | Object] = []
    malformed: list[str] = []
    for key, value in root.attribute("state_dict_metadata").items():
        entry = _entry(key, value, places) if isinstance(key, str) else None
        if entry is None:
            malformed.append(str(key)[:80])
        else:
            entries.append(entry)
    planned = root.attribute("planner_data")
    paths = planned.items() if isinstance(planned, dict) else ()
    good = {key: path for key, path in paths if isinstance(path, tuple) and path and all(map(_is_step, path))}
    places_in_order = {key: place for place, key in enumerate(good)}
    if places_in_order:  # the writer shares entries out among ranks, which mixes them: the plan has them as they were
        entries.sort(key=lambda entry: places_in_order.get(entry.key, len(places_in_order)))
    return Metadata(tuple(entries), good, tuple(malformed))


def _is_step(step: Any) -> bool:
    return isinstance(step, str) or (type(step) is int and 0 <= step < 1 << 20)


def _places(value: Any) -> Iterator[tuple[tuple[Any, Any], Place]]:
    for index, info in value.items() if isinstance(value, dict) else ():
        if not isinstance(index, Opaque) or not isinstance(info, Opaque):
            continue
        file, offset, length = (info.attribute(name) for name in ("relative_path", "offset", "length"))
        if isinstance(file, str) and integers((offset, length)) and offset >= 0 and length >= 0:
            at = index.attribute("offset")
            key = index.attribute("fqn"), tuple(at) if integers(at) else None
            packed = info.attribute("transform_descriptors")
            yield key, Place(file, offset, length, ", ".join(map(str, packed)) if isinstance(packed, list) else "")


def _entry(key: str, value: Any, places: Mapping[tuple[Any, Any], Place]) -> Tensor | Object | None:
    if not isinstance(value, Opaque):
        return None
    if value.name.endswith("BytesStorageMetadata"):
        return Object(key, places.get((key, None)))
    size, chunks = _shape(value.attribute("size")), value.attribute("chunks")
    if size is None or not isinstance(chunks, list):
        return None
    found = tuple(_chunks(key, size, chunks, places))
    if len(found) != len(chunks):
        return None
    dtype, requires_grad = _properties(value.attribute("properties"))
    return Tensor(key, dtype, size, found, requires_grad)


def _shape(value: Any) -> Shape | None:
    return tuple(value) if integers(value) and all(0 <= size < 1 << 62 for size in value) else None


def _chunks(key: str, shape: Shape, chunks: list[Any], places: Mapping[tuple[Any, Any], Place]) -> Iterator[Chunk]:
    for chunk in chunks:
        offsets, sizes = (_shape(chunk.attribute(name)) if isinstance(chunk, Opaque) else None for name in BOX)
        if offsets is None or sizes is None or not len(offsets) == len(sizes) == len(shape):
            continue
        if all(at + size <= whole for at, size, whole in zip(offsets, sizes, shape, strict=True)):
            yield Chunk(offsets, sizes, places.get((key, offsets)) or places.get((key, None)))


def _properties(value: Any) -> tuple[DType | None, bool]:
    """dtype and requires_grad: TensorProperties pickles itself as a tuple, its fields in order."""
    if not isinstance(value, Opaque):
        return None, False
    state = value.state
    dtype, grad = (state[0], state[2:3] == (True,)) if isinstance(state, tuple) and state else (None, False)
    if isinstance(state, dict):
        dtype, grad = state.get("dtype"), state.get("requires_grad") is True
    name = dtype.name if isinstance(dtype, Opaque) else ""
    return DTYPES.get(name.removeprefix("torch.")), grad
