"""A directory of no known kind: one checkpoint file in it is opened, of several the caller has to choose."""

from __future__ import annotations

from optinspect.containers import CONTAINERS, plain_pickle
from optinspect.containers.foreign import HEAD
from optinspect.containers.wording import counted, line, printable
from optinspect.directories.folder import Folder
from optinspect.errors import NotACheckpoint, OptinspectError

PROTO = b"\x80"
LOOKED_AT = 200
"""Files whose beginning is read to see whether they are checkpoints."""


def lone_file(folder: Folder) -> str:
    """The only file that can be opened. Raises NotACheckpoint, in one line, with what there is instead."""
    openable = [name for name in folder.files[:LOOKED_AT] if opens(folder, name)]
    if len(openable) == 1:
        return openable[0]
    if openable:
        found = f"a directory of no known kind with {counted(len(openable), 'file')} that can be opened"
        hint = "give one of them: " + printable(", ".join(openable[:6]), 140)
        raise NotACheckpoint(line(folder.path, found), hint=hint)
    inside = [f"{name}/" for name in folder.folders] + list(folder.files)
    shown = printable(", ".join(inside[:4]), 80) if inside else "nothing"
    more = f" and {len(inside) - 4:,} more" if len(inside) > 4 else ""
    hint = "give one of the directories in it" if folder.folders else "give the checkpoint file, or its directory"
    raise NotACheckpoint(line(folder.path, f"a directory without a checkpoint; it holds {shown}{more}"), hint=hint)


def opens(folder: Folder, name: str) -> bool:
    """Whether it begins like a kind of file that is read."""
    try:
        source = folder.source(name)
    except OptinspectError:
        return False
    try:
        head = source.head(HEAD)
        # Pickles of protocols 0 and 1 begin with a letter or a bracket: among other files these are text as a rule.
        return any(one.recognises(head) and (one is not plain_pickle or head[:1] == PROTO) for one in CONTAINERS)
    except OptinspectError:
        return False
    finally:
        for held in source.held:
            held.close()
