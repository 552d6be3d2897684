"""Which policy is in force: the first one upward from a folder, as far as its repository or the file system reaches."""

from __future__ import annotations

import os

NAMES = ("optinspect.yaml", "optinspect.yml")
BOUNDARY = ".git"
"""A folder, or a file in a worktree: what lies above belongs to somebody else."""


def found_upward(start: str | None = None) -> str | None:
    """The path of the policy that holds in `start` (the working directory), relative to it; None where there is none.

    The folder with `.git` is the last that is looked at. No I/O but asking what exists.
    """
    try:
        base = os.path.abspath(start or os.curdir)  # noqa: PTH100  on a way up links must stay as they are
    except OSError:  # the working directory was removed
        return None
    folder = base
    while True:
        for name in NAMES:
            path = os.path.join(folder, name)  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113
                return os.path.relpath(path, base) if start is None else path
        above = os.path.dirname(folder)  # noqa: PTH120
        if above == folder or os.path.exists(os.path.join(folder, BOUNDARY)):  # noqa: PTH110, PTH118
            return None
        folder = above
