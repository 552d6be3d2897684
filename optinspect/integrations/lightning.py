"""A Lightning callback that records the gradients of every optimizer of a run.

trainer = Trainer(callbacks=[RecorderCallback("run/grads")])
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from optinspect.recorder import PART_BYTES, Recorder


def __getattr__(name: str) -> Any:
    """`RecorderCallback`: its base class is Lightning's, so it is made when it is first asked for."""
    if name == "RecorderCallback":
        return recorder_callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def recorder_callback() -> type[Any]:
    """The class, always the same one, on `lightning` or the older `pytorch_lightning`. Raises ImportError."""
    base = _callback_class()

    class RecorderCallback(base):  # type: ignore[misc, valid-type]
        """Records `fit` from its first step to its end, also where it ends in an error.

        path, every, part_bytes  as of optinspect.Recorder; with several optimizers each has a folder in `path`,
        optimizer-0, optimizer-1, … Under DDP the process of rank 0 records.
        """

        def __init__(self, path: str | Path, every: int = 1, *, part_bytes: int = PART_BYTES) -> None:
            super().__init__()
            self._path = Path(path)
            self._every = every
            self._part_bytes = part_bytes
            self.recorders: list[Recorder] = []

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.is_global_zero:
                return
            for number, optimizer in enumerate(trainer.optimizers):
                several = len(trainer.optimizers) > 1
                path = self._path / f"optimizer-{number}" if several else self._path
                recorder = Recorder(optimizer, path, self._every, pl_module, part_bytes=self._part_bytes)
                self.recorders.append(recorder.open())

        def on_train_end(self, *_: Any) -> None:
            self._close()

        def on_exception(self, *_: Any) -> None:
            self._close()

        def _close(self) -> None:
            for recorder in self.recorders:
                recorder.close()

    RecorderCallback.__module__, RecorderCallback.__qualname__ = __name__, "RecorderCallback"
    return RecorderCallback


def _callback_class() -> Any:
    try:
        from lightning.pytorch.callbacks import Callback  # noqa: PLC0415
    except ModuleNotFoundError:
        from pytorch_lightning.callbacks import Callback  # noqa: PLC0415
    return Callback
