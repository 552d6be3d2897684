"""How far a long run is: one line on stderr, only on a terminal, only after a second, gone at the end."""

from __future__ import annotations

import sys
import time

PATIENCE = 1.0
"""Seconds before the first word."""
PAUSE = 0.2
WHOLE = 1000
"""What opening counts in: thousandths of a directory."""


def opening(shown: bool) -> Progress:
    """Its `add` is the `progress` of `open_checkpoint`."""
    return Progress("opening", WHOLE, shown=shown)


class Progress:
    """Part of `total` that is done; a context manager, so that the line is taken away whatever happens."""

    def __init__(self, what: str, total: int, *, shown: bool = True) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + PATIENCE
        self._written = False

    def add(self, done: int) -> None:
        self._done += done
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + PAUSE
            self._written = True
            sys.stderr.write(f"\r{self._what}: {min(self._done / max(self._total, 1), 0.99):.0%}")
            sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._written:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class Meter:
    """A Progress whose total is known only when the work begins."""

    def __init__(self, what: str, *, shown: bool) -> None:
        self._what, self._shown = what, shown
        self._progress: Progress | None = None

    def tell(self, done: int, total: int) -> None:
        if self._progress is None:
            self._progress = Progress(self._what, total, shown=self._shown)
        self._progress.add(done)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(*exc)
