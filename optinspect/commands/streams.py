"""stdout and stderr as they may be: closed, a pipe whose reader has gone, a full disk, an encoding of few letters."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from optinspect.errors import UnreadableFile


def provide() -> None:
    """Give a process that was started without stdout or stderr (`>&-`, a service) one that refuses, one that forgets.

    Else the next file that is opened, a checkpoint, would get the number of what is missing.
    """
    if sys.stdout is None:  # whoever asks for a report and cannot get it is told so: not open for writing
        sys.stdout = _null(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _null(os.O_WRONLY)


def _null(access: int) -> TextIO:
    return os.fdopen(os.open(os.devnull, access), "w", encoding="utf-8")


def forget(stream: TextIO) -> None:
    """Let nothing that is still buffered in `stream` fail when the process ends."""
    with suppress(OSError, ValueError):  # a stream of a test or a notebook has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _writing() -> Iterator[None]:
    """A reader that has seen enough (`| head`) is no error; a full disk is one, whose report nobody has."""
    try:
        yield
    except BrokenPipeError:
        forget(sys.stdout)
    except OSError as problem:
        forget(sys.stdout)
        raise unwritten(problem) from problem


def unwritten(problem: OSError) -> UnreadableFile:
    if problem.errno == errno.EBADF:
        return UnreadableFile("stdout: not written: it is closed", hint="use -o FILE")
    return UnreadableFile(f"stdout: not written: {problem.strerror or problem}", hint="use -o FILE on another disk")


def write_out(text: str) -> None:
    """To stdout, in its encoding: a character that it lacks is written as an escape. Raises UnreadableFile."""
    encoding = sys.stdout.encoding or "utf-8"
    with _writing():
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


def write_path(path: str) -> None:
    """A path as a line on stdout, in the very bytes that the file system has for it: a script opens it again."""
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        write_out(f"{path}\n")
        return
    with _writing():
        sys.stdout.flush()
        stream.write(os.fsencode(path) + b"\n")
        stream.flush()


def write_error(line: str) -> None:
    """One line to stderr; where nobody can read it, the exit status still tells."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        forget(sys.stderr)
