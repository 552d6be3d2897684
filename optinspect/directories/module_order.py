"""Module order for names that come in none: safetensors sorts its header, `named_parameters()` order is lost in it.

The architecture, told by config.json or by the names themselves, says which sibling comes first. Where one set of
siblings is not in its table, nothing is said: the shapes are then all that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optinspect.checkpoint import ModelState
from optinspect.directories.architectures import ADAPTERS, ARCHITECTURES, WRAPPERS, Architecture

LEAVES = ("weight", "bias")


@dataclass(frozen=True, slots=True)
class Known:
    """An architecture, and where that was learnt."""

    architecture: Architecture
    source: str


def restored(model: ModelState, config: Mapping[str, Any]) -> ModelState:
    """The model with its tensors in module order, saying whose order it is; as it was where that is not known."""
    names = [entry.name for entry in model.entries]
    for known in _candidates(names, config):
        order = order_of(names, known.architecture)
        if order is not None:
            entries = tuple(model.entries[place] for place in order)
            told = f"{known.architecture.title}'s module order ({known.source})"
            return replace(model, entries=entries, ordered=True, order_from=told)
    return model


def _candidates(names: Sequence[str], config: Mapping[str, Any]) -> list[Known]:
    """By config.json where it names an architecture; else those whose names are all there."""
    kind = config.get("model_type")
    if isinstance(kind, str):
        version = _major(config.get("transformers_version"))
        fitting = [one for one in ARCHITECTURES if kind in one.types]
        now = [one for one in fitting if one.since <= version < one.until]
        if now:
            return [Known(one, f"config.json: {kind}") for one in now]
    parts = {part for name in names for part in name.split(".")}
    if parts & set(ADAPTERS):
        return _agreeing(names)
    found = [one for one in ARCHITECTURES if one.marks and one.marks <= parts]
    return [Known(one, "told by the names") for one in found] if len(found) == 1 else []


def _agreeing(names: Sequence[str]) -> list[Known]:
    """Of an adapter's few names more than one architecture may know all: they must not disagree."""
    able = [(one, order) for one in ARCHITECTURES if (order := order_of(names, one)) is not None]
    alike = all(order == able[0][1] for _, order in able)
    return [Known(able[0][0], "told by the adapter's names")] if able and alike else []


def _major(version: object) -> int:
    """5 of "5.23.0"; a config without a version was written by an old one."""
    head = version.partition(".")[0] if isinstance(version, str) else ""
    return int(head) if head.isdecimal() and len(head) < 4 else 0


def order_of(names: Sequence[str], architecture: Architecture) -> list[int] | None:
    """Places of `names` in module order; None where two siblings are in no known order."""
    ranks = {label: rank for rank, label in enumerate((*WRAPPERS, *ADAPTERS, *architecture.order))}
    siblings: dict[tuple[str, ...], set[tuple[bool, str]]] = {}
    for name in names:
        parts = tuple(name.split("."))
        for depth, part in enumerate(parts):
            siblings.setdefault(parts[:depth], set()).add((depth + 1 < len(parts), part))
    if not all(_known(members, ranks) for members in siblings.values()):
        return None
    keys = [[_key(part, inside, ranks) for part, inside in _steps(name)] for name in names]
    return sorted(range(len(names)), key=lambda place: keys[place])


def _steps(name: str) -> list[tuple[str, bool]]:
    parts = name.split(".")
    return [(part, depth + 1 < len(parts)) for depth, part in enumerate(parts)]


def _known(members: set[tuple[bool, str]], ranks: Mapping[str, int]) -> bool:
    """Whether siblings of one kind can be put in order; parameters always come before modules."""
    for kind in (False, True):
        labels = [label for inside, label in members if inside is kind]
        if len(labels) > 1 and not all(_ordered(label, inside=kind, ranks=ranks) for label in labels):
            return False
    return True


def _ordered(label: str, *, inside: bool, ranks: Mapping[str, int]) -> bool:
    return label in ranks or label.isdecimal() or (not inside and label in LEAVES)


def _key(part: str, inside: bool, ranks: Mapping[str, int]) -> tuple[bool, int, int]:
    """Own parameters first, weight before bias; then modules by number or by the architecture's order."""
    if not inside and part in LEAVES:
        return False, -1, LEAVES.index(part)
    return inside, ranks.get(part, len(ranks)), int(part) if part.isdecimal() and len(part) < 9 else 0
