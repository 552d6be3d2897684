"""`--use-transformers`: a model in the order, under the names and with the groups that its own class gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optinspect.checkpoint import Checkpoint, Filling, ModelEntry, ModelState
from optinspect.directories import live_class
from optinspect.directories.fused import Box, fused
from optinspect.directories.live_class import LiveClass, NotBuilt, Part
from optinspect.tensors import TensorRef

FILLED_BY_CLASS = ("trainer",)
"""Layouts whose optimizer is made from the model by known rules; elsewhere only the order is the class's."""


def with_classes(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its models as their classes have them. Where one cannot be had, a note says why.

    Raises UsageError where transformers is not installed.
    """
    from optinspect.directories import config_of  # noqa: PLC0415  it imports this

    live_class.require()
    models, notes = [], []
    for model in checkpoint.models:
        given = checkpoint.inputs[model.input]
        try:
            models.append(_with_class(model, config_of(given.path), given.layout))
        except NotBuilt as reason:
            models.append(model)
            if model.role == "model":
                notes.append(f"--use-transformers does not help here: {reason}")
    return replace(checkpoint, models=tuple(models), notes=(*checkpoint.notes, *dict.fromkeys(notes)))


def _with_class(model: ModelState, config: Mapping[str, Any], layout: str) -> ModelState:
    """Raises NotBuilt."""
    if not config:
        raise NotBuilt("no config.json beside the weights")
    live = live_class.built(config, len(model.entries))
    held = {key: entry for entry in model.entries for key in (entry.name, *entry.aliases)}
    found = {name: entry for name in live.parameters if (entry := _entry(name, live, held)) is not None}
    lost = [name for name in live.parameters if name not in found]
    if 2 * len(lost) > len(live.parameters):
        raise NotBuilt(f"{len(lost)} of {live.title}'s {len(live.parameters)} parameters are not in the file")
    used = {part.key for name in found for part in _parts(name, live)} | {e.name for e in found.values()}
    used |= {alias for entry in found.values() for alias in entry.aliases}
    rest = tuple(_not_stepped(entry) for entry in model.entries if not used & {entry.name, *entry.aliases})
    filled = _fillings(live) if layout in FILLED_BY_CLASS and model.role == "model" else ()
    return replace(model, entries=(*found.values(), *rest), ordered=True, order_from=live.title, fillings=filled)


def _parts(name: str, live: LiveClass) -> tuple[Part, ...]:
    return live.parts.get(name, ())


def _entry(name: str, live: LiveClass, held: Mapping[str, ModelEntry]) -> ModelEntry | None:
    """The file's tensor of a live parameter, under the live name."""
    shape, others = live.parameters[name], live.tied.get(name, ())
    parts = _parts(name, live)
    for key in (*(part.key for part in parts[:1] if len(parts) == 1), name, *others):
        entry = held.get(key)
        if entry is not None and entry.shape == shape:
            return replace(entry, name=name, kind="parameter", aliases=others)
    if len(parts) < 2 or not all(part.key in held for part in parts):
        return None
    tensors = [held[part.key].tensor for part in parts]
    boxes = [
        Box(tensor, part.offsets, part.sizes)
        for part, tensor in zip(parts, tensors, strict=True)
        if isinstance(tensor, TensorRef) and tensor.shape == part.sizes[-len(tensor.shape) :]
    ]
    made = fused(name, shape, boxes) if len(boxes) == len(parts) else None
    return replace(made, kind="parameter") if made else None


def _not_stepped(entry: ModelEntry) -> ModelEntry:
    """What the class has no parameter for: a buffer, or a leftover."""
    return entry if entry.is_buffer else replace(entry, kind="buffer?")


def _fillings(live: LiveClass) -> tuple[Filling, ...]:
    """Trainer's groups: what decays, then what does not, each in module order."""
    rows = [row for row in live.parameters.items() if row[0] not in live.fixed]
    return tuple(
        Filling(
            title, (tuple(row for row in rows if row[0] in names), tuple(row for row in rows if row[0] not in names))
        )
        for title, names in live.decays
    )
