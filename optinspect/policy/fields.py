"""One YAML node as the kind of value that a key takes; anything else is an error at its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import TypeVar

import yaml

from optinspect.containers.wording import printable
from optinspect.errors import UsageError
from optinspect.policy.document import refusal

NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
"""YAML 1.1 takes 1e-3 for a text and 010 for 8; here 1e-3 is a number, and 010 none."""
KINDS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "map", "seq")
TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in KINDS)
SHOWN = 6
"""Words listed when none of them was written."""
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Item:
    """A node of the file at `path`; `key` is what it is called there ("expect.lr")."""

    node: yaml.Node
    path: str
    key: str

    def refuse(self, found: str) -> UsageError:
        return refusal(self.path, self.node.start_mark, found)

    def unlike(self, expected: str) -> UsageError:
        """`expect.groups is 'two' (a whole number expected)`."""
        return self.refuse(f"{self.key or 'the policy'} is {self.described} ({expected} expected)")

    @property
    def described(self) -> str:
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        return repr(printable(str(self.node.value), 40)) if str(self.node.value) else "empty"

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    def text(self, expected: str = "a text") -> str:
        """What stands there, whatever YAML would make of it: `on` and `0` are names of parameters."""
        self._plain_tag()
        if not isinstance(self.node, yaml.ScalarNode) or not str(self.node.value).strip():
            raise self.unlike(expected)
        if self.node.style is None and self.node.tag.endswith(":null"):
            raise self.unlike(expected)
        return str(self.node.value)

    def number(self, low: float = 0, high: float = float("inf"), kind: str = "number") -> float:
        """A finite number in [low, high], not in quotes."""
        upper = f" to {high:g}" if isfinite(high) else " on"
        expected = f"a {kind} from {low:g}{upper}"
        node, value = self.node, None
        self._plain_tag()
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            value = float(node.value) if NUMBER.fullmatch(node.value) else None
        if value is None or not isfinite(value) or not low <= value <= high:
            raise self.unlike(expected)
        return value

    def whole(self, low: int = 0) -> int:
        """Also as 1e5, or 2.0."""
        value = self.number(low, kind="whole number")
        if not value.is_integer():
            raise self.unlike(f"a whole number from {low} on")
        return int(value)

    def word(self, known: Collection[str]) -> str:
        """One of the known words."""
        word = self.text(f"one of {listed(known)}")
        if word not in known:
            raise self.unlike(meant(word, known))
        return word

    def items(self) -> list[Item]:
        """Of a list that is not empty."""
        if not isinstance(self.node, yaml.SequenceNode) or not self.node.value:
            raise self.unlike("a list of one or more")
        return self.members()

    def members(self) -> list[Item]:
        """Of a list, which may be empty."""
        self._plain_tag()
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.unlike("a list")
        return [Item(node, self.path, f"{self.key}[{place}]") for place, node in enumerate(self.node.value)]

    def one_or_more(self) -> list[Item]:
        """A list, or the one thing that stands for a list of one."""
        return self.items() if self.is_list else [self]

    def entries(self) -> list[tuple[Item, Item]]:
        """Key and value of a mapping, each key once."""
        self._plain_tag()
        if not isinstance(self.node, yaml.MappingNode):
            raise self.unlike("a mapping")
        found: dict[str, tuple[Item, Item]] = {}
        for key_node, node in self.node.value:
            key = Item(key_node, self.path, f"a key of {self.key}" if self.key else "a key")
            word = key.text()
            if word in found:
                first = found[word][0].node.start_mark.line + 1
                raise key.refuse(f"{printable(word, 40)!r} stands in line {first} already")
            part = printable(word, 40)
            found[word] = key, Item(node, self.path, f"{self.key}.{part}" if self.key else part)
        return list(found.values())

    def section(self, known: Collection[str]) -> Section:
        """The values of a mapping by their keys, all of which are known."""
        found = {}
        for key, value in self.entries():
            word = key.text()
            if word not in known:
                of = f" of {self.key}" if self.key else ""
                raise key.refuse(f"unknown key {printable(word, 40)!r}{of} ({meant(word, known)} expected)")
            found[word] = value
        return Section(found)

    def _plain_tag(self) -> None:
        if self.node.tag not in TAGS:
            raise self.refuse(f"the tag {printable(self.node.tag, 40)!r} is not read (plain values expected)")


@dataclass(frozen=True, slots=True)
class Section:
    """The values of a mapping by their keys."""

    found: Mapping[str, Item]

    def value(self, key: str, read: Callable[[Item], Value]) -> Value | None:
        return read(self.found[key]) if key in self.found else None

    def values(self, key: str, read: Callable[[Item], Value]) -> tuple[Value, ...]:
        """Of a list, or of the one thing that stands for a list of one; none where the key is not there."""
        return tuple(map(read, self.found[key].one_or_more())) if key in self.found else ()


def meant(word: str, known: Collection[str]) -> str:
    """What was probably meant, or what there is."""
    same = [each for each in known if each.casefold() == word.casefold()]
    close = same or get_close_matches(word, known, 1) or get_close_matches(word.lower(), known, 1)
    return close[0] if close else f"one of {listed(known)}"


def listed(words: Iterable[str]) -> str:
    every = list(words)
    return ", ".join(every[:SHOWN]) + (", …" if len(every) > SHOWN else "")
