"""The groups of two checkpoints, brought together by their members, however they were renumbered or split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optinspect.checkpoint import Checkpoint, ParamGroup
from optinspect.comparison.alignment import Pair
from optinspect.comparison.effects import effect
from optinspect.comparison.plain import ABSENT, Tolerance, differences
from optinspect.comparison.tensors import read_values

Place = tuple[int, int]
"""Optimizer and group."""

Happened = Literal["changed", "appeared", "disappeared"]


@dataclass(frozen=True, slots=True)
class GroupPair:
    """Two groups with members in common, or with nothing but their number; one of them None: added or removed.

    members   parameters that both have
    size_a, size_b   parameters of each
    """

    a: Place | None
    b: Place | None
    members: int
    size_a: int
    size_b: int


@dataclass(frozen=True, slots=True)
class Setting:
    """A hyperparameter that differs. `a` or `b` is None where the key is not there: `happened` tells."""

    group_a: Place | None
    group_b: Place | None
    key: str
    a: Any
    b: Any
    happened: Happened
    effect: str | None


def pair_groups(a: Checkpoint, b: Checkpoint, pairs: Sequence[Pair], optimizers: Mapping[int, int]) -> list[GroupPair]:
    """For each group the one on the other side that shares most members with it, each two once.

    A group without members in common goes by its number. Ties: the group of the same number, then the first.
    """
    shared = Counter((_place(pair.a), _place(pair.b)) for pair in pairs if pair.a is not None and pair.b is not None)
    groups_a, groups_b = _groups(a), _groups(b)
    chosen: dict[tuple[Place, Place], int] = {}
    for at_a in groups_a:
        _choose(at_a, [(two, n) for (one, two), n in shared.items() if one == at_a], chosen, flip=False)
    for at_b in groups_b:
        _choose(at_b, [(one, n) for (one, two), n in shared.items() if two == at_b], chosen, flip=True)
    used_a, used_b = {one for one, _ in chosen}, {two for _, two in chosen}
    for at_a in groups_a:
        at_b = (optimizers.get(at_a[0], -1), at_a[1])
        if at_a not in used_a and at_b in groups_b and at_b not in used_b:
            chosen[at_a, at_b] = 0
            used_a.add(at_a)
            used_b.add(at_b)
    found = [
        GroupPair(one, two, n, len(groups_a[one].params), len(groups_b[two].params))
        for (one, two), n in sorted(chosen.items())
    ]
    found += [GroupPair(one, None, 0, len(g.params), 0) for one, g in groups_a.items() if one not in used_a]
    return found + [GroupPair(None, two, 0, 0, len(g.params)) for two, g in groups_b.items() if two not in used_b]


def _choose(
    own: Place, others: Iterable[tuple[Place, int]], chosen: dict[tuple[Place, Place], int], *, flip: bool
) -> None:
    best = max(others, key=lambda each: (each[1], each[0][1] == own[1], -each[0][0], -each[0][1]), default=None)
    if best is not None:
        other, members = best
        chosen[(other, own) if flip else (own, other)] = members


def _place(subject: Any) -> Place:
    return subject.optimizer, subject.group.number


def _groups(checkpoint: Checkpoint) -> dict[Place, ParamGroup]:
    return {
        (number, group.number): group
        for number, optimizer in enumerate(checkpoint.optimizers)
        for group in optimizer.groups
    }


def settings(a: Checkpoint, b: Checkpoint, pairs: Iterable[GroupPair], tolerance: Tolerance) -> Iterator[Setting]:
    """Every hyperparameter that differs between two groups that belong together, in the file's order of keys."""
    groups_a, groups_b = _groups(a), _groups(b)
    for pair in pairs:
        if pair.a is None or pair.b is None:
            yield from _whole_group(pair)
            continue
        one, two = groups_a[pair.a].hyperparameters, groups_b[pair.b].hyperparameters
        count = pair.members or pair.size_b
        for key in dict.fromkeys((*one, *two)):
            old, new = one.get(key, ABSENT), two.get(key, ABSENT)
            if next(read_values(list(differences(key, old, new, tolerance)), tolerance), None) is None:
                continue
            happened: Happened = "appeared" if old is ABSENT else "disappeared" if new is ABSENT else "changed"
            said = effect(key, old, new, one, two, count) if happened == "changed" else None
            yield Setting(pair.a, pair.b, key, _given(old), _given(new), happened, said)


def _whole_group(pair: GroupPair) -> Iterator[Setting]:
    size = pair.size_a or pair.size_b
    told = f"{size:,} parameter{'s' * (size != 1)}"
    if pair.a is None:
        yield Setting(None, pair.b, "params", None, told, "appeared", "a group that a does not have")
    else:
        yield Setting(pair.a, None, "params", told, None, "disappeared", "a group that b does not have")


def _given(value: Any) -> Any:
    return None if value is ABSENT else value
