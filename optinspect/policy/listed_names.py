"""`names:` of a policy: what the user calls the optimizer's parameters, in its order."""

from __future__ import annotations

import os

from optinspect.containers.wording import line
from optinspect.errors import UsageError
from optinspect.naming.base import Told
from optinspect.policy.document import read_text
from optinspect.policy.fields import Item

MAX_BYTES = 16 << 20
"""200,000 names of 80 characters."""


def told(item: Item) -> tuple[Told, ...]:
    """A list, a file, or a mapping from an optimizer's route to either."""
    if not item.is_mapping:
        return (_told(item, None),)
    pairs = item.entries()
    if not pairs:
        raise item.unlike("names, a file of them, or a mapping of optimizers")
    return tuple(_told(value, key.text("a route")) for key, value in pairs)


def _told(item: Item, optimizer: str | None) -> Told:
    if item.is_mapping:
        raise item.unlike("a list of names, or a file of them")
    if not item.is_list:
        return Told((_from_file(item),), optimizer, flat=True)
    members = item.items()
    if not any(each.is_list for each in members):
        return Told((_names(members),), optimizer, flat=True)
    return Told(tuple(_names(each.members()) for each in members), optimizer)


def _names(items: list[Item]) -> tuple[str, ...]:
    first: dict[str, Item] = {}
    for each in items:
        name = each.text("a name")
        if name in first:
            where = first[name].node.start_mark.line + 1
            raise each.refuse(f"{each.key} is {each.described}, as in line {where} already (each name once expected)")
        first[name] = each
    return tuple(first)


def _from_file(item: Item) -> tuple[str, ...]:
    """One name a line, blank lines left out; the path is relative to the policy."""
    path = os.path.join(os.path.dirname(item.path), item.text("a file of names"))  # noqa: PTH118, PTH120
    if not os.path.exists(path):  # noqa: PTH110
        raise item.refuse(f"{item.key} is {item.described}: no such file (one name a line expected)")
    first: dict[str, int] = {}
    for number, text in enumerate(read_text(path, MAX_BYTES).splitlines(), 1):
        name = text.strip()
        if name in first:
            raise UsageError(line(f"{path}:{number}:1", f"{name[:60]!r} stands in line {first[name]} already"))
        if name:
            first[name] = number
    if not first:
        raise item.refuse(f"{item.key} is {item.described}: no name in it (one a line expected)")
    return tuple(first)
