"""Words that several reports use: counts with their noun, a few names of many, sizes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from itertools import islice

from optinspect.render.base import UNICODE
from optinspect.render.escape import visible
from optinspect.render.quantities import size


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """ "1 tensor", "12,345 tensors"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def some(names: Iterable[object], most: int = 3, total: int | None = None) -> str:
    """The first few names, each made visible and bearable, and how many more there are.

    total  how many there are, where it is known: no name is then made that is not shown
    """
    every = list(names if total is None else islice(names, most))
    more = (len(every) if total is None else total) - most
    shown = ", ".join(visible(str(name), 100) for name in every[:most])
    return f"{shown} and {more:,} more" if more > 0 else shown


def bytes_of(count: int) -> str:
    return size(count, UNICODE)


def command_line(*words: str) -> str:
    """A command that a shell takes as it is printed."""
    return " ".join(shlex.quote(word) for word in words)
