"""A few globs that tell apart names with different values: what a person would write of decay and no-decay groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from glob import escape

MOST = 64
"""More globs than this are no description."""
WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter by its name and aliases, with the value of its group."""

    names: tuple[str, ...]
    value: float


def described(rows: Sequence[Row]) -> tuple[tuple[str, float], ...] | None:
    """(glob, value), to be read in this order, that give every row its value; None where few globs cannot."""
    candidates = (_beside(rows, value) for value, _ in Counter(row.value for row in rows).most_common(4))
    found = [each for each in candidates if each is not None]
    return min(found, key=len) if found else None


def _beside(rows: Sequence[Row], rest: float) -> tuple[tuple[str, float], ...] | None:
    """Globs for all rows whose value is another one, then "*" for the rest."""
    found: dict[str, float] = {}
    matching: list[re.Pattern[str]] = []
    for row in rows:
        if row.value == rest or any(_fits(row, pattern) for pattern in matching):
            continue
        chosen = next((glob for glob in _globs(row.names[0]) if _only(rows, glob, row.value)), None)
        if chosen is None or len(found) == MOST:
            return None
        found[chosen] = row.value
        matching.append(re.compile(translate(chosen)))
    return (*found.items(), ("*", rest))


def _globs(name: str) -> Iterator[str]:
    """From "*.bias" over "*norm*.weight" and "h.*.ln.bias" to the name itself."""
    parts = name.split(".")
    stem = WORD.match(parts[-2]) if len(parts) > 1 else None
    if stem is not None:
        yield f"*.{escape(parts[-1])}"
        yield f"*{stem[0]}*.{escape(parts[-1])}"
    for kept in range(1, min(len(parts), 4)):
        if not parts[-kept].isdigit():
            yield "*." + ".".join(escape(part) for part in parts[-kept:])
    counts = [place for place, part in enumerate(parts) if part.isdigit()]
    for starred in (counts, *([place] for place in counts)):
        yield ".".join("*" if place in starred else escape(part) for place, part in enumerate(parts))
    yield escape(name)


def _only(rows: Sequence[Row], glob: str, value: float) -> bool:
    """Whether no row of another value is called so."""
    pattern = re.compile(translate(glob))
    return not any(row.value != value and _fits(row, pattern) for row in rows)


def _fits(row: Row, pattern: re.Pattern[str]) -> bool:
    return any(pattern.match(name) for name in row.names)
