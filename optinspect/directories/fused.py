"""A parameter that the file holds in several tensors: experts, one by one in the file, which the model has fused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from optinspect.checkpoint import ModelEntry
from optinspect.containers.assembled import Assembled, box
from optinspect.containers.geometry import contiguous
from optinspect.containers.raw import elements_of
from optinspect.errors import UnreadableTensor
from optinspect.tensors import Storage, TensorRef

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """`tensor` of the file is the part of the whole that begins at `offsets` and has `sizes`."""

    tensor: TensorRef
    offsets: Shape
    sizes: Shape


def fused(name: str, shape: Shape, boxes: Sequence[Box]) -> ModelEntry | None:
    """The whole as one entry, gathered as it is read; None where the parts do not make it up."""
    first = boxes[0].tensor
    if any(one.tensor.dtype is not first.dtype for one in boxes):
        return None
    try:
        pieces = [
            box(elements_of(one.tensor), shape, first.dtype.itemsize, one.offsets, one.sizes)
            for one in boxes
            if one.tensor.numel
        ]
    except UnreadableTensor:
        return None
    made = Assembled(TensorRef(first.dtype, shape, (), 0, first.storage).nbytes, pieces)
    if not made.whole:
        return None
    storage = Storage(name, first.dtype, made.size, first.storage.device, made, first.storage.byteorder)
    return ModelEntry(name, name, TensorRef(first.dtype, shape, contiguous(shape), 0, storage), "parameter?")


EXPERT = re.compile(r"(?P<home>.*\bexperts)\.(?P<number>\d{1,5})\.(?P<matrix>\w+)\.weight")

MATRICES = (
    ("gate_up_proj", ("gate_proj", "up_proj")),
    ("gate_up_proj", ("w1", "w3")),
    ("down_proj", ("down_proj",)),
    ("down_proj", ("w2",)),
)
"""(fused parameter, matrices of one expert, one below the other): transformers 5, bit-equal with what it loads."""


def with_fused_experts(entries: Sequence[ModelEntry]) -> tuple[ModelEntry, ...]:
    """Experts that the file holds one by one as the fused parameters that the model has; the rest as it is."""
    found: dict[str, dict[tuple[int, str], ModelEntry]] = {}
    for entry in entries:
        match = EXPERT.fullmatch(entry.name)
        if match is not None:
            found.setdefault(match["home"], {})[int(match["number"]), match["matrix"]] = entry
    made = [one for home, held in found.items() for one in _experts(home, held)]
    taken = {entry.name for _, parts in made for entry in parts}
    return (*(entry for entry in entries if entry.name not in taken), *(entry for entry, _ in made))


def _experts(home: str, held: dict[tuple[int, str], ModelEntry]) -> list[tuple[ModelEntry, list[ModelEntry]]]:
    """The fused parameters of one set of experts, each with the tensors it is made of."""
    experts = sorted({number for number, _ in held})
    made = []
    for name, matrices in MATRICES:
        parts = [held.get((number, matrix)) for number in experts for matrix in matrices]
        tensors = [one.tensor for one in parts if one is not None and isinstance(one.tensor, TensorRef)]
        if len(tensors) < len(parts) or experts != list(range(len(experts))):
            continue
        shape = tensors[0].shape
        if len(shape) != 2 or any(one.shape != shape for one in tensors):
            continue
        height = shape[0]
        boxes = [
            Box(one, (place // len(matrices), place % len(matrices) * height, 0), (1, *shape))
            for place, one in enumerate(tensors)
        ]
        whole = fused(f"{home}.{name}", (len(experts), len(matrices) * height, shape[1]), boxes)
        if whole is not None:
            made.append((whole, [one for one in parts if one is not None]))
    return made
