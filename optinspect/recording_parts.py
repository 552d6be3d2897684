"""One file of recorded gradients: what it holds, checked; everything else about it is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optinspect.containers import open_source, open_tree
from optinspect.containers.base import Tree
from optinspect.containers.held_file import HeldFile
from optinspect.containers.source import ByteRange, Source
from optinspect.errors import MalformedCheckpoint
from optinspect.optimizers.rules.settings import finite
from optinspect.tensors import TensorRef

Key = int | str
"""A parameter's name, or its position over all groups of the optimizer."""

JOURNAL = ".journal"
"""The ending of a file of steps that are not in a part yet: safetensors files, each with its length in front."""

Place = tuple[int, int]
"""Offset and size of a safetensors file inside a journal."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one file holds, without its tensors. shapes: of one step's gradient, by key."""

    path: str
    steps: tuple[int, ...]
    shapes: Mapping[Key, tuple[int, ...]]
    lrs: tuple[tuple[float, ...], ...] | None
    place: Place | None = None


def open_part(path: str, place: Place | None = None) -> Tree:
    """Open a file, or one step of a journal; the caller closes it."""
    if place is None:
        return open_tree(path)
    file = HeldFile(path)
    try:
        return open_source(Source(path, ByteRange(file, *place), (file,)))
    except BaseException:
        file.close()
        raise


def places(path: str) -> list[Place]:
    """Where the complete steps of a journal lie; what a crash left incomplete at its end is not among them."""
    file = HeldFile(path)
    try:
        found: list[Place] = []
        offset = 8
        while offset <= file.size:
            length = bytearray(8)
            file.read_into(offset - 8, memoryview(length))
            size = int.from_bytes(length, "little")
            if offset + size > file.size:
                break
            found.append((offset, size))
            offset += size + 8
        return found
    finally:
        file.close()


def read_part(path: str, place: Place | None = None) -> Part:
    """Open, check and close. Raises MalformedCheckpoint for a file that is no recording, and what opening raises."""
    with open_part(path, place) as tree:
        steps = _steps(path, _entry(tree, "steps"))
        shapes: dict[Key, tuple[int, ...]] = {}
        for key, stack in tensors_of(tree).items():
            _check(path, key, stack, len(steps))
            shapes[key] = stack.shape[1:]
        return Part(path, steps, shapes, _lrs(path, _entry(tree, "lrs"), len(steps)), place)


def _entry(tree: Tree, key: str) -> Any:
    """A value beside the tensors; None where there is none."""
    if tree.container == "safetensors":
        try:
            return json.loads(tree.metadata[key]) if key in tree.metadata else None
        except (ValueError, RecursionError):
            raise _foreign(tree.path, f"metadata {key} is no JSON") from None
    return tree.root.get(key) if isinstance(tree.root, Mapping) else None


def tensors_of(tree: Tree) -> Mapping[Any, Any]:
    """The stacked gradients by key, unchecked."""
    used = tree.root if tree.container == "safetensors" else _entry(tree, "used")
    if not isinstance(used, Mapping):
        raise _foreign(tree.path, "no gradients under used")
    return {int(key): stack for key, stack in used.items()} if _has_indices(tree, used) else used


def _has_indices(tree: Tree, keys: Iterable[Any]) -> bool:
    """Keys of safetensors are text: whether they are indices is written, or seen where all are numbers."""
    if tree.container != "safetensors":
        return False
    decimal = all(key.isdecimal() for key in keys)
    return decimal and tree.metadata.get("keys", "index") == "index"


def _steps(path: str, found: Any) -> tuple[int, ...]:
    if not isinstance(found, list | tuple) or not found:
        raise _foreign(path, "no list of steps")
    counts = [finite(step) for step in found]
    steps = tuple(int(count) for count in counts if count is not None and count >= 0 and count.is_integer())
    if len(steps) != len(found):
        raise _foreign(path, "steps that are no counts")
    if any(after <= before for before, after in pairwise(steps)):
        raise _foreign(path, "steps that do not ascend")
    return steps


def _lrs(path: str, found: Any, steps: int) -> tuple[tuple[float, ...], ...] | None:
    if found is None:
        return None
    rows = [[finite(lr) for lr in row] if isinstance(row, list | tuple) else [None] for row in _listed(found)]
    lrs = tuple(tuple(lr for lr in row if lr is not None) for row in rows)
    if len(lrs) != steps or any(len(lr) != len(row) for lr, row in zip(lrs, rows, strict=True)):
        raise _foreign(path, "lrs that are not a list of finite numbers a step")
    return lrs


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _check(path: str, key: Any, stack: Any, steps: int) -> None:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise _foreign(path, f"a gradient under {type(key).__name__} {key!r:.40}")
    if not isinstance(stack, TensorRef):
        raise _foreign(path, f"{key!s:.60} is {getattr(stack, 'kind', type(stack).__name__)}, not a dense tensor")
    if not stack.dtype.is_floating or stack.problem:
        raise _foreign(path, f"{key!s:.60}: {stack.problem or f'{stack.dtype.name} values'}")
    if not stack.shape or stack.shape[0] != steps:
        raise _foreign(path, f"{key!s:.60} has shape {list(stack.shape)} for {steps} steps")


def _foreign(path: str, found: str) -> MalformedCheckpoint:
    return MalformedCheckpoint(
        f"{path}: {found} (expected recorded gradients)",
        hint='optinspect.Recorder writes them: {"steps": [t, …], "used": {name: tensor (steps, *shape)}}',
    )
