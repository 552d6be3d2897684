"""Module order for names that come in none: safetensors sorts its header, `named_parameters()` order is lost in it.

The architecture, told by config.json or by the names themselves, says which sibling comes first. Where one set of
siblings is not in its table, nothing is said: the shapes are then all that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optinspect.checkpoint import ModelState
from optinspect.directories.architectures import (
    ADAPTERS,
    HOLDERS,
    TRIED,
    WRAPPERS,
    Architecture,
    architectures,
    version_of,
)
from optinspect.directories.fused import with_fused_experts
from optinspect.directories.order_fits import Shape, Stepped, kept, rearranged

LEAVES = ("weight", "bias")

FUSED_SINCE = (5, 0)
"""Version of transformers from which experts are one parameter in the model and many tensors in the file."""

SPEAKING = 6
"""Names of an architecture that a file must use before they tell it without any of them being its mark."""


@dataclass(frozen=True, slots=True)
class Known:
    """An architecture, and where that was learnt.

    others  what the same model_type was in other versions
    tried   its order was compared with live models of this very version
    """

    architecture: Architecture
    source: str
    others: tuple[Architecture, ...] = ()
    tried: bool = False


NUMBERED = Known(
    Architecture("Sequential", frozenset(), (), frozenset()), "told by the numbers in the names", tried=True
)
"""torch.nn.Sequential and ModuleList name their modules by their place; weight comes before bias."""


def restored(model: ModelState, config: Mapping[str, Any], stepped: Stepped = ()) -> ModelState:
    """The model with its tensors in module order, saying whose order it is; as it was where that is not known.

    stepped  shapes of the optimizers' parameters by group: three dimensions of experts show that they are stepped
             fused; an order that they contradict gives way to one that they fit
    """
    entries = model.entries
    shapes = {shape for group in stepped for shape in group if shape is not None}
    fused = not shapes or any(len(shape) == 3 for shape in shapes)
    if version_of(config.get("transformers_version")) >= FUSED_SINCE and fused:
        entries = with_fused_experts(entries)
    names = [entry.name for entry in entries]
    for known in _candidates(names, config, [entry.shape for entry in entries], stepped):
        order = order_of(names, known.architecture)
        if order is not None:
            order, how = _fitting(order, known, names, [entry.shape for entry in entries], stepped)
            if order is None:
                break
            told = f"{known.architecture.title}'s module order{how} ({known.source})"
            return replace(model, entries=tuple(entries[place] for place in order), ordered=True, order_from=told)
    return replace(model, entries=entries)


def _fitting(
    order: list[int], known: Known, names: Sequence[str], shapes: Sequence[Shape], stepped: Stepped
) -> tuple[list[int] | None, str]:
    """The order itself, unless the shapes contradict it and fit exactly one other: of another version of the
    architecture, or (where no live model was compared) with the top modules in another order. None where they fit
    several; the order itself again where they fit none better: then it is the state that is wrong.
    """
    least = _kept(order, shapes, stepped)
    if least == len(stepped):
        return order, ""
    versions = [(other, ", of another version") for one in known.others if (other := order_of(names, one)) is not None]
    moved = ((other, ", top modules as the shapes have them") for other in rearranged(names, order))
    for others in (versions, () if known.tried else moved):
        best = [(found, how) for found, how in others if _kept(found, shapes, stepped) > least]
        if best:
            return best[0] if all(found == best[0][0] for found, _ in best) else (None, "")
    return order, ""


def _kept(order: Sequence[int], shapes: Sequence[Shape], stepped: Stepped) -> int:
    return kept([shapes[place] for place in order], stepped) if stepped else 0


def _candidates(
    names: Sequence[str], config: Mapping[str, Any], shapes: Sequence[Shape] = (), stepped: Stepped = ()
) -> list[Known]:
    """By config.json where it names an architecture; else those whose names are all there."""
    kind = config.get("model_type")
    if isinstance(kind, str):
        version = version_of(config.get("transformers_version"))
        fitting = [one for one in architectures() if kind in one.types]
        now = [one for one in fitting if one.since <= version < one.until]
        if now:
            tried = TRIED[0] <= version <= TRIED[1]
            others = tuple(one for one in fitting if one not in now)
            return [Known(one, f"config.json: {kind}", others, tried) for one in now]
    parts = {part for name in names for part in name.split(".")}
    if order_of(names, NUMBERED.architecture) is not None:
        return [NUMBERED]
    marked = [one for one in architectures() if one.marks and one.marks <= parts]
    if len(marked) == 1 and not parts & set(ADAPTERS):
        return [Known(marked[0], "told by the names")]
    return _agreeing(names, parts, shapes, stepped)


def _agreeing(names: Sequence[str], parts: set[str], shapes: Sequence[Shape], stepped: Stepped) -> list[Known]:
    """Names that several architectures know, or the few of an adapter: those that know all must not disagree, but for
    orders that the shapes contradict where they fit another.
    """
    words = {part for part in parts if not part.isdecimal() and part not in LEAVES}
    adapter = bool(words & set(ADAPTERS))
    able = [
        (one, order)
        for one in architectures()
        if (adapter or (len(words) >= SPEAKING and words <= set(one.order)))
        and (order := order_of(names, one)) is not None
    ]
    if any(order != able[0][1] for _, order in able):
        fits = [_kept(order, shapes, stepped) for _, order in able]
        able = [each for each, fit in zip(able, fits, strict=True) if fit == max(fits)]
    if not able or any(order != able[0][1] for _, order in able):
        return []
    return [Known(able[0][0], "told by the adapter's names" if adapter else "told by the names")]


def order_of(names: Sequence[str], architecture: Architecture) -> list[int] | None:
    """Places of `names` in module order; None where two siblings are in no known order."""
    ranks = {label: rank for rank, label in enumerate((*WRAPPERS, *ADAPTERS, *architecture.order))}
    siblings: dict[tuple[str, ...], set[tuple[bool, str]]] = {}
    for name in names:
        parts = tuple(name.split("."))
        for depth, part in enumerate(parts):
            siblings.setdefault(parts[:depth], set()).add((_is_module(parts, depth), part))
    if not all(_known(members, path[-1:], ranks) for path, members in siblings.items()):
        return None
    keys = [[_key(part, parent, inside, ranks) for part, parent, inside in _steps(name)] for name in names]
    return sorted(range(len(names)), key=lambda place: keys[place])


def _steps(name: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """(part, the part before it, whether more follow)."""
    parts = name.split(".")
    return [
        (part, tuple(parts[max(depth - 1, 0) : depth]), _is_module(parts, depth)) for depth, part in enumerate(parts)
    ]


def _is_module(parts: Sequence[str], depth: int) -> bool:
    return depth + 1 < len(parts) or parts[depth] in HOLDERS


def _known(members: set[tuple[bool, str]], parent: tuple[str, ...], ranks: Mapping[str, int]) -> bool:
    """Whether siblings of one kind can be put in order; parameters always come before modules."""
    for kind in (False, True):
        labels = [label for inside, label in members if inside is kind]
        if len(labels) > 1 and not all(_ordered(label, parent, inside=kind, ranks=ranks) for label in labels):
            return False
    return True


def _ordered(label: str, parent: tuple[str, ...], *, inside: bool, ranks: Mapping[str, int]) -> bool:
    return _rank(label, parent, ranks) is not None or label.isdecimal() or (not inside and label in LEAVES)


def _rank(label: str, parent: tuple[str, ...], ranks: Mapping[str, int]) -> int | None:
    """An entry with the parent's name before it ("predictions.dense") goes before the plain one."""
    return ranks.get(".".join((*parent, label)), ranks.get(label))


def _key(part: str, parent: tuple[str, ...], inside: bool, ranks: Mapping[str, int]) -> tuple[bool, int, int]:
    """Own parameters first, weight before bias; then modules by number or by the architecture's order."""
    if not inside and part in LEAVES:
        return False, -1, LEAVES.index(part)
    rank = _rank(part, parent, ranks)
    number = int(part) if part.isdecimal() and len(part) < 9 else 0
    return inside, len(ranks) if rank is None else rank, number
