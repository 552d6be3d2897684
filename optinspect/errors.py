"""What can go wrong, as a tree. `main()` turns each into one line, a hint and an exit status.

    OptinspectError                 exit 2 unless said otherwise
    ├── UsageError                  the command line or a call cannot be understood
    │   └── UnknownRoute            of one file: it has nothing at the route that was asked for (kind: UsageError)
    ├── UnreadableFile              missing, no permission, a directory, a pipe, an I/O error
    │   └── FileChanged             rewritten by somebody while we were reading it
    ├── NotACheckpoint              readable, but something else: HTML, a Git-LFS pointer, gzip, HDF5
    ├── MalformedCheckpoint         meant to be a checkpoint, but breaks its own format
    │   └── TruncatedCheckpoint     cut short where nothing can be recovered
    ├── UnreadableTensor            one tensor's values cannot be had: missing bytes, broken geometry
    ├── LimitExceeded               asks for more memory, operations or depth than an honest file
    ├── Undecidable                 readable, but the question has no answer in it
    └── Mismatch                    readable, but it does not fit the optimizer or model in memory

A message reads `path: what was found (what was expected)` on one line; the hint is what to run or do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_MESSAGE = 200
"""Characters of an error line: it must fit a log and a CI annotation."""


class OptinspectError(Exception):
    """An error of the input or of the call, never of our code. `kind` is the class name in JSON."""

    status = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def kind(self) -> str:
        return type(self).__name__


class UsageError(OptinspectError):
    """The command line or a call cannot be understood."""


class UnknownRoute(UsageError):
    """A file has nothing at the route that was asked for; another one may have it. `found`: the routes there are."""

    def __init__(self, message: str, found: Sequence[str], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.found = tuple(found)

    @property
    def kind(self) -> str:
        return UsageError.__name__


class UnreadableFile(OptinspectError):
    """The operating system does not give us the bytes."""


class FileChanged(UnreadableFile):
    """Inode, size or modification time changed between opening and the last read."""


class NotACheckpoint(OptinspectError):
    """The bytes are of another kind; the message names the kind."""


class MalformedCheckpoint(OptinspectError):
    """The bytes break the format they claim."""


class TruncatedCheckpoint(MalformedCheckpoint):
    """The file ends before its structure does."""


class UnreadableTensor(OptinspectError):
    """The values of one tensor cannot be read; the rest of the file can."""


class LimitExceeded(OptinspectError):
    """The file asks for more of `resource` than `limit`; `actual` is what it asked for."""

    def __init__(self, resource: str, limit: int, actual: int, *, where: str = "", hint: str | None = None) -> None:
        prefix = f"{where}: " if where else ""
        super().__init__(
            f"{prefix}{resource}: {actual:,} asked for (at most {limit:,})",
            hint=hint or "raise it with --max-memory if you trust the file",
        )
        self.resource = resource
        self.limit = limit
        self.actual = actual


class Undecidable(OptinspectError):
    """The file was read, but what was asked cannot be told from it."""


class Mismatch(OptinspectError):
    """A checkpoint does not fit the live optimizer or model; nothing was loaded.

    message     one line: the file and the first misfit; `str()` has a line for each
    mismatches  every reason, as objects with code, message, parameter, file, live, torch (what torch would do), repair
    """

    def __init__(self, path: str, mismatches: Sequence[Any], *, hint: str | None = None) -> None:
        count = f"{len(mismatches)} reasons" if len(mismatches) != 1 else "1 reason"
        super().__init__(f"{path}: does not fit, nothing was loaded: {mismatches[0]}"[:MAX_MESSAGE], hint=hint)
        self.mismatches = tuple(mismatches)
        self._lines = [f"{path}: does not fit the live optimizer, nothing was loaded ({count}):", *map(str, mismatches)]

    def __str__(self) -> str:
        return "\n  ".join(self._lines)
