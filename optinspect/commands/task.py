"""What a command line asks for, before it is done: the work runs outside of Typer, so that its errors are ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optinspect.commands.emit import Output
from optinspect.report import Report


@dataclass(frozen=True, slots=True)
class Task:
    """A command line that was understood."""

    command: str
    subject: str
    """What an error is about when it is not one of ours: the path."""
    output: Output
    build: Callable[[], Report]


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether words that were not understood wanted JSON all the same: then the error is JSON too."""
    pairs = list(zip(words, [*words[1:], ""], strict=True))
    return any(
        word in ("--json", "--format=json", "-fjson") or pair in _JSON for word, pair in zip(words, pairs, strict=True)
    )


_JSON = (("-f", "json"), ("--format", "json"))
