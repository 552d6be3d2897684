"""From a convention to who would stand where: the group contents that a split of the parameters leads to."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from optinspect.checkpoint import ParamGroup
from optinspect.naming.question import Shape

Positions = list[int]

MANY_GROUPS = 64
"""Beyond it only classes with exactly a group's shapes are looked at: comparing all with all is quadratic."""


FEW_GROUPS = 3
SMALL_GROUP = 8
"""What may be put right inside groups: with fewer groups, or in larger ones, too much would be made to fit."""


@dataclass(frozen=True)
class Groups:
    """The optimizer's groups that have members: their shapes (None unknown), and what is written in them."""

    shapes: Sequence[Sequence[Shape | None]]
    written: Sequence[ParamGroup]

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True)
class Arrangement:
    """groups: per group the positions in the pool; how: "" or how classes were laid out, for the report.

    called  every group's own name is that of its class
    """

    groups: Sequence[Positions]
    how: str = ""
    called: bool = False


def arrangements(
    classes: dict[Hashable, Positions], decays: frozenset[Hashable], groups: Groups, supply: Sequence[Shape]
) -> Iterator[Arrangement]:
    """Every layout of the classes whose group sizes agree, likeliest first. Shapes are compared by the caller."""
    if len(classes) > len(groups):
        return
    if len(classes) == len(groups):
        yield from _one_to_one(classes, groups, supply)
    if len(classes) < len(groups):
        yield from _tiled(classes, decays, groups, supply)


def differences(shapes: Sequence[Shape | None], positions: Positions, supply: Sequence[Shape]) -> int:
    """Members whose shape is known and not that of the parameter they would be; sizes must agree."""
    return sum(shape is not None and shape != supply[place] for shape, place in zip(shapes, positions, strict=True))


def repaired(arrangement: Arrangement, groups: Groups, supply: Sequence[Shape]) -> Arrangement:
    """With groups that run backwards turned round (skorch lists what a pattern matches from the end); with a few small
    ones in another order inside, their members put where the shapes say, equal ones in order."""
    turned = _turned(arrangement, groups, supply)
    if turned is not None:
        return turned
    if len(groups) < FEW_GROUPS:
        return arrangement
    off = [n for n in range(len(groups)) if differences(groups.shapes[n], arrangement.groups[n], supply)]
    if not off or 4 * len(off) > len(groups):
        return arrangement
    laid = list(arrangement.groups)
    for number in off:
        left, placed = list(laid[number]), []
        for shape in groups.shapes[number]:
            place = next((place for place in left if shape is None or supply[place] == shape), None)
            if place is None or len(laid[number]) > SMALL_GROUP:
                return arrangement
            left.remove(place)
            placed.append(place)
        laid[number] = placed
    return Arrangement(laid, arrangement.how, arrangement.called)


def _turned(arrangement: Arrangement, groups: Groups, supply: Sequence[Shape]) -> Arrangement | None:
    """The arrangement with every group that fits only backwards turned round; None where that does not settle all."""
    laid: list[Positions] = []
    for shapes, places in zip(groups.shapes, arrangement.groups, strict=True):
        fitting = [way for way in (places, places[::-1]) if not differences(shapes, way, supply)]
        if not fitting:
            return None
        laid.append(fitting[0])
    return Arrangement(laid, arrangement.how, arrangement.called) if laid != list(arrangement.groups) else None


def _one_to_one(classes: dict[Hashable, Positions], groups: Groups, supply: Sequence[Shape]) -> Iterator[Arrangement]:
    """A class per group: by shapes, then by what the group is called, then in order of first appearance."""
    in_order = sorted(classes.items(), key=lambda item: min(item[1]))
    alike: dict[tuple[Shape, ...], list[tuple[Hashable, Positions]]] = {}
    for item in in_order:
        alike.setdefault(tuple(supply[place] for place in item[1]), []).append(item)
    taken: set[Hashable] = set()
    called = True
    result: list[Positions] = []
    for shapes, written in zip(groups.shapes, groups.written, strict=True):
        near = alike.get(tuple(shapes), ()) or (in_order if len(groups) <= MANY_GROUPS else ())  # type: ignore[arg-type]
        able = [item for item in near if item[0] not in taken and len(item[1]) == len(shapes)]
        if not able:
            return
        label, positions = min(able, key=_distance(shapes, _text(written), supply))
        taken.add(label)
        result.append(positions)
        called = called and _called(_text(written), label) > 0
    yield Arrangement(result, called=called)


def _distance(
    shapes: Sequence[Shape | None], text: str, supply: Sequence[Shape]
) -> Callable[[tuple[Hashable, Positions]], tuple[int, int]]:
    return lambda item: (differences(shapes, item[1], supply), -_called(text, item[0]))


def _tiled(
    classes: dict[Hashable, Positions], decays: frozenset[Hashable], groups: Groups, supply: Sequence[Shape]
) -> Iterator[Arrangement]:
    allotted = _allot(classes, decays, groups, supply)
    if allotted is None:
        return
    directions = [("first layer first", False), ("last layer first", True)]
    if ascending(groups) is False:
        directions.reverse()
    for how, backward in directions:
        laid: list[Positions] = [[] for _ in range(len(groups))]
        for label, members in allotted.items():
            start, positions = 0, classes[label]
            for number in reversed(members) if backward else members:
                laid[number] = positions[start : start + len(groups.shapes[number])]
                start += len(groups.shapes[number])
        yield Arrangement(laid, how)


def _allot(
    classes: dict[Hashable, Positions], decays: frozenset[Hashable], groups: Groups, supply: Sequence[Shape]
) -> dict[Hashable, list[int]] | None:
    """class → numbers of its groups, by the shapes a class has; where these leave it open, by weight decay."""
    held = {label: {supply[place] for place in positions} for label, positions in classes.items()}
    allotted: dict[Hashable, list[int]] = {label: [] for label in classes}
    for number, shapes in enumerate(groups.shapes):
        known = {shape for shape in shapes if shape is not None}
        able = [label for label in classes if known <= held[label]]
        if len(able) > 1 and decays:
            decaying = bool(groups.written[number].number_of("weight_decay"))
            able = [label for label in able if (label in decays) == decaying] or able
        if len(able) != 1:
            return None
        allotted[able[0]].append(number)
    sizes = {label: sum(len(groups.shapes[number]) for number in members) for label, members in allotted.items()}
    return allotted if all(sizes[label] == len(classes[label]) for label in classes) else None


def ascending(groups: Groups) -> bool | None:
    """Whether later groups are later layers, which have the larger lr, or a larger number; None: not said."""
    for key in ("lr_scale", "initial_lr", "lr"):
        values = [value for value in (group.number_of(key) for group in groups.written) if value is not None]
        if len(values) > 1 and values[0] != values[-1]:
            return values[0] < values[-1]
    numbers = [int(found[0]) for found in (re.findall(r"[0-9]+", _text(group)) for group in groups.written) if found]
    return None if len(numbers) < 2 or numbers[0] == numbers[-1] else numbers[0] < numbers[-1]


def _text(group: ParamGroup) -> str:
    """What a group is called: its plain text values ("name", "group_name")."""
    return " ".join(value.lower() for value in group.hyperparameters.values() if isinstance(value, str))


def _called(text: str, label: Hashable) -> int:
    """How many words of a class' label occur in what the group is called."""
    words = [part for part in re.split(r"[^a-z0-9]+", str(label).lower()) if len(part) > 1]
    return sum(word in text for word in words) if text else 0
