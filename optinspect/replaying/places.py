"""Where in the user's own code something was raised: "train.py:12: ValueError: …", one line."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OWN = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple(
    str(Path(path).resolve())
    for key in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(key))
)


def said(problem: BaseException) -> str:
    """The last place in code that is neither ours nor a library's, the kind, and the first line of the message."""
    text = next(iter(str(problem).strip().splitlines()), "")
    kind = type(problem).__name__
    told = f"{kind}: {text}" if text else kind
    place = place_of(problem)
    return f"{place}: {told}" if place else told


def place_of(problem: BaseException) -> str | None:
    """ "train.py:12"; None where only libraries were on the way."""
    if isinstance(problem, SyntaxError) and problem.filename and problem.lineno:
        return f"{_short(problem.filename)}:{problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    mine = [frame for frame in frames if _is_users(frame.filename)]
    return f"{_short(mine[-1].filename)}:{mine[-1].lineno}" if mine else None


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = str(Path(filename).resolve())
    return not path.startswith((f"{_OWN}/", f"{_OWN}\\")) and not path.startswith(_LIBRARIES)


def _short(filename: str) -> str:
    """Relative to the working directory where that is shorter."""
    try:
        return str(Path(filename).resolve().relative_to(Path.cwd()))
    except ValueError:
        return filename
