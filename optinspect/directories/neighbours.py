"""The save before this one: checkpoint-5 beside checkpoint-6. Two consecutive saves can prove names by the step."""

from __future__ import annotations

import os
import re

from optinspect.errors import OptinspectError

_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)", re.DOTALL)


def previous_save(path: str) -> str | None:
    """The directory or file beside `path` that is called alike but for the largest smaller number; None without one.

    The last number of the name counts: "checkpoint-500", "global_step10", "epoch=2-step=40.ckpt".
    """
    from optinspect.directories.folder import DiskFolder  # noqa: PLC0415

    absolute = os.path.abspath(path)  # noqa: PTH100  the path may be no valid Path
    parent, name = os.path.split(absolute)
    own = _NUMBERED.fullmatch(name)
    if own is None:
        return None
    try:
        folder = DiskFolder(parent)
    except OptinspectError:
        return None
    beside = folder.folders if name in folder.folders else folder.files
    found = [(int(m["number"]), m[0]) for other in beside if (m := _alike(own, other)) is not None]
    earlier = [(number, other) for number, other in found if number < int(own["number"])]
    return os.path.join(parent, max(earlier)[1]) if earlier else None  # noqa: PTH118


def _alike(own: re.Match[str], other: str) -> re.Match[str] | None:
    match = _NUMBERED.fullmatch(other)
    same = match is not None and (match["before"], match["after"]) == (own["before"], own["after"])
    return match if same else None
