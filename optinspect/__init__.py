"""Look into, compare and verify the optimizer state in PyTorch checkpoints, without running them.

    checkpoint = optinspect.open("ckpt.pt")        what is in the file; closes as a context manager
    optinspect.name(checkpoint)                    optimizer index → parameter name, with evidence
    optinspect.measure(checkpoint)                 statistics of every state tensor
    optinspect.show("ckpt.pt")                     the report that `optinspect show` prints
    optinspect.summary(optimizer, model)           the same of objects in memory, with gradients and who is frozen
    optinspect.load(optimizer, "ckpt.pt", model)   resume from it: all is compared first, then all is loaded
    optinspect.check("ckpt.pt")                    will training resume from it: the findings of `optinspect check`
    optinspect.assert_resumable("ckpt.pt")         in a test: fails with the findings of `optinspect check`
    optinspect.diff("a.pt", "b.pt")                what changed between two checkpoints, as `optinspect diff` prints it
    optinspect.replay("ckpt.pt", grads=["grads"])  the steps after it, under its rule and under torch's
    optinspect.prove(a, b)                         what the optimizer did between two open checkpoints, proved
    optinspect.AdamW(model.parameters())           an optimizer to train with, bit-equal with torch.optim.AdamW
    optinspect.Recorder(optimizer, "run/grads")    records the gradients that it uses, for `optinspect replay --grads`

Importing this module loads nothing heavy: numpy comes with the first value that is read, torch with AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optinspect.api_assert import assert_resumable
from optinspect.api_live import load
from optinspect.api_reports import check, diff, show, summary
from optinspect.version import __version__

if TYPE_CHECKING:
    from optinspect.checkpoint import Checkpoint
    from optinspect.measurement import Measured
    from optinspect.naming import Naming
    from optinspect.replaying import Replayed

__all__ = [
    "__version__",
    "assert_resumable",
    "check",
    "diff",
    "load",
    "measure",
    "name",
    "open",
    "replay",
    "show",
    "summary",
]


def open(
    path: str,
    *,
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
    use_transformers: bool = False,
) -> Checkpoint:
    """Read the structure of a checkpoint; values are read when they are asked for. Nothing in it is executed.

    model_state                a file with the model's state_dict, where it is not in `path`
    model_key, optimizer_key   routes ("state.model") where several places are possible
    max_memory                 bytes that the file's structure may take (default: 1 GiB)
    use_transformers           names and order from the model's class in the installed transformers

    Raises errors.UnreadableFile, NotACheckpoint, MalformedCheckpoint, LimitExceeded, UsageError.
    """
    from optinspect.reading import open_checkpoint  # noqa: PLC0415

    return open_checkpoint(
        path,
        model_state=model_state,
        model_key=model_key,
        optimizer_key=optimizer_key,
        max_memory=max_memory,
        use_transformers=use_transformers,
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


def replay(  # noqa: PLR0913  one argument an option of the command
    path: str,
    *,
    steps: int | None = None,
    grads: Iterable[str] = (),
    zero: bool = False,
    seed: int = 0,
    rule: str | None = None,
    against: str = "torch",
    scheduler: bool = False,
    keep: bool = False,
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
) -> Replayed:
    """Step a checkpoint's parameters on, as `optinspect replay` does, and compare two implementations. Needs torch.

    steps  None: all that are recorded, else 10
    grads  recordings, joined by step; without any, gradients are drawn from what the moments describe (with `seed`),
           or are 0 with `zero`
    rule   a step rule's name instead of the file's own; against: "torch", "torch-foreach", "torch-fused" or a rule
    keep   give the tensors after the last step, in `finals` by index over all groups

    Raises as `open` does, and errors.Undecidable where there is no rule, no weight or no gradient to step with.
    """
    from contextlib import ExitStack  # noqa: PLC0415

    from optinspect.recordings import open_recording  # noqa: PLC0415
    from optinspect.replaying import replay as run  # noqa: PLC0415
    from optinspect.replaying.gradients import Described, Gradients, Zero  # noqa: PLC0415
    from optinspect.replaying.recorded import Recorded  # noqa: PLC0415

    given = list(grads)
    with ExitStack() as stack:
        checkpoint = stack.enter_context(
            open(path, model_state=model_state, model_key=model_key, optimizer_key=optimizer_key, max_memory=max_memory)
        )
        source: Gradients = Zero() if zero else Described(seed)
        if given:
            source = Recorded(stack.enter_context(open_recording(given)))
        return run(checkpoint, source, steps, rule=rule, against=against, scheduler=scheduler, keep=keep)


def __getattr__(name: str) -> Any:
    """`AdamW`: its base class is torch's, so it is made when it is first asked for. The others come late too."""
    if name == "AdamW":
        from optinspect.training import adamw_class  # noqa: PLC0415

        return adamw_class()
    if name in ("Recorder", "prove"):
        from optinspect.proof import prove  # noqa: PLC0415
        from optinspect.recorder import Recorder  # noqa: PLC0415

        return {"Recorder": Recorder, "prove": prove}[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
