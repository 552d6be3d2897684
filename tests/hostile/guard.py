"""An audit hook that refuses everything a reader has no business with, while it reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
REFUSED = (
    "exec", "compile", "import", "pickle.find_class", "marshal.", "subprocess.", "socket.", "ctypes.", "os.system",
    "os.exec", "os.fork", "os.spawn", "os.posix_spawn", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod",
    "os.link", "os.symlink", "os.truncate", "os.putenv", "shutil.", "tempfile.", "urllib.", "builtins.input",
    "code.__new__", "function.__new__", "winreg.", "pty.", "signal.",
)  # fmt: skip


class Executed(BaseException):
    """Something was about to happen that must not. No `except Exception` of a reader may hide it."""


_state = {"watching": False, "installed": False}


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _state["watching"]:
        return
    if event.startswith(REFUSED):
        raise Executed(f"{event} {arguments!r:.200}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
        raise Executed(f"opened for writing: {arguments!r:.200}")


@contextmanager
def watching() -> Iterator[None]:
    """Refuse execution, imports and writing inside the block, in this process."""
    if not _state["installed"]:
        sys.addaudithook(_hook)
        _state["installed"] = True
    _state["watching"] = True
    try:
        yield
    finally:
        _state["watching"] = False
