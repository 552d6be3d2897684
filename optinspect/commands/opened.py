"""Opening what a command line names, with a progress line while a large directory is read."""

from __future__ import annotations

from typing import Protocol

from optinspect.checkpoint import Checkpoint
from optinspect.commands.progress import opening
from optinspect.reading import open_checkpoint


class Where(Protocol):
    """The options that say where things are; see reading.open_checkpoint."""

    @property
    def model_state(self) -> str | None: ...
    @property
    def model_key(self) -> str | None: ...
    @property
    def optimizer_key(self) -> str | None: ...
    @property
    def max_memory(self) -> int | None: ...
    @property
    def use_transformers(self) -> bool: ...
    @property
    def progress(self) -> bool: ...


def opened(path: str, options: Where) -> Checkpoint:
    """The checkpoint at `path`; the caller closes it. Raises what open_checkpoint raises."""
    with opening(options.progress) as progress:
        return open_checkpoint(
            path,
            model_state=options.model_state,
            model_key=options.model_key,
            optimizer_key=options.optimizer_key,
            max_memory=options.max_memory,
            use_transformers=options.use_transformers,
            progress=progress.add,
        )
