"""Error lines of the readers: names from a file made visible, and everything within one line."""

from __future__ import annotations

import os

from optinspect.errors import MAX_MESSAGE


def printable(text: str, limit: int = 60) -> str:
    """`text` with control, format and surrogate characters escaped, cut to `limit` characters."""
    head = text[: limit + 1]
    visible = head if head.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in head)
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def line(where: str | os.PathLike[str], found: str) -> str:
    """`where: found` in at most MAX_MESSAGE characters; a long path loses its beginning, not the file's name."""
    room = max(MAX_MESSAGE - 60, 0)
    found = found if len(found) <= room else found[: room - 1] + "…"
    return f"{shortened(os.fspath(where), MAX_MESSAGE - len(found) - 2)}: {found}"


def shortened(where: str, limit: int = 60) -> str:
    """A path on one line whose end is kept."""
    visible = printable(where, max(len(where) * 10, 1))
    return visible if len(visible) <= limit else "…" + visible[len(visible) - limit + 1 :]


def counted(number: int, noun: str) -> str:
    """`1 byte`, `2 bytes`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
