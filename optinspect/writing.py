"""The one way into a file that the user named: a new or an ordinary one whole or not at all, anything else as it is.

"-", /dev/stdout, /dev/stderr, /dev/fd/N   the open file that they name, from where it stands
a pipe (FIFO), a character device          opened and written to, never replaced; needs no force
a symbolic link                            what it leads to; the link stays
a directory, a disk                        refused
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from optinspect.containers.wording import line
from optinspect.errors import UnreadableFile, UsageError

STREAMS = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")
REPLACE = "add --force to replace it"
BESIDE = 40
"""Characters of a file's name that the name of its unfinished copy begins with."""


def is_stdout(name: str) -> bool:
    return _descriptor(name) == 1


def check(name: str, *, force: bool, where: str | None = None, hint: str = REPLACE) -> None:
    """Refuse what can be refused before the work is done. `where`: how an error calls it. Raises UsageError.

    `force`: an ordinary file may be replaced (or is appended to); `hint` says what helps where it may not.
    """
    if _descriptor(name) is not None:
        return
    where = where or name
    if not name:
        raise UsageError("no file is named to write to")
    mode = _mode(name, where)
    if mode is None:
        folder = Path(os.path.realpath(name)).parent
        if not folder.is_dir():
            raise UsageError(line(where, f"no such folder as {folder}"))
    elif stat.S_ISDIR(mode):
        raise UsageError(line(where, "is a directory"), hint="name a file in it")
    elif stat.S_ISBLK(mode):
        raise UsageError(line(where, "is a disk (a file expected)"))
    elif stat.S_ISREG(mode) and not force:
        raise UsageError(line(where, "exists already"), hint=hint)


def is_ordinary(name: str) -> bool:
    """Whether an ordinary file is what `name` leads to, or would be: nothing is there yet."""
    if _descriptor(name) is not None:
        return False
    mode = _mode(name, name)
    return mode is None or stat.S_ISREG(mode)


def write(name: str, fill: Callable[[IO[bytes]], object], *, force: bool) -> None:
    """What `fill` writes. Without `force`, an ordinary file that appeared meanwhile is kept.

    Raises UsageError for such a file, UnreadableFile where the writing fails: an ordinary file is then as it was.
    """
    try:
        stream = _opened(name)
        if stream is None:
            _write_beside(Path(os.path.realpath(name)), fill, force)
            return
        with stream:
            fill(stream)
    except (OSError, RuntimeError) as problem:  # torch.save raises the latter on a full disk
        raise UnreadableFile(line(name, f"not written: {getattr(problem, 'strerror', None) or problem}")) from problem


def write_utf8(name: str, text: str, *, force: bool) -> None:
    """`text` in UTF-8, likewise."""
    write(name, lambda stream: stream.write(_encoded(text)), force=force)


def append_utf8(name: str, text: str) -> None:
    """`text` behind what is in the file, after a blank line. Raises UnreadableFile."""
    try:
        with _opened(name) or Path(name).open("ab") as stream:
            before = os.fstat(stream.fileno()).st_size  # a pipe or a device has none
            stream.write(_encoded(f"\n{text}" if before else text))
    except OSError as problem:
        raise UnreadableFile(line(name, f"not written: {problem.strerror or problem}")) from problem


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _descriptor(name: str) -> int | None:
    """The number of the open file that `name` stands for: opening it anew would cut an ordinary file short."""
    numbered = NUMBERED.fullmatch(name)
    return int(numbered[1]) if numbered else STREAMS.get(name)


def _mode(name: str, where: str) -> int | None:
    """What the name leads to, as st_mode; None where nothing is there. Raises UsageError where that cannot be told."""
    try:
        return os.stat(name).st_mode  # noqa: PTH116  the name as it was given
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as problem:
        told = getattr(problem, "strerror", None) or problem
        raise UsageError(line(where, f"cannot be written: {told}")) from None


def _opened(name: str) -> IO[bytes] | None:
    """What is written to as it is; None for an ordinary file."""
    number = _descriptor(name)
    if number is not None:
        with suppress(OSError):  # whoever wrote there before us
            sys.stdout.flush()
        return os.fdopen(os.dup(number), "wb")
    if is_ordinary(name):
        return None
    return os.fdopen(os.open(name, os.O_WRONLY), "wb")  # neither made nor cut short


def _write_beside(path: Path, fill: Callable[[IO[bytes]], object], force: bool) -> None:
    """Beside `path`, then moved to it in one step."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:BESIDE]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        _allow_as_umask(Path(temporary))
        _move(Path(temporary), path, force)
    finally:
        with suppress(OSError):
            Path(temporary).unlink()


def _move(source: Path, path: Path, force: bool) -> None:
    """Without `force`, a file that appeared meanwhile is kept: a hard link refuses to replace."""
    if force:
        source.replace(path)
        return
    try:
        os.link(source, path)
    except FileExistsError:
        raise UsageError(line(path, "exists already"), hint=REPLACE) from None
    except OSError:  # a file system without hard links
        source.replace(path)


def _allow_as_umask(path: Path) -> None:
    """mkstemp makes files that only their owner may read; ours are ordinary ones."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
