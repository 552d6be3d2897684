"""Tree → Checkpoint: where the optimizers, models and companions are in what a file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optinspect.checkpoint import Checkpoint, Input, ModelState
from optinspect.containers.base import Tree
from optinspect.layouts.base import Layout, Wanted
from optinspect.layouts.dictionary import DICTIONARY, LIGHTNING, MODULE, NANOGPT, STATE_DICT
from optinspect.layouts.fastai import FASTAI

LAYOUTS: tuple[Layout, ...] = (
    LIGHTNING,
    NANOGPT,
    FASTAI,
    MODULE,
    STATE_DICT,
    DICTIONARY,
)
"""Asked in this order; the last takes everything."""


def find(
    trees: Sequence[tuple[str, Tree]], *, model_key: str | None = None, optimizer_key: str | None = None
) -> Checkpoint:
    """One checkpoint from opened inputs, each with its role ("checkpoint", "model_state").

    Raises UsageError where `model_key` or `optimizer_key` names no route; its message lists those there are.
    """
    separate = any(role == "model_state" for role, _ in trees)
    parts: list[Checkpoint] = []
    for role, tree in trees:
        is_model = role == "model_state"
        chosen = Wanted(
            model_key=model_key if is_model or not separate else None,
            optimizer_key=None if is_model else optimizer_key,
        )
        layout = next(layout for layout in LAYOUTS if layout.recognises(tree))
        given = Input(role, tree.path, tree.container, layout.name, tree.size, tree.byteorder)
        parts.append(replace(layout.find(tree, chosen), inputs=(given,), trees=(tree,)))
    return joined(parts)


def joined(parts: Sequence[Checkpoint]) -> Checkpoint:
    """Checkpoints of one input each as one; of a "model_state" input only the models are taken."""
    taken = [_only_models(part) if part.inputs[0].role == "model_state" else part for part in parts]
    numbered = [_numbered(part, number) for number, part in enumerate(taken)]
    return merged(numbered) if len(numbered) > 1 else numbered[0]


def _only_models(part: Checkpoint) -> Checkpoint:
    """What a `model_state` input is asked for; a full checkpoint given there keeps its optimizers to itself."""
    return replace(part, optimizers=(), schedulers=(), scalers=(), rng=(), counters={}, other={}, outside=())


def _numbered(part: Checkpoint, number: int) -> Checkpoint:
    if not number:
        return part
    return replace(
        part,
        models=tuple(replace(model, input=number) for model in part.models),
        optimizers=tuple(replace(one, input=number) for one in part.optimizers),
        schedulers=tuple(replace(one, input=number) for one in part.schedulers),
        scalers=tuple(replace(one, input=number) for one in part.scalers),
        rng=tuple(replace(one, input=number) for one in part.rng),
    )


def merged(parts: Sequence[Checkpoint]) -> Checkpoint:
    """Several inputs as one checkpoint. The model of a `model_state` input is the one that was trained."""
    given = any(input.role == "model_state" and part.models for part in parts for input in part.inputs)
    models: list[ModelState] = []
    for part in parts:
        named = part.inputs[0].role == "model_state"
        models += [
            replace(model, role="copy") if given and not named and model.role == "model" else model
            for model in part.models
        ]
    opaque: dict[str, int] = {}
    for part in parts:
        for name, count in part.opaque.items():
            opaque[name] = opaque.get(name, 0) + count
    return Checkpoint(
        inputs=tuple(one for part in parts for one in part.inputs),
        models=tuple(models),
        optimizers=tuple(one for part in parts for one in part.optimizers),
        schedulers=tuple(one for part in parts for one in part.schedulers),
        scalers=tuple(one for part in parts for one in part.scalers),
        rng=tuple(one for part in parts for one in part.rng),
        counters={route: value for part in reversed(parts) for route, value in part.counters.items()},
        other={route: value for part in reversed(parts) for route, value in part.other.items()},
        opaque=opaque,
        problems=tuple(problem for part in parts for problem in part.problems),
        notes=tuple(note for part in parts for note in part.notes),
        trees=tuple(tree for part in parts for tree in part.trees),
        part=next((part.part for part in parts if part.part), ""),
        outside=tuple(each for part in parts for each in part.outside),
    )
