"""What a directory layout is given, and what it makes of it: one tree of all the files that belong together.

Folder ──layout.gather(Session)──▶ Found{root, …} ──▶ Checkpoint      the root's keys are the routes' first steps
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from optinspect.checkpoint import Problem
from optinspect.containers import open_source
from optinspect.containers.base import Limits, Tree
from optinspect.containers.wording import printable
from optinspect.directories.folder import Folder, read_json
from optinspect.errors import LimitExceeded, OptinspectError, TruncatedCheckpoint, UnreadableFile

Role = Literal["model", "ema", "copy"]
Kind = Literal["truncated", "missing", "integrity"]
MAX_ALIKE = 20


@dataclass(frozen=True, slots=True)
class Part:
    """One opened file: its name relative to the folder."""

    name: str
    tree: Tree


Tell = Callable[[int], None]
"""Takes the thousandths of the opening that were done since it was last called."""


@dataclass
class Share:
    """How much of the opening is done, in thousandths; whole ones are told."""

    tell: Tell | None = None
    done: float = 0.0

    def add(self, thousandths: float) -> None:
        if self.tell is not None:
            self.done += thousandths
            whole = int(self.done)
            self.done -= whole
            self.tell(whole)


@dataclass
class Session:
    """Opens the files of one folder. What is opened stays open until `stack` is closed.

    prefix  what names the folder, where it lies inside the one that was given
    share   what each file that is opened adds to
    """

    folder: Folder
    limits: Limits
    stack: ExitStack
    parts: list[Part] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alike: dict[tuple[Kind, str], int] = field(default_factory=dict)
    prefix: str = ""
    share: Share = field(default_factory=Share)

    def inside(self, name: str) -> Session:
        """The same session in a folder of this folder. Raises UnreadableFile, LimitExceeded."""
        return replace(self, folder=self.folder.inside(name), prefix=f"{self.prefix}{name}/")

    def open(self, name: str) -> Tree:
        """The file's tree. Raises what opening a file raises."""
        source = self.folder.source(name)
        try:
            tree = open_source(source, self.limits)
        except BaseException:
            for held in source.held:
                held.close()
            raise
        self.add(name, tree)
        return tree

    def add(self, name: str, tree: Tree) -> None:
        """A part of the checkpoint; it is closed with the session."""
        self.stack.enter_context(tree)
        self.parts.append(Part(self.prefix + name, tree))
        self.share.add(1000 / len(self.folder.files))

    def try_open(self, name: str) -> Tree | None:
        """As open; a file that cannot be read is a problem of the checkpoint. LimitExceeded is raised all the same."""
        try:
            return self.open(name)
        except LimitExceeded:
            raise
        except OptinspectError as error:
            self.problem(kind_of(error), name, found_in(error, name))
            return None

    def problem(self, kind: Kind, name: str, message: str) -> None:
        """Alike ones (of one kind and message) are listed MAX_ALIKE times, then counted: see `all_problems`."""
        seen = self.alike[kind, message] = self.alike.get((kind, message), 0) + 1
        if seen <= MAX_ALIKE:
            self.problems.append(Problem(kind, printable(self.prefix + name, 200), message))

    def all_problems(self) -> list[Problem]:
        more = [
            Problem(kind, "", f"{message}: {count - MAX_ALIKE:,} more")
            for (kind, message), count in self.alike.items()
            if count > MAX_ALIKE
        ]
        return [*self.problems, *more]

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object beside the checkpoint; empty where there is none."""
        if name not in self.folder.files:
            return {}
        try:
            value = read_json(self.folder, name)
        except OptinspectError as error:
            self.problem(kind_of(error), name, found_in(error, name))
            return {}
        if not isinstance(value, dict):
            self.problem("integrity", name, "no JSON object")
            return {}
        return value


def found_in(error: OptinspectError, name: str) -> str:
    """What was found in a file whose name is said beside it: without the path that the message begins with."""
    before, at, found = error.message.partition(f"{printable(name, 200)}: ")
    return found if at and (not before or before.endswith((os.sep, ": "))) else error.message


def kind_of(error: OptinspectError) -> Kind:
    if isinstance(error, TruncatedCheckpoint):
        return "truncated"
    return "missing" if isinstance(error, UnreadableFile) else "integrity"


@dataclass
class Found:
    """What the files hold together.

    root        the whole as one tree: {"model": …, "optimizer": …, "scheduler": …}
    unordered   keys of `root` whose names are in no module order (safetensors)
    config      what tells the architecture: config.json, if there is one
    roles       keys of `root` that hold copies of the weights
    buffers     names that the files themselves call buffers
    """

    root: dict[str, Any]
    unordered: frozenset[str] = frozenset()
    config: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    buffers: frozenset[str] = frozenset()


class DirectoryLayout(Protocol):
    """An entry of DIRECTORIES."""

    @property
    def name(self) -> str: ...

    def recognises(self, folder: Folder) -> bool: ...

    def gather(self, session: Session) -> Found:
        """Open what belongs to the checkpoint. Raises what opening a file raises where nothing can be shown."""
        ...
