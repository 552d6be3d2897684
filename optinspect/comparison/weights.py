"""The models of two checkpoints, tensor by tensor: names are certain here, so nothing but names is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optinspect.checkpoint import Checkpoint, ModelEntry, ModelState

Place = tuple[int, str]
"""Number of a model in Checkpoint.models, and the name of one of its tensors."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a model in both checkpoints, or in one of them.

    name   with the model's route in front where several models are compared
    model  the number that both models of the pair go by
    """

    name: str
    model: int
    a: ModelEntry | None
    b: ModelEntry | None
    input_a: int = 0
    input_b: int = 0


@dataclass(frozen=True)
class Models:
    """What the models have in common, and the models that have no partner.

    numbers_a, numbers_b  number in Checkpoint.models → the number that both go by
    """

    weights: tuple[Weight, ...]
    lonely_a: tuple[ModelState, ...]
    lonely_b: tuple[ModelState, ...]
    numbers_a: Mapping[int, int] = field(default_factory=dict)
    numbers_b: Mapping[int, int] = field(default_factory=dict)
    by_place_a: Mapping[Place, Weight] = field(default_factory=dict)
    by_place_b: Mapping[Place, Weight] = field(default_factory=dict)

    @property
    def both(self) -> bool:
        return bool(self.numbers_a)


def pair_models(a: Checkpoint, b: Checkpoint) -> Models:
    """Models by route, the others in their order among those of one role; their tensors by name."""
    pairs = list(_paired(a.models, b.models))
    prefixed = len(pairs) > 1
    weights: list[Weight] = []
    by_place: tuple[dict[Place, Weight], dict[Place, Weight]] = ({}, {})
    for number, (at_a, at_b) in enumerate(pairs):
        one, two = a.models[at_a], b.models[at_b]
        prefix = f"{one.route}: " if prefixed and one.route else ""
        for weight in _weights(one, two, number, prefix):
            weights.append(weight)
            if weight.a is not None:
                by_place[0].setdefault((at_a, weight.a.name), weight)
            if weight.b is not None:
                by_place[1].setdefault((at_b, weight.b.name), weight)
    used_a, used_b = {at_a for at_a, _ in pairs}, {at_b for _, at_b in pairs}
    return Models(
        tuple(weights),
        tuple(model for number, model in enumerate(a.models) if number not in used_a),
        tuple(model for number, model in enumerate(b.models) if number not in used_b),
        {at_a: number for number, (at_a, _) in enumerate(pairs)},
        {at_b: number for number, (_, at_b) in enumerate(pairs)},
        *by_place,
    )


def _paired(a: Sequence[ModelState], b: Sequence[ModelState]) -> Iterator[tuple[int, int]]:
    left = dict(enumerate(b))
    rest: list[int] = []
    for at_a, one in enumerate(a):
        at_b = next((n for n, two in left.items() if (two.route, two.role) == (one.route, one.role)), None)
        if at_b is None:
            rest.append(at_a)
        else:
            del left[at_b]
            yield at_a, at_b
    for at_a in rest:
        at_b = next((n for n, two in left.items() if two.role == a[at_a].role), None)
        if at_b is not None:
            del left[at_b]
            yield at_a, at_b


def _weights(a: ModelState, b: ModelState, number: int, prefix: str) -> Iterator[Weight]:
    """Each tensor of `a` with every tensor of `b` that has one of its names, then what only `b` has."""
    seen: set[str] = set()
    for entry in a.entries:
        partners: dict[str, tuple[str, ModelEntry]] = {}
        for name in (entry.name, *entry.aliases):
            found = b.by_name.get(name)
            if found is not None:
                partners.setdefault(found.name, (name, found))
        seen.update(partners)
        if not partners:
            yield Weight(prefix + entry.name, number, entry, None, a.input, b.input)
        for name, found in partners.values():
            yield Weight(prefix + name, number, entry, found, a.input, b.input)
    for entry in b.entries:
        if entry.name not in seen:
            yield Weight(prefix + entry.name, number, None, entry, a.input, b.input)
