"""How people fill param_groups, as data: in which order, and split by what. `order.py` tries them on a file.

A convention is a Sorting and a Split. The split's classes become groups either one to one (in whatever order the
groups stand) or, where there are more groups than classes, each class is cut into consecutive groups from the first
layer to the last or from the last to the first: layer-wise learning rates, with or without a decay split per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from optinspect.naming.traits import Traits

Label = Callable[[Traits], Hashable]


@dataclass(frozen=True, slots=True)
class Sorting:
    """title: for the report; key: of (place in the model, traits)."""

    title: str
    key: Callable[[int, Traits], tuple[float | str, ...]]


@dataclass(frozen=True, slots=True)
class Split:
    """title: for the report; label: the class of a parameter. decays: classes that carry weight decay, if any."""

    title: str
    label: Label
    decays: frozenset[Hashable] = frozenset()


@dataclass(frozen=True, slots=True)
class Selection:
    """Parameters that are handed to the optimizer when it does not get all."""

    title: str
    chosen: Callable[[Traits], bool]


BY_NAME = "sorted by name"

SORTINGS: tuple[Sorting, ...] = (
    Sorting("module order", lambda place, _: (place,)),
    Sorting(BY_NAME, lambda _, t: (t.name,)),
    Sorting("reversed module order", lambda place, _: (-place,)),
    Sorting("largest first", lambda place, t: (-t.numel, place)),
    Sorting("smallest first", lambda place, t: (t.numel, place)),
    Sorting("matrices first, then vectors", lambda place, t: (t.ndim < 2, place)),
    Sorting("vectors first, then matrices", lambda place, t: (t.ndim >= 2, place)),
    Sorting("weights first, then norms and biases", lambda place, t: (t.norm or t.bias_anywhere, place)),
)

_DECAY = frozenset({True})

ALL = Split("all", lambda _: None)

SPLITS: tuple[Split, ...] = (
    Split("decay by ndim ≥ 2", lambda t: t.ndim >= 2, _DECAY),
    Split("no decay on norms and biases", lambda t: not (t.norm or t.bias_anywhere), _DECAY),
    Split("no decay on named norms and biases", lambda t: not (t.norm_name or t.bias_anywhere), _DECAY),
    Split("no decay on biases", lambda t: not t.bias, _DECAY),
    Split("no decay on norms", lambda t: not t.norm, _DECAY),
    Split("no decay on norms, biases and embeddings", lambda t: t.ndim >= 2 and not t.embedding, _DECAY),
    Split(
        "weights, norms, biases", lambda t: "bias" if t.bias else "norm" if t.norm else "weight", frozenset({"weight"})
    ),
    Split("hidden matrices, the rest", lambda t: t.ndim >= 2 and not (t.embedding or t.head), _DECAY),
    Split(
        "hidden matrices, embeddings, head, vectors",
        lambda t: "vector" if t.ndim < 2 else "embedding" if t.embedding else "head" if t.head else "matrix",
    ),
    Split("embeddings, the rest", lambda t: t.embedding),
    Split("head, the rest", lambda t: t.head),
    Split("adapters, the rest", lambda t: t.adapter),
    Split("lora_B, the rest", lambda t: "lora_b" in t.name.lower()),
    Split("submodules", lambda t: t.top),
    Split("submodules of second level", lambda t: t.second),
    Split("submodules, decay by ndim ≥ 2", lambda t: (t.top, t.ndim >= 2)),
    Split("submodules, no decay on norms and biases", lambda t: (t.top, not (t.norm or t.bias_anywhere))),
    Split("submodules of second level, decay by ndim ≥ 2", lambda t: (t.second, t.ndim >= 2)),
)

SELECTIONS: tuple[Selection, ...] = (
    Selection("adapters only", lambda t: t.adapter),
    Selection("biases only", lambda t: t.bias),
    Selection("norms only", lambda t: t.norm),
    Selection("head only", lambda t: t.head),
    Selection("adapters and head only", lambda t: t.adapter or t.head),
    Selection("matrices only", lambda t: t.ndim >= 2),
    Selection("vectors only", lambda t: t.ndim < 2),
    Selection("hidden matrices only", lambda t: t.ndim >= 2 and not (t.embedding or t.head)),
    Selection("all but hidden matrices", lambda t: t.ndim < 2 or t.embedding or t.head),
    Selection("all but embeddings", lambda t: not t.embedding),
    Selection("all but norms and biases", lambda t: not (t.norm or t.bias_anywhere)),
)


def sort(sorting: Sorting, positions: Sequence[int], traits: Callable[[], Sequence[Traits]]) -> list[int]:
    """Positions as a sorting puts them; traits are looked at only where it needs them."""
    if sorting is SORTINGS[0]:
        return sorted(positions)
    return sorted(positions, key=lambda place: sorting.key(place, traits()[place]))
