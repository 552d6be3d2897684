"""One file, opened once for reading and held: positional reads from any thread, and proof that it did not change."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Callable

from optinspect.containers.wording import line
from optinspect.errors import FileChanged, UnreadableFile

_FLAGS = (
    os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)  # NONBLOCK: opening a pipe must not wait for a writer

_REASONS = {
    errno.ENOENT: "no such file",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
    errno.ENXIO: "not a regular file",
    errno.ELOOP: "too many symbolic links",
    errno.ENAMETOOLONG: "the path is too long",
}

_KINDS = (
    (stat.S_ISDIR, "is a directory (a checkpoint file expected)"),
    (stat.S_ISFIFO, "is a pipe (a regular file expected)"),
    (stat.S_ISCHR, "is a device (a regular file expected)"),
    (stat.S_ISBLK, "is a device (a regular file expected)"),
    (stat.S_ISSOCK, "is a socket (a regular file expected)"),
)

Identity = tuple[int, int, int, int]


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class HeldFile:
    """The bytes of a regular file. `positional=False` forces the seek-and-read way of systems without preadv.

    Raises UnreadableFile with what the operating system said.
    """

    def __init__(self, path: str, *, positional: bool = True) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._positional = positional and hasattr(os, "preadv")
        self._descriptor = self._open()
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise self._unreadable(next((text for test, text in _KINDS if test(status.st_mode)), "not a regular file"))
        self._identity = _identity(status)
        self.size = status.st_size
        self.observer: Callable[[int, memoryview], None] | None = None
        """Called with offset and bytes of every read, in the thread that read them."""

    def _open(self) -> int:
        try:
            return os.open(self.path, _FLAGS)
        except OSError as error:
            if error.errno == errno.EISDIR or os.path.isdir(self.path):  # noqa: PTH112 - the path may be no valid Path
                raise self._unreadable(_KINDS[0][1]) from None
            raise self._unreadable(_REASONS.get(error.errno or 0, str(error.strerror))) from None
        except ValueError:  # a NUL in the path, or characters the file system cannot encode
            raise self._unreadable("not a valid path") from None

    def _unreadable(self, found: str) -> UnreadableFile:
        hint = "give the file inside it" if "directory" in found else "check the path and its permissions"
        return UnreadableFile(line(self.path, found), hint=hint)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` whole from `offset`. Raises FileChanged when the file has become shorter."""
        read = self._read_positional if self._positional else self._read_locked
        done = 0
        try:
            while done < len(buffer):
                count = read(offset + done, buffer[done:])
                if count == 0:
                    raise FileChanged(
                        line(self.path, f"became shorter while it was read (byte {offset + done:,} is gone)"),
                        hint="wait until the job has finished writing, or copy the file first",
                    )
                done += count
        except OSError as error:
            raise UnreadableFile(line(self.path, f"reading failed: {error.strerror}")) from None
        if self.observer is not None:
            self.observer(offset, buffer)

    def _read_positional(self, offset: int, buffer: memoryview) -> int:
        return os.preadv(self._descriptor, [buffer], offset)

    def _read_locked(self, offset: int, buffer: memoryview) -> int:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with self._lock, io.FileIO(self._descriptor, closefd=False) as stream:
            stream.seek(offset)
            return stream.readinto(buffer) or 0

    def verify_unchanged(self) -> None:
        """Raise FileChanged when the path now names another file, or the file another size or time."""
        try:
            now = {_identity(os.fstat(self._descriptor)), _identity(os.stat(self.path))}  # noqa: PTH116
        except OSError:
            now = set()
        if now != {self._identity}:
            raise FileChanged(
                line(self.path, "changed while it was being read"),
                hint="wait until the job has finished writing, or copy the file first",
            )

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
