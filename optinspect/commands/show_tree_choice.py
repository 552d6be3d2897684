"""What the command line asks of `show --tree`: how deep, how much of each container, and how it is laid out."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from optinspect.commands.emit import FOR_PEOPLE, Output
from optinspect.commands.options import parse_count
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a tree is listed; None: all of it.

    depth    levels below the root
    members  entries of one container
    brief    for people: of entries that are built alike the first two, and where some are left out, a row says so
    filters  globs on names and routes; one that begins with "!" leaves out what it matches, with all below it
    """

    depth: int | None = None
    members: int | None = None
    brief: bool = False
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trees:
    """What is wanted of a file's objects. beside: the model and the optimizer's state, level with each other."""

    extent: Extent
    beside: bool = False


def trees_of(
    tree: bool, beside: bool, depth: str | None, selection: Selection, output: Output, collapse: bool | None = None
) -> Trees | None:
    """None where no tree was asked for. A tree is short for people unless --no-collapse says otherwise.

    Raises UsageError.
    """
    levels = parse_count("--depth", depth)
    if not tree:
        if beside or levels is not None:
            option = "--side-by-side" if beside else "--depth"
            raise UsageError(f"{option}: belongs to --tree", hint=f"add --tree, or leave out {option}")
        return None
    members = sys.maxsize if collapse is False and selection.limit is None else selection.limit
    return Trees(Extent(levels, members, output.format in FOR_PEOPLE, selection.filters), beside)
