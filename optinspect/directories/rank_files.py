"""One rank's file of several, given by itself: what it has of the tensors, and the other ranks' files beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from optinspect.checkpoint import Checkpoint, Problem
from optinspect.containers.wording import counted
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import DiskFolder, Folder
from optinspect.directories.ranks import FLAT_PARAMETER, RANK, Ranks
from optinspect.layouts.base import sequence
from optinspect.opaque import Opaque
from optinspect.tensors import CompositeRef, TensorRef

SPLIT = (".DTensor", ".ShardedTensor")
ALONE = "put the files of the other ranks beside it"


@dataclass(frozen=True, slots=True)
class Beside:
    """The directory layout of ranks, for the files that belong to one of them: others may lie in the directory."""

    stem: str
    end: str
    name: str = "fsdp-ranks"

    def recognises(self, folder: Folder) -> bool:
        return len(self.files(folder)) > 1

    def files(self, folder: Folder) -> tuple[str, ...]:
        found = ((name, RANK.fullmatch(name)) for name in folder.files)
        return tuple(name for name, m in found if m is not None and (m["stem"], m["end"]) == (self.stem, self.end))

    def gather(self, session: Session) -> Found:
        """Raises what Ranks.gather raises."""
        return Ranks().gather(session, self.files(session.folder))


def others(checkpoint: Checkpoint) -> tuple[DiskFolder, Beside] | None:
    """Where the other ranks' files lie, if the checkpoint's only file is one rank's part and they lie beside it."""
    if not _split(checkpoint) and not _flat(checkpoint):
        return None
    where, name = os.path.split(checkpoint.inputs[0].path)
    match = RANK.fullmatch(name)
    if match is None:
        return None
    folder, layout = DiskFolder(where or os.curdir), Beside(match["stem"], match["end"])
    return (folder, layout) if layout.recognises(folder) else None


def marked(checkpoint: Checkpoint) -> Checkpoint:
    """With a problem, and `part`, where tensors of it are one rank's part still."""
    split = _split(checkpoint)
    if not split:
        return checkpoint
    part, number = _rank(split[0]), counted(len(split), "tensor")
    if checkpoint.inputs[0].files:
        told = f"{number} split over ranks in a way that is not put together: only the part of {part} is read"
    else:
        told = f"{part}: a part only, of {number}; {ALONE}"
    problem = Problem("missing", "", told)
    note = f"the figures of split tensors are of the part that {part} has, not of the whole"
    problems, notes = (problem, *checkpoint.problems), (*checkpoint.notes, note)
    return replace(checkpoint, part=part, problems=problems, notes=notes)


def _flat(checkpoint: Checkpoint) -> bool:
    return any(entry.key.endswith(FLAT_PARAMETER) for model in checkpoint.models for entry in model.entries)


def _split(checkpoint: Checkpoint) -> list[CompositeRef]:
    """Tensors of models and optimizers that are one rank's part: one that is whole was read as a plain tensor."""
    if not any(name.endswith(SPLIT) for name in checkpoint.opaque):
        return []
    return [one for one in _tensors(checkpoint) if isinstance(one, CompositeRef) and one.kind.endswith(SPLIT)]


def _tensors(checkpoint: Checkpoint) -> Iterator[Any]:
    for model in checkpoint.models:
        yield from (entry.tensor for entry in model.entries)
    for optimizer in checkpoint.optimizers:
        for parameter in optimizer.parameters:
            yield from parameter.slots.values()


def _rank(tensor: CompositeRef) -> str:
    """ "rank 0 of 2", as far as the tensor says it."""
    spec = tensor.attributes.get("_spec")
    mesh = spec.attribute("mesh") if isinstance(spec, Opaque) else None
    if isinstance(mesh, Opaque):
        rank, ranks = mesh.attribute("_rank"), _ranks(mesh)
    else:
        shards = sequence(tensor.attributes.get("shards")) or (None,)
        place = shards[0].attribute("placement") if isinstance(shards[0], Opaque) else None
        rank, ranks = place.attribute("_rank") if isinstance(place, Opaque) else None, None
    if type(rank) is not int or rank < 0:
        return f"one rank of {ranks:,}" if ranks else "one rank of several"
    return f"rank {rank:,} of {ranks:,}" if ranks else f"rank {rank:,}"


def _ranks(mesh: Opaque) -> int | None:
    """How many are in the mesh: torch has kept its ranks as tuples and as a tensor."""
    held = [mesh.attribute(name) for name in ("_flatten_rank_map", "_flatten_mesh_list", "_rank_map", "mesh")]
    sizes = [one.numel if isinstance(one, TensorRef) else len(sequence(one) or ()) for one in held]
    return next((size for size in sizes if size), None)
