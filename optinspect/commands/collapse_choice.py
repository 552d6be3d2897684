"""Whether the tables of `show` are folded: as --collapse and --no-collapse say, else where they exceed the screen."""

from __future__ import annotations

import os
import shutil
import sys

from optinspect.commands.emit import FOR_PEOPLE, Output
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError


def beyond(wanted: bool | None, output: Output, selection: Selection) -> int | None:
    """Rows from which on a table is folded: all that have more; None: none is. Raises UsageError.

    A table that was sorted or limited is what was asked for, and is left as it is unless --collapse says otherwise.
    """
    if wanted:
        if output.format not in FOR_PEOPLE:
            hint = f"use --format {' or '.join(FOR_PEOPLE)}"
            raise UsageError(f"--collapse: not for {output.format:.40}, which has every row", hint=hint)
        return 0
    if wanted is False or output.format != "table" or selection.sort is not None or selection.limit is not None:
        return None
    return screen_lines(output)


def screen_lines(output: Output) -> int | None:
    """Lines of the terminal that is written to; None where there is none, unless LINES says how many."""
    terminal = output.file is None and sys.stdout.isatty()
    if terminal or os.environ.get("LINES", "").lstrip("0").isdigit():
        return shutil.get_terminal_size().lines or None
    return None
