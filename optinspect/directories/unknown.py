"""A directory of no known kind: one checkpoint file in it is opened, of several the caller has to choose."""

from __future__ import annotations

import re

from optinspect.containers import CONTAINERS, plain_pickle
from optinspect.containers.foreign import HEAD
from optinspect.containers.wording import counted, line, printable
from optinspect.directories.folder import Folder
from optinspect.errors import NotACheckpoint, OptinspectError

PROTO = b"\x80"
MEGATRON = "give one rank's file in it: iter_N/mp_rank_NN/model_optim_rng.pt, or a directory with .metadata"

OTHERS: tuple[tuple[str, str, str], ...] = (
    (r"latest_checkpointed_iteration\.txt|mp_rank_\d\d_\d{3}", "a Megatron-LM directory", MEGATRON),
    (r"saved_model\.pb(?:txt)?", "a TensorFlow SavedModel", "its variables need TensorFlow to be read"),
    (r".*\.data-\d{5}-of-\d{5}", "a TensorFlow checkpoint", "its variables need TensorFlow to be read"),
    (
        r"_CHECKPOINT_METADATA|manifest\.ocdbt|\.zarray|zarr\.json",
        "an Orbax or zarr directory (JAX)",
        "it needs orbax or tensorstore to be read",
    ),
    (r".*\.mlpackage|model\.mlmodel", "a Core ML model", "it holds no optimizer state: use the training checkpoint"),
    (r".*\.pdparams|.*\.pdopt", "a PaddlePaddle checkpoint", "it needs paddle to be read"),
)
"""(name of a file or folder in it, what the directory is, what to do) of frameworks that are not read."""

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
    for pattern, found, hint in OTHERS:
        if any(re.fullmatch(pattern, name) for name in (*folder.files, *folder.folders)):
            raise NotACheckpoint(
                line(folder.path, f"{found} (a directory of a PyTorch checkpoint expected)"), hint=hint
            )
    inside = [f"{name}/" for name in folder.folders] + list(folder.files)
    shown = printable(", ".join(inside[:4]), 80) if inside else "nothing"
    more = f" and {len(inside) - 4:,} more" if len(inside) > 4 else ""
    hint = (
        "give one of the directories in it, or let check --latest find the newest"
        if folder.folders
        else "give the checkpoint file, or its directory"
    )
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
