"""The one door between strings from a file and a screen.

A state_dict key may hold terminal commands (ESC ]0;…), characters that reverse the reading direction, or half a
surrogate pair that no encoder accepts. Everything that is not a visible character is written as its escape.
"""

from __future__ import annotations

MAX_LENGTH = 200
"""Characters of one string from a file: a name of a megabyte must not bury the report."""

INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)
"""Letters and marks that are drawn as nothing: with them two different names look alike."""


def visible(text: str, limit: int | None = MAX_LENGTH) -> str:
    """`text` with control, format, bidirectional, private and unassigned characters and surrogates escaped.

    Longer than `limit`: cut, and the true length said. Spaces stay; other white space is escaped too.
    """
    if limit is not None and len(text) > limit:
        return f"{visible(text[: limit - 24], None)}… ({len(text):,} characters)"
    if text.isprintable() and (text.isascii() or INVISIBLE.isdisjoint(text)):
        return text
    return "".join(char if char.isprintable() and char not in INVISIBLE else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    """\\n, \\t, \\x1b, \\u202e, \\U000e0001: as Python would write it."""
    return char.encode("unicode_escape", "backslashreplace").decode("ascii") if char < "\ud800" else _by_number(char)


def _by_number(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def one_line(text: str, limit: int) -> str:
    """An error message: escaped, and cut from the middle so that path and cause both stay."""
    shown = visible(text, None)
    if len(shown) <= limit:
        return shown
    head = limit // 3
    return f"{shown[:head]}…{shown[len(shown) - (limit - head - 1) :]}"
