"""What a parameter's name and shape say about its role: the facts that conventions of grouping are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

_NORM = re.compile(
    r"(?:^|_)(?:ln|norm|bn|gn)(?:_?(?:f|out|pre|post|[0-9]+))?$|layer_?norm|rms_?norm|batch_?norm|group_?norm"
)
_EMBEDDING = re.compile(r"emb|^wte$|^wpe$|_token$|^cls$|^pos$|position|^shared$")
_BIAS = re.compile(r"(?:^|_)bias(?:_|$)")
_ADAPTER = re.compile(r"lora|adapter|prompt|prefix_encoder|modules_to_save|ia3|dora")
_HEAD = re.compile(r"head|^classifier$|^score$|^fc$|^output$|^logits$|^out$")


@dataclass(frozen=True, slots=True)
class Traits:
    """name  as printed; parent: the module's path; top, second: its first one and two components

    norm   the module is a normalisation: its name says so, or its `weight` is a vector
    """

    name: str
    parent: str
    top: str
    second: str
    ndim: int
    numel: int
    bias: bool
    bias_anywhere: bool
    norm: bool
    norm_name: bool
    embedding: bool
    head: bool
    adapter: bool


def traits_of(parameters: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[Traits, ...]:
    """Traits of (name, shape), each seen beside its siblings."""
    vectors = {name.rpartition(".")[0] for name, shape in parameters if name.endswith("weight") and len(shape) == 1}
    return tuple(_traits(name, shape, vectors) for name, shape in parameters)


@dataclass(frozen=True, slots=True)
class _Word:
    norm: bool
    embedding: bool
    head: bool
    adapter: bool


@lru_cache(maxsize=4096)
def _word(part: str) -> _Word:
    """What one component of a name says; models repeat a few dozen of them."""
    found = (pattern.search(part.lower()) is not None for pattern in (_NORM, _EMBEDDING, _HEAD, _ADAPTER))
    return _Word(*found)


def _traits(name: str, shape: tuple[int, ...], vectors: set[str]) -> Traits:
    parent, _, leaf = name.rpartition(".")
    parts = name.split(".")
    words = [_word(part) for part in parts]
    heads = words[:-1] or words
    norm_name = any(word.norm for word in heads)
    return Traits(
        name=name,
        parent=parent,
        top=parts[0],
        second=".".join(parts[:2]),
        ndim=len(shape),
        numel=prod(shape),
        bias=_BIAS.search(leaf) is not None,
        bias_anywhere="bias" in name,
        norm=norm_name or parent in vectors,
        norm_name=norm_name,
        embedding=any(word.embedding for word in words),
        head=any(word.head for word in heads),
        adapter=any(word.adapter for word in words),
    )
