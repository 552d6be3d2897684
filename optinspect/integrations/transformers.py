"""A callback for transformers' Trainer that records the gradients of a run.

trainer = Trainer(model, args, callbacks=[RecorderCallback("run/grads")], …)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from optinspect.recorder import PART_BYTES, Recorder


def __getattr__(name: str) -> Any:
    """`RecorderCallback`: its base class is transformers', so it is made when it is first asked for."""
    if name == "RecorderCallback":
        return recorder_callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def recorder_callback() -> type[Any]:
    """The class, always the same one. Raises ImportError where transformers is not installed."""
    from transformers import TrainerCallback  # noqa: PLC0415

    class RecorderCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Records `train` from its first step to its end; an error ends it with what the journal holds.

        path, every, part_bytes  as of optinspect.Recorder. Under DDP the process of rank 0 records.
        """

        def __init__(self, path: str | Path, every: int = 1, *, part_bytes: int = PART_BYTES) -> None:
            self._path = path
            self._every = every
            self._part_bytes = part_bytes
            self.recorder: Recorder | None = None

        def on_train_begin(self, _: Any, state: Any, __: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                optimizer = _innermost(kwargs["optimizer"])
                model = kwargs["model"]
                self.recorder = Recorder(optimizer, self._path, self._every, model, part_bytes=self._part_bytes).open()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            if self.recorder is not None:
                self.recorder.close()

    RecorderCallback.__module__, RecorderCallback.__qualname__ = __name__, "RecorderCallback"
    return RecorderCallback


def _innermost(optimizer: Any) -> Any:
    """What accelerate has wrapped."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer
