"""The paths of a command that takes several: patterns that the shell left as they are are expanded here."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass

from optinspect.errors import OptinspectError, UnreadableFile


@dataclass(frozen=True, slots=True)
class Target:
    """A path to look at, or why there is none: a pattern that matches nothing."""

    path: str
    problem: OptinspectError | None = None


def targets(paths: Sequence[str]) -> list[Target]:
    """Each path once, patterns (*, ?, [], **) expanded in natural order; what exists as it is written is no pattern."""
    found: dict[str, Target] = {}
    for path in paths:
        for each in _expanded(path):
            found.setdefault(each.path, each)
    return list(found.values())


def _expanded(path: str) -> list[Target]:
    if not glob.has_magic(path) or os.path.lexists(path):
        return [Target(path)]
    from optinspect.directories.folder import natural  # noqa: PLC0415  most runs have no pattern

    matching = natural(glob.glob(path, recursive=True))  # noqa: PTH207  keeps the path as it was written
    nothing = UnreadableFile(f"{path}: matches nothing", hint="quote a pattern, or give the path itself")
    return [Target(each) for each in matching] or [Target(path, nothing)]
