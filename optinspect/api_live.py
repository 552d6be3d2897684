"""The part of the Python API that changes live objects: `optinspect.load`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optinspect.live.loading import Loaded


def load(  # noqa: PLR0913  the objects, and one argument a choice
    optimizer: Any,
    path: str | os.PathLike[str],
    model: Any = None,
    *,
    load_model: bool = False,
    by_name: bool = False,
    check: bool = True,
    allow: Iterable[str] = (),
    model_state: str | None = None,
    model_key: str | None = None,
    optimizer_key: str | None = None,
    max_memory: int | None = None,
    **overrides: Any,
) -> Loaded:
    """Load a checkpoint into a live optimizer, after everything about it was compared; all of it or nothing.

    optimizer   torch.optim's, or one with param_groups and load_state_dict
    path        read by optinspect's own reader: nothing in it is executed
    model       gives the parameters their names: a Module, a mapping or pairs of names and parameters, or None
    load_model  load the model too, strictly; it must be a Module then
    by_name     give each parameter the state that the file records under its name, not the one at its position; files
                whose states are keyed by names are always loaded so
    check       also refuse what `optinspect check` calls an error in what is loaded (reads every value once more)
    allow       codes of rules, or how they begin, that do not refuse: allow=("OI906",) where a cast of dtypes is meant
    model_state, model_key, optimizer_key, max_memory   as `open` has them
    overrides   settings that count instead of the file's: lr=1e-4 for every group, a list for one each, a function
                that is given the group: lr=lambda group: group["lr"] / 10

    Tensors are bit-equal with torch.load's. The loading itself is the optimizer's own load_state_dict. Schedulers,
    scalers and random states are the caller's to load. While a model is loaded, a copy of it is kept to go back to.

    Returns what was loaded, with notes on what differs and was accepted.
    Raises errors.Mismatch with a line for each reason: parameters by name, what torch would do, the repair. Also what
    `open` raises, Undecidable for a file without an optimizer, UsageError for a setting that no group has,
    UnreadableTensor. Whatever is raised, optimizer and model are as they were.
    """
    from optinspect.errors import UsageError  # noqa: PLC0415
    from optinspect.live.loading import Wish, load_into  # noqa: PLC0415
    from optinspect.live.members import members_of  # noqa: PLC0415
    from optinspect.reading import open_checkpoint  # noqa: PLC0415

    members = members_of(optimizer, model)
    if (empty := members.without_memory) is not None:
        raise UsageError(
            f"load: `{empty[:60]}` has no memory to load into (meta device, or a lazy module)",
            hint="model.to_empty(device=…), or one forward pass, before the optimizer is made",
        )
    if (part := members.sharded) is not None:
        raise UsageError(
            f"load: `{part[:60]}` is split over ranks (expected plain tensors: step() mixes none with DTensors)",
            hint="torch.distributed.checkpoint.state_dict.set_optimizer_state_dict splits what it loads",
        )
    if load_model and members.module is None:
        raise UsageError(
            "load: load_model=True without a Module (expected model=)", hint="load(optimizer, path, model)"
        )
    codes = (allow,) if isinstance(allow, str) else tuple(allow)
    wish = Wish(overrides, codes, load_model, by_name, check)
    with open_checkpoint(
        os.fspath(path),
        model_state=model_state,
        model_key=model_key,
        optimizer_key=optimizer_key,
        max_memory=max_memory,
    ) as checkpoint:
        return load_into(members, checkpoint, os.fspath(path), wish)
