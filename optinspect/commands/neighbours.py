"""The save before this one: checkpoint-5 beside checkpoint-6. Two consecutive saves can prove names by the step."""

from __future__ import annotations

import os
import re

_RANK = re.compile(r".*rank[_-]?", re.DOTALL | re.IGNORECASE)
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)", re.DOTALL)


def previous_save(path: str) -> str | None:
    """The directory or file beside `path` that is called alike but for a number that is smaller by 1; None without one.

    The last number of the name counts: "checkpoint-500", "global_step10", "epoch=2-step=40.ckpt". That of a rank's
    file counts no saves.
    """
    parent, name = os.path.split(path.rstrip(os.sep))
    own = _NUMBERED.fullmatch(name)
    if own is None or _RANK.fullmatch(own["before"]):
        return None
    try:
        beside = os.listdir(parent or os.curdir)  # noqa: PTH208  the path may be no valid Path
    except OSError:
        return None
    found = (other for other in beside if (m := _alike(own, other)) and int(m["number"]) == int(own["number"]) - 1)
    before = next(found, None)
    return None if before is None else os.path.join(parent, before)  # noqa: PTH118


def _alike(own: re.Match[str], other: str) -> re.Match[str] | None:
    match = _NUMBERED.fullmatch(other)
    same = match is not None and (match["before"], match["after"]) == (own["before"], own["after"])
    return match if same else None
