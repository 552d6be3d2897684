"""Groups joined into lanes: each lane is to be a subsequence of the parameters that a split gives it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from optinspect.naming.arrangements import Groups, ascending
from optinspect.naming.conventions import ALL, SPLITS, Split
from optinspect.naming.fits import groups_of
from optinspect.naming.question import Pool, Question, Shape

FORWARD = "first layer first"
BACKWARD = "last layer first"


@dataclass(frozen=True)
class Lanes:
    """members: indices per lane, in the order they should appear; owner: for each place the lane that may take it."""

    rule: str
    how: str
    members: Sequence[Sequence[int]]
    owner: Sequence[int]

    @property
    def title(self) -> str:
        return f"{self.rule}, {self.how}" if self.how else self.rule


def lanes(question: Question, pool: Pool, places: Sequence[int]) -> Iterator[Lanes]:
    """Per split, a lane for each class: its groups one after another, from the first or from the last."""
    groups = groups_of(question)
    supply = [pool.shapes[place] for place in places]
    seen: set[tuple[object, ...]] = set()
    for split in (ALL, *SPLITS) if len(groups) > 1 else (ALL,):
        labels = [split.label(pool.traits[place]) for place in places] if split is not ALL else [None] * len(places)
        allotted = _allot(split, labels, supply, groups)
        if allotted is None:
            continue
        lane = {label: number for number, label in enumerate(allotted)}
        owner = [lane[label] for label in labels]
        several = any(len(numbers) > 1 for numbers in allotted.values())
        for how in _directions(groups) if several else ("",):
            members = [_joined(question, numbers, how == BACKWARD) for numbers in allotted.values()]
            key = (*map(tuple, members), tuple(owner))
            if key not in seen:
                seen.add(key)
                rule = split.title if split is not ALL else "groups one after another" if several else "one group"
                yield Lanes(rule, how, members, owner)


def _directions(groups: Groups) -> tuple[str, ...]:
    said = ascending(groups)
    return (FORWARD, BACKWARD) if said is not False else (BACKWARD, FORWARD)


def _joined(question: Question, numbers: Sequence[int], backward: bool) -> list[int]:
    return [index for number in (reversed(numbers) if backward else numbers) for index in question.groups[number]]


def _allot(
    split: Split, labels: Sequence[Hashable], supply: Sequence[Shape], groups: Groups
) -> Mapping[Hashable, list[int]] | None:
    """class → its groups, by the shapes a class has; where these leave it open, by weight decay. None: cannot be."""
    held: dict[Hashable, set[Shape]] = {}
    for label, shape in zip(labels, supply, strict=True):
        held.setdefault(label, set()).add(shape)
    if len(held) > len(groups):
        return None
    decays = [(group.number_of("weight_decay") or 0.0) > 0 for group in groups.written]
    allotted: dict[Hashable, list[int]] = {label: [] for label in held}
    for number, shapes in enumerate(groups.shapes):
        known = {shape for shape in shapes if shape is not None}
        able = [label for label in held if known <= held[label]]
        if len(able) > 1 and split.decays:
            able = [label for label in able if (label in split.decays) == decays[number]] or able
        if len(able) > 1 and len(held) == len(groups):
            able = [label for label in able if not allotted[label]][:1]
        if len(able) != 1:
            return None
        allotted[able[0]].append(number)
    return allotted if all(allotted.values()) else None
