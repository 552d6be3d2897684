"""Where the parts of a checkpoint lie: a directory on disk, or a zip archive of files, seen in the same way."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from optinspect.containers.base import Limits
from optinspect.containers.held_file import HeldFile
from optinspect.containers.source import Source
from optinspect.containers.wording import line
from optinspect.containers.zip_directory import Entry, read_directory
from optinspect.errors import LimitExceeded, UnreadableFile

MAX_NAMES = 100_000
MAX_TEXT = 64 << 20
"""Bytes of a JSON file that is read: logs of long runs take a few MB."""

SPARE = 200
"""Files that the process may have open beside those of a directory."""

_DIGITS = re.compile(r"(\d+)")


class Folder(Protocol):
    """Names of the files and folders in it (in natural order), and the bytes of a file. `path` is for messages."""

    @property
    def path(self) -> str: ...

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def folders(self) -> tuple[str, ...]: ...

    def source(self, name: str) -> Source:
        """A file's bytes, held open; the caller closes `source.held`. Raises UnreadableFile."""
        ...

    def inside(self, name: str) -> Folder: ...


def natural(names: Iterable[str]) -> tuple[str, ...]:
    """Sorted with numbers as numbers: shard 2 before shard 10."""
    return tuple(sorted(names, key=lambda name: [int(p) if p.isdigit() else p for p in _DIGITS.split(name)]))


class DiskFolder:
    """A directory. Raises UnreadableFile where it cannot be listed, LimitExceeded for too many names."""

    def __init__(self, path: str) -> None:
        self.path = path
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    (folders if entry.is_dir() else files).append(entry.name)
        except OSError as error:
            raise UnreadableFile(line(path, f"cannot be listed: {error.strerror}")) from None
        if len(files) + len(folders) > MAX_NAMES:
            raise LimitExceeded("names in a directory", MAX_NAMES, len(files) + len(folders), where=path)
        self.files, self.folders = natural(files), natural(folders)

    def source(self, name: str) -> Source:
        file = HeldFile(os.path.join(self.path, *name.split("/")))  # noqa: PTH118  any text is a name here
        return Source(file.path, file, (file,))

    def inside(self, name: str) -> DiskFolder:
        return DiskFolder(os.path.join(self.path, name))  # noqa: PTH118


@dataclass(frozen=True)
class ZipFolder:
    """The members of a zip archive that is held open; `entries` by name."""

    path: str
    files: tuple[str, ...]
    archive: Source
    entries: dict[str, Entry]
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, archive: Source, limits: Limits) -> ZipFolder:
        """Raises what read_directory raises."""
        entries = read_directory(archive, limits).by_name
        return cls(archive.path, natural(entries), archive, entries)

    def source(self, name: str) -> Source:
        """Closes nothing: the archive is the caller's."""
        return self.archive.within(name, self.entries[name].data(self.archive))

    def inside(self, name: str) -> Folder:
        raise UnreadableFile(line(self.path, f"no folder {name} in the archive"))


def allow_open(count: int) -> None:
    """Let this process have `count` files open, as far as the system lets it: 1,024 is a usual first limit."""
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE if hard == resource.RLIM_INFINITY else min(count + SPARE, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def read_text(folder: Folder, name: str, limit: int = MAX_TEXT) -> str:
    """A whole small file as text. Raises UnreadableFile, LimitExceeded."""
    source = folder.source(name)
    try:
        if source.size > limit:
            raise LimitExceeded("bytes of text", limit, source.size, where=source.path)
        return source.read(0, source.size).decode("utf-8", "replace")
    finally:
        for held in source.held:
            held.close()


def read_json(folder: Folder, name: str) -> Any:
    """The value of a JSON file; None where it is none. Raises UnreadableFile, LimitExceeded."""
    try:
        return json.loads(read_text(folder, name))
    except (ValueError, RecursionError):
        return None
