"""torch.distributed.checkpoint through HuggingFaceStorageWriter: one safetensors file a rank, each with its shards.

There is no `.metadata`: the header of every file says where in the whole each of its tensors begins.
"""

from __future__ import annotations

import json
import re
from math import prod
from typing import Any

from optinspect.containers.assembled import Assembled, box
from optinspect.containers.base import Tree
from optinspect.containers.geometry import contiguous, integers
from optinspect.containers.raw import elements_of
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import Folder
from optinspect.directories.nesting import nested
from optinspect.layouts.base import mapping
from optinspect.tensors import Storage, TensorRef

SHARD = re.compile(r"shard-(?P<rank>\d{5})-.*\.safetensors")
PLACES = "DCP_SHARDING_INFO"
Part = tuple[TensorRef, tuple[int, ...]]
"""A shard, and where in the whole it begins."""


class HuggingFaceStorage:
    """shard-00001-model-00001-of-00001.safetensors, …: a model as a rule, an optimizer where it was saved flattened."""

    name = "dcp-safetensors"

    def recognises(self, folder: Folder) -> bool:
        return any(SHARD.fullmatch(name) for name in folder.files)

    def gather(self, session: Session) -> Found:
        parts: dict[str, list[Part]] = {}
        numbers: set[int] = set()
        for name in session.folder.files:
            match = SHARD.fullmatch(name)
            tree = session.try_open(name) if match else None
            if match is not None and tree is not None:
                numbers.add(int(match["rank"]))
                for key, part in _placed(tree).items():
                    parts.setdefault(key, []).append(part)
        for lost in sorted(set(range(1, max(numbers, default=0))) - numbers):
            session.problem("missing", f"shard-{lost:05}", "the shard is not in the directory")
        root = nested({key: _whole(key, held, session) for key, held in parts.items()}, {})
        model = {key: value for key, value in root.items() if isinstance(value, TensorRef)}
        if model:
            root = {key: value for key, value in root.items() if key not in model} | {"model": model}
        return Found(root, frozenset({"model"} & root.keys()), session.json("config.json"))


def _placed(tree: Tree) -> dict[str, Part]:
    """name → the file's tensor, and where it begins: at 0 where the header does not say."""
    try:
        told = mapping(json.loads(tree.metadata.get(PLACES, "{}"))) or {}
    except (ValueError, RecursionError):
        told = {}
    found: dict[str, Part] = {}
    for key, tensor in tree.root.items():
        offsets: Any = (mapping(told.get(key)) or {}).get("saved_offsets")
        good = integers(offsets) and len(offsets) == len(tensor.shape) and min(offsets, default=0) >= 0
        found[key] = (tensor, tuple(offsets) if good else (0,) * len(tensor.shape))
    return found


def _whole(key: str, parts: list[Part], session: Session) -> TensorRef:
    """The tensor that the parts make up; with a problem where some of it is in none."""
    first = parts[0][0]
    if len(parts) == 1 and not any(parts[0][1]):
        return first
    alike = [part for part in parts if part[0].dtype is first.dtype and len(part[0].shape) == len(first.shape)]
    ends = [[at + size for at, size in zip(offsets, one.shape, strict=True)] for one, offsets in alike]
    shape = tuple(max(column) for column in zip(*ends, strict=True))
    size = first.dtype.itemsize
    broken = next((one.problem for one, _ in alike if one.problem), None)
    pieces = [box(elements_of(one), shape, size, at, one.shape) for one, at in alike if one.numel and not one.problem]
    made = Assembled(prod(shape) * size, pieces)
    problem = broken or (None if made.whole else f"its shards hold {made.covered:,} of {made.size:,} bytes")
    if problem is not None:
        session.problem("missing", key, problem)
    storage = Storage(key, first.dtype, made.size, "cpu", made if problem is None else None, problem=problem)
    return TensorRef(first.dtype, shape, contiguous(shape), 0, storage, problem=problem)
