"""Opening a checkpoint: path(s) → Checkpoint. The one way in, for the command and for Python."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath

from optinspect.checkpoint import Checkpoint

Path = str | PathLike[str]


def open_checkpoint(
    path: Path,
    *,
    model_state: Path | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Checkpoint:
    """Read what `path` holds, without running or importing anything that it names.

    model_state    another file with the model's state_dict
    model_key, optimizer_key   routes to take where a file has several ("generator", "optimizers[1]")
    max_memory     bytes that the file's plain data may take; raises the limits for a trusted file

    The files stay open for reading tensors: close the Checkpoint, or use it in a `with` statement.
    Raises UnreadableFile, NotACheckpoint, MalformedCheckpoint, LimitExceeded; UsageError for an unknown route.
    """
    from optinspect.containers import open_tree  # noqa: PLC0415  `import optinspect` stays light
    from optinspect.containers.base import Limits  # noqa: PLC0415
    from optinspect.layouts import find  # noqa: PLC0415

    limits = Limits() if max_memory is None else Limits.scaled(max_memory)
    given = [("checkpoint", path)] + ([("model_state", model_state)] if model_state is not None else [])
    with ExitStack() as stack, _without_collection():
        trees = [(role, stack.enter_context(open_tree(fspath(one), limits))) for role, one in given]
        checkpoint = find(trees, model_key=model_key, optimizer_key=optimizer_key)
        stack.pop_all()  # from here on the checkpoint closes them
    return checkpoint


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
