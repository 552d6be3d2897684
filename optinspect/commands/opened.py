"""Opening what a command line names, with a progress line while a large directory is read."""

from __future__ import annotations

from dataclasses import dataclass

from optinspect.checkpoint import Checkpoint
from optinspect.commands.progress import opening
from optinspect.reading import open_checkpoint


@dataclass(frozen=True, slots=True)
class Opening:
    """The options that every command opens its checkpoints with; see reading.open_checkpoint."""

    model_key: str | None = None
    optimizer_key: str | None = None
    max_memory: int | None = None
    use_transformers: bool = False

    def open(self, path: str, model_state: str | None = None, *, shown: bool = False) -> Checkpoint:
        """The checkpoint at `path`; the caller closes it. `shown`: with a progress line. Raises as open_checkpoint."""
        with opening(shown) as progress:
            return open_checkpoint(
                path,
                model_state=model_state,
                model_key=self.model_key,
                optimizer_key=self.optimizer_key,
                max_memory=self.max_memory,
                use_transformers=self.use_transformers,
                progress=progress.add,
            )
