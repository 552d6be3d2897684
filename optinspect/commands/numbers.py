"""Numbers on a command line: counts, and sizes with their units."""

from __future__ import annotations

import re

from optinspect.errors import UsageError

COUNT = re.compile(r"\d{1,12}", re.ASCII)
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([kmgt]?)(?:i?b)?", re.ASCII)
SIZES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_count(option: str, text: str | None) -> int | None:
    """A whole number from 0 on. Raises UsageError."""
    if text is None:
        return None
    if not COUNT.fullmatch(text):
        raise UsageError(f"{option} {text}: expected a whole number from 0 on")
    return int(text)


def parse_size(text: str | None) -> int | None:
    """Bytes of "500000", "512MiB", "4G": powers of 1024. Raises UsageError."""
    match = SIZE.fullmatch(text.strip().lower()) if text is not None else None
    if text is None:
        return None
    if match is None or not float(match[1]):
        raise UsageError(f"--max-memory {text}: not a size (expected 512MiB, 4GiB, …)")
    return int(float(match[1]) * 1024 ** SIZES[match[2]])
