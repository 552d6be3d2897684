"""The checkpoints in a directory and in the folders of it: files, and directories that are one checkpoint each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from optinspect.containers.wording import line
from optinspect.directories import DIRECTORIES, DirectoryLayout
from optinspect.directories.collected import SEPARATE
from optinspect.directories.deepspeed import DeepSpeed
from optinspect.directories.folder import DiskFolder
from optinspect.directories.trainer import Peft, Pretrained
from optinspect.directories.unknown import opens
from optinspect.directories.zero_files import TAG
from optinspect.errors import OptinspectError, UnreadableFile

MAX_DEPTH = 8
MAX_FOLDERS = 10_000
LOOKED_AT = 2_000
"""Files of other endings, in one folder, whose beginning is read to see whether they are checkpoints."""

SAVED = re.compile(r".*\.(?:pt|pth|ckpt|pt\.tar|pth\.tar)", re.IGNORECASE | re.DOTALL)
"""Endings that only checkpoints have: such a file is one that failed when it cannot be read."""
UNFINISHED = re.compile(r"(?:\.|tmp[-_.]).*|.*(?:\.tmp|\.temp|\.part|\.partial|\.incomplete|~)", re.DOTALL)
"""Names of what is still being written, or was never finished."""
BESIDE_TAGS = {"latest", "zero_to_fp32.py"}
"""What DeepSpeed writes beside the folders of its tags."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint may be. `sure`: its name alone says that it is meant to be one."""

    path: str
    sure: bool


@dataclass
class Search:
    """`unfinished` counts what was passed over by its name; `unlisted`: folders that could not be looked into."""

    unfinished: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def places(self, path: str) -> Iterator[Place]:
        """In natural order. Raises UnreadableFile for what is no directory, or cannot be listed."""
        if not os.path.isdir(path):  # noqa: PTH112  the path may be no valid Path
            there = "a file" if os.path.lexists(path) else "no such directory"
            raise UnreadableFile(line(path, f"{there} (a directory of checkpoints expected)"))
        self.seen.add(os.path.realpath(path))
        found = [(each, os.path.realpath(each.path)) for each in self._inside(path, DiskFolder(path), 0)]
        told = {real for each, real in found if not os.path.islink(each.path)}  # noqa: PTH114
        for each, real in found:
            link = os.path.islink(each.path)  # noqa: PTH114
            if not link or real not in told:  # last.ckpt → step=120.ckpt beside it is no other checkpoint
                told.add(real)
                yield each

    def _folder(self, path: str, depth: int) -> Iterator[Place]:
        where = os.path.realpath(path)
        if depth > MAX_DEPTH or where in self.seen or len(self.seen) >= MAX_FOLDERS:
            return
        self.seen.add(where)
        try:
            folder = DiskFolder(path)
        except OptinspectError:
            self.unlisted.append(path)
            return
        yield from self._inside(path, folder, depth)

    def _inside(self, path: str, folder: DiskFolder, depth: int) -> Iterator[Place]:
        layout = _layout(folder)
        if layout is None or _holds_tags(layout, folder):
            yield from self._files(folder, path)
        else:
            yield Place(path, layout.name not in WEIGHTS)
            if layout is not SEPARATE and layout.name not in WEIGHTS:
                return
        inner = [os.path.join(path, name) for name in folder.folders if self._is_finished(path, name)]  # noqa: PTH118
        for each in sorted(inner, key=os.path.islink):  # a folder that a link leads to goes by its own name
            yield from self._folder(each, depth + 1)

    def _files(self, folder: DiskFolder, path: str) -> Iterator[Place]:
        others = 0
        for name in folder.files:
            sure = SAVED.fullmatch(name) is not None
            others += not sure
            if not self._is_finished(path, name):
                continue
            if sure or (others <= LOOKED_AT and opens(folder, name)):
                yield Place(os.path.join(path, name), sure)  # noqa: PTH118

    def _is_finished(self, path: str, name: str) -> bool:
        if UNFINISHED.fullmatch(name) is None:
            return True
        if not name.startswith("."):
            self.unfinished.append(os.path.join(path, name))  # noqa: PTH118
        return False


WEIGHTS = (Pretrained.name, Peft.name)
"""Layouts of weights alone: training may have left its checkpoints in folders beside them."""


def _layout(folder: DiskFolder) -> DirectoryLayout | None:
    try:
        return next((layout for layout in DIRECTORIES if layout.recognises(folder)), None)
    except OptinspectError:
        return None


def _holds_tags(layout: DirectoryLayout, folder: DiskFolder) -> bool:
    """DeepSpeed's folder of several saves, each of which is a checkpoint; not a Trainer's folder around one."""
    tags = [name for name in folder.folders if TAG.fullmatch(name)]
    return isinstance(layout, DeepSpeed) and bool(tags) and (len(tags) > 1 or set(folder.files) <= BESIDE_TAGS)
