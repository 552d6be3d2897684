"""One torch.save a rank (…rank0.pt, …rank1.pt) under FSDP: DTensors and ShardedTensors put together from all ranks.

A DTensor says over which mesh and along which dimension it is split; the shards lie in rank order, all but the last of
equal length. Each shard of a ShardedTensor says where it lies. What is the same on every rank is taken from the first.
FSDP1 without original parameters has one flat parameter a module: its state is cut at equal lengths, rank by rank.
With them its local states are flat slices that do not say whose they are: they stay those of the first rank.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from optinspect.containers.assembled import Assembled, Piece, box
from optinspect.containers.geometry import contiguous, integers
from optinspect.containers.raw import elements_of
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import Folder
from optinspect.errors import OptinspectError, UnreadableTensor
from optinspect.layouts.base import sequence
from optinspect.opaque import Opaque
from optinspect.tensors import CompositeRef, Storage, TensorRef

RANK = re.compile(r"(?P<stem>.*?)(?:^|[_.-])rank[_-]?(?P<rank>\d+)(?P<end>[\w.-]*\.(?:pt|pth|bin|ckpt))")
SAVED = re.compile(r".*\.(?:pt|pth|bin|ckpt|safetensors)")
MAX_DEPTH = 64
FLAT_PARAMETER = "_flat_param"
_STATE = re.compile(r"\.state\.")


class Ranks:
    """A file a rank, all of one name but for the rank, and no other checkpoint file."""

    name = "fsdp-ranks"

    def recognises(self, folder: Folder) -> bool:
        saved = [name for name in folder.files if SAVED.fullmatch(name)]
        families = {(m["stem"], m["end"]) if (m := RANK.fullmatch(name)) else None for name in saved}
        return len(saved) > 1 and len(families) == 1 and None not in families

    def gather(self, session: Session, names: Sequence[str] | None = None) -> Found:
        """Of all files in the folder, or of `names`. Raises what opening the first file raises where none can be
        opened."""
        given = session.folder.files if names is None else names
        named = sorted((int(m["rank"]), m[0]) for name in given if (m := RANK.fullmatch(name)))
        roots = {rank: tree.root for rank, name in named if (tree := session.try_open(name)) is not None}
        for rank in sorted(set(range(named[-1][0] + 1)) - {rank for rank, _ in named}):
            session.problem("missing", f"rank {rank}", "its file is not in the directory")
        first = next(iter(roots.values()), None)
        if not isinstance(first, dict):
            return Found({} if first is None else {"ranks": list(roots.values())})
        joined = _Joined(session, flat=_is_flat(first, 0))
        root = joined.join(list(roots.values()), "", 0)
        joined.tell()
        return Found({str(key): value for key, value in root.items()})


def _is_flat(value: Any, depth: int) -> bool:
    """Whether a model in it has FSDP1's flat parameters."""
    if not isinstance(value, dict) or depth > 3:
        return False
    named = any(isinstance(key, str) and key.endswith(FLAT_PARAMETER) for key in value)
    return named or any(_is_flat(inner, depth + 1) for inner in value.values())


def _in_a_row(parts: Sequence[TensorRef]) -> TensorRef:
    """Slices of one length, one rank's after the other's."""
    starts = [sum(part.numel for part in parts[:place]) for place in range(len(parts))]
    try:
        return _boxed((starts[-1] + parts[-1].numel,), [(part, (at,)) for part, at in zip(parts, starts, strict=True)])
    except (LookupError, OptinspectError):
        return parts[0]


class _Joined:
    def __init__(self, session: Session, *, flat: bool) -> None:
        self.session, self.flat = session, flat
        self.differing: list[str] = []

    def join(self, values: Sequence[Any], route: str, depth: int) -> Any:
        """The values that all ranks have at one route, as one."""
        first = values[0]
        whole = next((value for value in values if isinstance(value, TensorRef)), None)
        if whole is not None and any(isinstance(value, CompositeRef) for value in values):
            return whole  # a short one lies on one rank, and the others have nothing of it
        if isinstance(first, CompositeRef) and all(isinstance(value, CompositeRef) for value in values):
            return joined(values)
        if isinstance(first, dict) and depth < MAX_DEPTH and all(isinstance(value, dict) for value in values):
            return {
                key: self.join([value[key] for value in values if key in value], f"{route}.{key}", depth + 1)
                for key in first
            }
        if isinstance(first, list) and depth < MAX_DEPTH:
            same = [value for value in values if isinstance(value, list) and len(value) == len(first)]
            return [self.join(items, f"{route}[{n}]", depth + 1) for n, items in enumerate(zip(*same, strict=True))]
        if isinstance(first, TensorRef) and self.flat and _STATE.search(route) and len(first.shape) == 1:
            return _in_a_row([value for value in values if isinstance(value, TensorRef)])
        if isinstance(first, TensorRef):
            shapes = {value.shape for value in values if isinstance(value, TensorRef)}
            if len(shapes) > 1:
                self.differing.append(route.lstrip("."))
        return first

    def tell(self) -> None:
        if self.differing:
            told = f"{len(self.differing)} tensors differ in shape between ranks and do not say how they are split"
            self.session.notes.append(f"{told}: those of the first rank are shown, first {self.differing[0]}")


def joined(parts: Sequence[CompositeRef]) -> TensorRef | CompositeRef:
    """The whole of a DTensor from all ranks; the first rank's part where it does not say clearly how it is split."""
    first = parts[0]
    try:
        if first.kind.endswith(".ShardedTensor"):
            return _from_shards(parts)
        layout = [_placed(part) for part in parts]
        dim = layout[0][1]
        if first.dtype is None or any(other != dim for _, other, _ in layout):
            return first
        if dim is None:
            return layout[0][2]
        shards = {coordinate: local for coordinate, _, local in layout}
        return _assembled(first, dim, [shards[place] for place in sorted(shards)])
    except (LookupError, OptinspectError):
        return first


def _from_shards(parts: Sequence[CompositeRef]) -> TensorRef:
    """The whole of a ShardedTensor: each shard with the offsets that it was saved with. Raises LookupError."""
    shape = parts[0].shape
    boxes: list[tuple[TensorRef, Sequence[int]]] = []
    for part in parts:
        for place, told in enumerate(sequence(part.attributes.get("shards")) or ()):
            offsets: Any = told.attribute("shard_offsets") if isinstance(told, Opaque) else None
            tensor = part.parts[f"shard_{place}"]
            if not integers(offsets) or len(offsets) != len(shape) or len(tensor.shape) != len(shape):
                raise LookupError
            if any(at < 0 or at + size > whole for at, size, whole in zip(offsets, tensor.shape, shape, strict=True)):
                raise LookupError
            boxes.append((tensor, offsets))
    if not boxes:
        raise LookupError
    return _boxed(shape, boxes)


def _boxed(shape: tuple[int, ...], boxes: Sequence[tuple[TensorRef, Sequence[int]]]) -> TensorRef:
    """A tensor of `shape` out of parts at their offsets. Raises LookupError where they are of several kinds."""
    first = boxes[0][0]
    if any(one.dtype is not first.dtype or one.storage.byteorder != first.storage.byteorder for one, _ in boxes):
        raise LookupError
    size = first.dtype.itemsize
    pieces = [box(elements_of(one), shape, size, offsets, one.shape) for one, offsets in boxes if one.numel]
    made = Assembled(TensorRef(first.dtype, shape, (), 0, first.storage).nbytes, pieces)
    problem = None if made.whole else f"its shards hold {made.covered:,} of {made.size:,} bytes"
    held = made if problem is None else None
    storage = Storage(
        first.storage.key, first.dtype, made.size, first.storage.device, held, first.storage.byteorder, problem
    )
    return TensorRef(first.dtype, shape, contiguous(shape), 0, storage, first.requires_grad, problem=problem)


def _placed(part: CompositeRef) -> tuple[int, int | None, TensorRef]:
    """(place among the shards, dimension or None for replicated, local part). Raises LookupError where unclear."""
    spec = part.attributes.get("_spec")
    placements = sequence(spec.attribute("placements")) if isinstance(spec, Opaque) else None
    if not isinstance(spec, Opaque) or not placements or "_local_tensor" not in part.parts:
        raise LookupError
    local = part.parts["_local_tensor"]
    kinds = [one.name.rpartition(".")[2] if isinstance(one, Opaque) else "" for one in placements]
    sharding = [axis for axis, kind in enumerate(kinds) if kind != "Replicate"]
    if not sharding:
        return 0, None, local
    if len(sharding) > 1 or kinds[sharding[0]] != "Shard":
        raise LookupError
    dim = placements[sharding[0]].attribute("dim")
    coordinates = _coordinates(spec, len(placements))
    if type(dim) is not int or not 0 <= dim < len(local.shape):
        raise LookupError
    return coordinates[sharding[0]], dim, local


def _coordinates(spec: Opaque, rank: int) -> Sequence[int]:
    """Where in its mesh this process is. Raises LookupError where the mesh does not say."""
    mesh = spec.attribute("mesh")
    found = mesh.attribute("_coordinate_on_dim") if isinstance(mesh, Opaque) else None
    if not isinstance(found, tuple | list) or not integers(found) or len(found) != rank:
        raise LookupError
    return found


def _assembled(whole: CompositeRef, dim: int, locals_: Sequence[TensorRef]) -> TensorRef:
    dtype, shape = locals_[0].dtype, whole.shape
    pieces: list[Piece] = []
    at = 0
    for local in locals_:
        if local.dtype is not dtype or [*local.shape[:dim], *local.shape[dim + 1 :]] != [
            *shape[:dim],
            *shape[dim + 1 :],
        ]:
            raise LookupError
        offsets = [0] * len(shape)
        offsets[dim] = at
        at += local.shape[dim]
        if local.numel and at <= shape[dim]:
            pieces.append(box(elements_of(local), shape, dtype.itemsize, offsets, local.shape))
    made = Assembled(TensorRef(dtype, shape, (), 0, locals_[0].storage).nbytes, pieces)
    problem = (
        None if made.whole and at == shape[dim] else f"its shards have {at:,} of {shape[dim]:,} in dimension {dim}"
    )
    if problem is None and len({local.storage.byteorder for local in locals_}) > 1:
        raise UnreadableTensor("shards of different byte orders")
    first = locals_[0].storage
    storage = Storage(
        first.key, dtype, made.size, first.device, made if problem is None else None, first.byteorder, problem
    )
    return TensorRef(dtype, shape, contiguous(shape), 0, storage, locals_[0].requires_grad, problem=problem)
