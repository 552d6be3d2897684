"""Opening a checkpoint: path(s) → Checkpoint. The one way in, for the command and for Python."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from os.path import isdir, split
from typing import TYPE_CHECKING

from optinspect.checkpoint import Checkpoint

if TYPE_CHECKING:
    from optinspect.containers.base import Limits

Path = str | PathLike[str]

SPLIT = "torch.distributed."
"""What the classes of tensors are called that lie on several ranks."""


def open_checkpoint(
    path: Path,
    *,
    model_state: Path | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
    use_transformers: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Read what `path`, a file or a directory, holds, without running or importing anything that it names.

    model_state    another file or directory with the model's state_dict
    model_key, optimizer_key   routes to take where a file has several ("generator", "optimizers[1]")
    max_memory     bytes that the file's plain data may take; raises the limits for a trusted file
    use_transformers  take order, names and Trainer's groups from the class that config.json names, as the installed
                   transformers has it: built without values, nothing is downloaded
    progress       called with the thousandths of a directory that were opened since its last call

    The files stay open for reading tensors: close the Checkpoint, or use it in a `with` statement.
    Raises UnreadableFile, NotACheckpoint, MalformedCheckpoint, LimitExceeded; UsageError for an unknown route, and
    where transformers is to be used and is not installed.
    """
    from optinspect.containers.base import Limits  # noqa: PLC0415  `import optinspect` stays light
    from optinspect.layouts import joined  # noqa: PLC0415

    limits = Limits() if max_memory is None else Limits.scaled(max_memory)
    with ExitStack() as stack, _without_collection():
        own_key = model_key if model_state is None else None
        parts = [_open(fspath(path), "checkpoint", limits, own_key, optimizer_key, progress)]
        stack.enter_context(parts[0])
        if model_state is not None:
            parts.append(_open(fspath(model_state), "model_state", limits, model_key, None))
            stack.enter_context(parts[1])
        checkpoint = joined(parts)
        if use_transformers:
            from optinspect.directories.live_order import with_classes  # noqa: PLC0415

            checkpoint = with_classes(checkpoint)
        stack.pop_all()  # from here on the checkpoint closes them
    return checkpoint


def _open(
    path: str,
    role: str,
    limits: Limits,
    model_key: str | None,
    optimizer_key: str | None,
    progress: Callable[[int], None] | None = None,
) -> Checkpoint:
    """One input. What is no plain file of one checkpoint is looked at by `directories`."""
    from optinspect.containers import open_tree  # noqa: PLC0415
    from optinspect.errors import NotACheckpoint  # noqa: PLC0415
    from optinspect.layouts import find  # noqa: PLC0415

    # `directories` is imported where it is needed: a plain file is open 10 ms earlier without it.
    if isdir(path) or split(path)[1] == ".metadata":  # noqa: PTH112  the path may be no valid Path
        from optinspect.directories import open_folder  # noqa: PLC0415

        return open_folder(path, role, limits, model_key=model_key, optimizer_key=optimizer_key, progress=progress)
    try:
        tree = open_tree(path, limits)
    except NotACheckpoint:
        from optinspect.directories import open_archive  # noqa: PLC0415

        packed = open_archive(path, role, limits, model_key=model_key, optimizer_key=optimizer_key)
        if packed is None:
            raise
        return packed
    try:
        checkpoint = find([(role, tree)], model_key=model_key, optimizer_key=optimizer_key)
        if any(name.startswith(SPLIT) for name in tree.opaque) or "rank" in split(path)[1]:
            from optinspect.directories import with_ranks  # noqa: PLC0415
            from optinspect.layouts.base import Wanted  # noqa: PLC0415

            return with_ranks(checkpoint, limits, Wanted(model_key, optimizer_key))
        if all(model.ordered for model in checkpoint.models):
            return checkpoint
        from optinspect.directories import with_neighbours  # noqa: PLC0415

        return with_neighbours(checkpoint)
    except BaseException:
        tree.close()
        raise


@contextmanager
def _without_collection() -> Iterator[None]:
    """Nothing that is built here is garbage: looking for it took 40% of the time at 100,000 tensors."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
