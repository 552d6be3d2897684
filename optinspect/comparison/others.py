"""What is neither weight, state nor hyperparameter: companions, counters, configurations and the rest, by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optinspect.checkpoint import Checkpoint, Companion
from optinspect.comparison.alignment import Pair
from optinspect.comparison.plain import ABSENT, Tolerance, Value, differences
from optinspect.comparison.tensors import read_values
from optinspect.comparison.weights import Models
from optinspect.layouts.base import join
from optinspect.tensors import CompositeRef, TensorRef

Item = tuple[str, Any, Any]


def others(
    a: Checkpoint,
    b: Checkpoint,
    pairs: Sequence[Pair],
    models: Models,
    optimizers: Mapping[int, int],
    tolerance: Tolerance,
) -> list[Value]:
    """Every other value that differs, by its path in `a` (in `b` where only that has it). Raises FileChanged."""
    found = [*_lonely(a, b, models)]
    for route, one, two in _items(a, b, pairs, optimizers):
        found += read_values(list(differences(route, one, two, tolerance)), tolerance)
    return found


def _items(a: Checkpoint, b: Checkpoint, pairs: Sequence[Pair], optimizers: Mapping[int, int]) -> Iterator[Item]:
    """Everything to be compared, each path once."""
    seen: set[str] = set()
    for route, one, two in _every_item(a, b, pairs, optimizers):
        if route not in seen:
            seen.add(route)
            yield route, one, two


def _every_item(a: Checkpoint, b: Checkpoint, pairs: Sequence[Pair], optimizers: Mapping[int, int]) -> Iterator[Item]:
    for number, optimizer in enumerate(a.optimizers):
        if number in optimizers:
            for key, old, new in _of_mapping(optimizer.extra, b.optimizers[optimizers[number]].extra):
                yield join(optimizer.route, key), old, new
    yield from _slots(a, pairs)
    for of_a, of_b in ((a.schedulers, b.schedulers), (a.scalers, b.scalers), (a.rng, b.rng)):
        yield from _companions(of_a, of_b)
    yield from _of_mapping({**a.other, **a.counters}, {**b.other, **b.counters})
    one, two = (dict(checkpoint.trees[0].metadata) if checkpoint.trees else {} for checkpoint in (a, b))
    if one and two:
        yield "__metadata__", one, two


def _of_mapping(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[Item]:
    for key in dict.fromkeys((*one, *two)):
        yield key, one.get(key, ABSENT), two.get(key, ABSENT)


def _slots(a: Checkpoint, pairs: Sequence[Pair]) -> Iterator[Item]:
    """What a state keeps beside its tensors and its step."""
    for pair in pairs:
        if pair.a is None or pair.b is None:
            continue
        one, two = (_plain_slots(each.state.slots) for each in (pair.a, pair.b))
        route = f"{a.optimizers[pair.a.optimizer].route}.state[{pair.best.label}]"
        for slot in one:
            if slot in two:
                yield f"{route}.{slot}", one[slot], two[slot]


def _plain_slots(slots: Mapping[str, Any]) -> dict[str, Any]:
    return {
        slot: value
        for slot, value in slots.items()
        if slot != "step" and not isinstance(value, TensorRef | CompositeRef)
    }


def _companions(a: Sequence[Companion], b: Sequence[Companion]) -> Iterator[Item]:
    """By route, the others in their order."""
    left = list(b)
    rest: list[Companion] = []
    for one in a:
        two = next((each for each in left if each.route == one.route), None)
        if two is None:
            rest.append(one)
        else:
            left.remove(two)
            yield one.route, one.value, two.value
    for one in rest:
        two = next((each for each in left if each.name == one.name), left[0] if left else None)
        if two is not None:
            left.remove(two)
        yield one.route, one.value, two.value if two is not None else ABSENT
    for two in left:
        yield two.route, ABSENT, two.value


def _lonely(a: Checkpoint, b: Checkpoint, models: Models) -> Iterator[Value]:
    """Models without a partner, and optimizers where the other side has none at all."""
    for model in models.lonely_a:
        yield Value(
            model.route, f"{len(model.entries)} tensors", None, "disappeared", f"a {model.role} that b does not have"
        )
    for model in models.lonely_b:
        yield Value(
            model.route, None, f"{len(model.entries)} tensors", "appeared", f"a {model.role} that a does not have"
        )
    for one in a.optimizers if not b.optimizers else ():
        yield Value(
            one.route, f"{len(one.parameters)} parameters", None, "disappeared", "an optimizer that b does not have"
        )
    for two in b.optimizers if not a.optimizers else ():
        yield Value(
            two.route, None, f"{len(two.parameters)} parameters", "appeared", "an optimizer that a does not have"
        )
