"""What can be said without the file's key order (safetensors sorts its header): module order rebuilt from the shapes.

Some of `named_parameters()` order does not depend on how a model was written: a module's own parameters come before
its submodules', weight before bias, numbered modules by number. The order of named siblings is unknown, but the same
in every repeated block. All sibling orders are tried against the shapes; what they agree on is named, the rest is not.
Siblings that look alike (ln_1 and ln_2, query and key) are never told apart here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import factorial, prod
from typing import Any

from optinspect.naming.question import Shape

STEPS = 200_000
"""Parameters placed before giving up: about 0.3 s in CPython 3.11, measured."""
ENOUGH = 512
"""Orders found before giving up: what so many agree on is little."""

_OWN_ORDER = ("weight", "weight_ih", "weight_hh", "bias", "bias_ih", "bias_hh")

Choice = tuple[str, bool, frozenset[str]]
"""Where an order is to be found: a template, its own parameters or its submodules, and which of them there are."""
Decided = dict[Choice, tuple[str, ...]]
Agenda = tuple[Any, Any] | None
"""A stack as a linked list: shared between branches, never changed."""


@dataclass
class Module:
    """A node of the tree of names. template: its path, numbers taken out; own: leaf → place in the pool."""

    template: str
    own: dict[str, int] = field(default_factory=dict)
    children: dict[str, Module] = field(default_factory=dict)


@dataclass(frozen=True)
class Rebuilt:
    """place: per group and member, or None where orders differ. solutions: how many sibling orders fit the shapes."""

    places: Sequence[Sequence[int | None]]
    solutions: int


class TooManyOrders(Exception):
    """More orders to try than the budget allows, or more that fit than would agree on much."""


@dataclass
class Budget:
    """Steps left, over all the splits and choices that are tried on one optimizer."""

    steps: int = STEPS

    def spend(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise TooManyOrders


def rebuild(
    names: Sequence[str],
    shapes: Sequence[Shape],
    owner: Sequence[int],
    groups: Sequence[Sequence[Shape | None]],
    budget: Budget,
) -> Rebuilt | None:
    """The common part of all module orders under which the groups' shapes agree; None where none does.

    names, shapes, owner: per parameter, owner being the group that takes it. groups: the members' shapes, in order.
    Raises TooManyOrders.
    """
    if Counter(owner) != Counter({number: len(group) for number, group in enumerate(groups) if group}):
        return None
    search = _Search(_tree(names), shapes, owner, groups, budget)
    found = list(search.run())
    if not found:
        return None
    places: list[list[int | None]] = [[] for _ in groups]
    for number, members in enumerate(zip(*found, strict=True)):
        for options in zip(*members, strict=True):
            same = len(set(options)) == 1 and options[0] not in search.alike
            places[number].append(options[0] if same else None)
    return Rebuilt(places, len(found) * search.swaps)


def _tree(names: Sequence[str]) -> Module:
    root = Module("")
    for place, name in enumerate(names):
        *path, leaf = name.split(".")
        module = root
        for part in path:
            template = f"{module.template}.{'#' if part.isdigit() else part}"
            module = module.children.setdefault(part, Module(template))
        module.own[leaf] = place
    return root


class _Search:
    def __init__(
        self,
        root: Module,
        shapes: Sequence[Shape],
        owner: Sequence[int],
        groups: Sequence[Sequence[Shape | None]],
        budget: Budget,
    ) -> None:
        self.root, self.shapes, self.owner, self.groups = root, shapes, owner, groups
        self.budget = budget
        self.signatures: dict[Choice, dict[str, list[str]]] = {}
        self._sign(root)
        self.alike: set[int] = set()
        self.swaps = 1
        self._find_alike()

    def run(self) -> Iterator[list[list[int]]]:
        for found, result in enumerate(self._go((self.root, None), {}, [[] for _ in self.groups])):
            if found == ENOUGH:
                raise TooManyOrders
            yield result

    def _go(self, agenda: Agenda, decided: Decided, laid: list[list[int]]) -> Iterator[list[list[int]]]:
        while agenda is not None:
            item, agenda = agenda
            if isinstance(item, int):
                if not self._place(item, laid):
                    return
            elif isinstance(item, Module):
                agenda = ((item, True, (), _labels(item, True)), ((item, False, (), _labels(item, False)), agenda))
            else:
                module, own, chosen, left = item
                order = None if chosen else decided.get(_choice(module, own)) or _known_order(left, own)
                if order is not None:
                    for label in reversed(order):
                        agenda = (_child(module, own, label), agenda)
                elif not left:
                    decided = {**decided, _choice(module, own): chosen}
                else:
                    yield from self._branch(item, agenda, decided, laid)
                    return
        yield laid

    def _branch(self, item: Any, agenda: Agenda, decided: Decided, laid: list[list[int]]) -> Iterator[list[list[int]]]:
        module, own, chosen, left = item
        signatures = self.signatures[_choice(module, own)]
        tried: list[list[str]] = []
        for label in left:
            if signatures[label] in tried:
                continue
            tried.append(signatures[label])
            rest = tuple(other for other in left if other != label)
            following = (_child(module, own, label), ((module, own, (*chosen, label), rest), agenda))
            yield from self._go(following, decided, [list(members) for members in laid])

    def _place(self, place: int, laid: list[list[int]]) -> bool:
        self.budget.spend()
        number = self.owner[place]
        shapes, members = self.groups[number], laid[number]
        if len(members) == len(shapes) or shapes[len(members)] not in (None, self.shapes[place]):
            return False
        members.append(place)
        return True

    def _sign(self, module: Module) -> str:
        """A module's looks without its names; collected over all repeats of a block."""
        looks = {
            True: {leaf: repr((self.shapes[place], self.owner[place])) for leaf, place in module.own.items()},
            False: {label: self._sign(child) for label, child in module.children.items()},
        }
        for own, table in looks.items():
            collected = self.signatures.setdefault(_choice(module, own), {})
            for label, look in table.items():
                collected.setdefault(label, []).append(look)
        return repr([sorted(table.values()) for table in looks.values()])

    def _find_alike(self) -> None:
        twins: dict[Choice, set[str]] = {}
        for choice, table in self.signatures.items():
            if not table or _known_order(tuple(table), choice[1]) is not None:
                continue
            classes: dict[tuple[str, ...], list[str]] = {}
            for label, look in table.items():
                classes.setdefault(tuple(look), []).append(label)
            twins[choice] = {label for labels in classes.values() if len(labels) > 1 for label in labels}
            self.swaps *= prod(factorial(len(labels)) for labels in classes.values())
        self._mark(self.root, twins, inside=False)

    def _mark(self, module: Module, twins: dict[Choice, set[str]], *, inside: bool) -> None:
        own: set[str] = twins.get(_choice(module, True), set())
        children: set[str] = twins.get(_choice(module, False), set())
        self.alike.update(place for leaf, place in module.own.items() if inside or leaf in own)
        for label, child in module.children.items():
            self._mark(child, twins, inside=inside or label in children)


def _choice(module: Module, own: bool) -> Choice:
    return module.template, own, frozenset(_labels(module, own))


def _labels(module: Module, own: bool) -> tuple[str, ...]:
    return tuple(module.own if own else module.children)


def _child(module: Module, own: bool, label: str) -> int | Module:
    return module.own[label] if own else module.children[label]


def _known_order(labels: tuple[str, ...], own: bool) -> tuple[str, ...] | None:
    """Numbers ascend; weight comes before bias; one label has no order to find."""
    if len(labels) == 1:
        return labels
    if all(label.isdigit() for label in labels):
        return tuple(sorted(labels, key=int))
    if own and all(label in _OWN_ORDER for label in labels):
        return tuple(sorted(labels, key=_OWN_ORDER.index))
    return None
