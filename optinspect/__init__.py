"""Look into, compare and verify the optimizer state in PyTorch checkpoints, without running them.

    checkpoint = optinspect.open("ckpt.pt")        what is in the file; closes as a context manager
    optinspect.name(checkpoint)                    optimizer index → parameter name, with evidence
    optinspect.measure(checkpoint)                 statistics of every state tensor
    optinspect.show("ckpt.pt")                     the report that `optinspect show` prints
    optinspect.AdamW(model.parameters())           an optimizer to train with, bit-equal with torch.optim.AdamW

Importing this module loads nothing heavy: numpy comes with the first value that is read, torch with AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optinspect.version import __version__

if TYPE_CHECKING:
    from optinspect.checkpoint import Checkpoint
    from optinspect.measurement import Measured
    from optinspect.naming import Naming
    from optinspect.report import Report

__all__ = ["__version__", "measure", "name", "open", "show"]


def open(
    path: str,
    *,
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Checkpoint:
    """Read the structure of a checkpoint; values are read when they are asked for. Nothing in it is executed.

    model_state                a file with the model's state_dict, where it is not in `path`
    model_key, optimizer_key   routes ("state.model") where several places are possible
    max_memory                 bytes that the file's structure may take (default: 1 GiB)

    Raises errors.UnreadableFile, NotACheckpoint, MalformedCheckpoint, LimitExceeded, UsageError.
    """
    from optinspect.reading import open_checkpoint  # noqa: PLC0415

    return open_checkpoint(
        path, model_state=model_state, model_key=model_key, optimizer_key=optimizer_key, max_memory=max_memory
    )


def name(checkpoint: Checkpoint) -> tuple[Naming, ...]:
    """The names of each optimizer's parameters, in index order, with the evidence for each. Reads no values."""
    from optinspect.naming import name_parameters  # noqa: PLC0415

    return name_parameters(checkpoint)


def measure(checkpoint: Checkpoint, *, weights: bool = False) -> Mapping[tuple[int | None, int], Measured]:
    """(optimizer, index) → statistics of its slots, and of its weight with `weights`, read in one bounded pass.

    With `weights`, tensors of the model that no optimizer steps come under (None, 0), (None, 1), …
    Raises errors.FileChanged when the file is rewritten meanwhile; a tensor that cannot be read is in `problems`.
    """
    from optinspect.commands.facts import Wanted, gather  # noqa: PLC0415

    return gather(checkpoint, Wanted(weights=weights)).measured or {}


def show(  # noqa: PLR0913  one argument an option of the command
    path: str,
    *,
    stats: bool = True,
    weights: bool = False,
    group: int | None = None,
    filters: Iterable[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Report:
    """The report of `optinspect show` with the same options: tables of raw values, findings, what stands out.

    Raises as `open` does.
    """
    from optinspect.commands.selection import Selection  # noqa: PLC0415
    from optinspect.commands.show import Options, build  # noqa: PLC0415

    return build(
        path,
        Options(
            statistics=stats,
            weights=weights,
            selection=Selection(group, tuple(filters), sort, limit),
            model_state=model_state,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=max_memory,
        ),
    )


def __getattr__(name: str) -> Any:
    """`AdamW`: its base class is torch's, so it is made when it is first asked for."""
    if name == "AdamW":
        from optinspect.training import adamw_class  # noqa: PLC0415

        return adamw_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
