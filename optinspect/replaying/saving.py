"""The checkpoint after a replay, as a file that torch.load(weights_only=True) reads; written whole or not at all.

Everything that is plain data or a tensor goes over as it was, shared storages shared; the weights, moments, step
counts and learning rates are those after the last step. Objects of classes are left out, and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect import writing
from optinspect.checkpoint import Checkpoint
from optinspect.errors import Undecidable, UsageError
from optinspect.naming import name_parameters
from optinspect.optimizers.rules.choice import spelling_of
from optinspect.replaying.result import Final, Replayed
from optinspect.replaying.tree_copy import TreeCopy
from optinspect.routes import format_route, walk
from optinspect.tensors import TensorRef

if TYPE_CHECKING:
    import torch


def check_target(path: str, checkpoint: Checkpoint, *, force: bool) -> None:
    """Everything that can be refused before the work is done. Raises UsageError."""
    if any(_same_file(path, each.path) for each in checkpoint.inputs):
        raise UsageError(f"--save {path}: is the file that is replayed", hint="choose another name")
    writing.check(path, force=force, where=f"--save {path}")


def _same_file(target: str, path: str) -> bool:
    try:
        return Path(target).samefile(path)
    except OSError:
        return False


def save(
    path: str, checkpoint: Checkpoint, replayed: Replayed, *, scheduler: bool = False, force: bool = False
) -> tuple[str, ...]:
    """Write the replayed checkpoint to `path` (see `writing`); returns what is to be said about it.

    `replayed` must have been made with keep=True. Needs the checkpoint's tensors in memory.
    Raises Undecidable where the weights lie in an object of a class,
    UnreadableFile where it cannot be written, UnreadableTensor where a tensor cannot be read,
    UsageError where a file is there now and `force` is not given.
    """
    import torch  # noqa: PLC0415

    copy = TreeCopy()
    roots = [copy.of(tree.root, 0) for tree in checkpoint.trees]
    notes = _updated(checkpoint, replayed, copy, scheduler)
    if copy.left_out:
        notes.append(f"left out, being objects of classes: {', '.join(sorted(copy.left_out))[:160]}")
    whole = roots[0] if len(roots) == 1 else dict(zip(_roles(checkpoint), roots, strict=True))
    writing.write(path, lambda file: torch.save(whole, file), force=force)
    return tuple(notes)


def _roles(checkpoint: Checkpoint) -> list[str]:
    return ["optimizer" if each.role == "checkpoint" else "model" for each in checkpoint.inputs]


def _updated(checkpoint: Checkpoint, replayed: Replayed, copy: TreeCopy, scheduler: bool) -> list[str]:
    """Put the final values into the copies, in place."""
    (optimizer,), (naming,) = checkpoint.optimizers, name_parameters(checkpoint)
    for state, named in zip(optimizer.parameters, naming.parameters, strict=True):
        final = replayed.finals.get(state.index)
        if final is None or named.entry is None:
            continue
        _fill(copy, named.entry.tensor, final.weight, final.name)
        spelling = spelling_of(state.slots)
        back = {name: slot for slot, name in spelling.slots.items()}
        for slot, value in final.state.items():
            home = state.slots.get(spelling.step if slot == "step" else back.get(slot, slot))
            if isinstance(home, TensorRef) and slot == "step":
                copy.made[id(home)] += final.taken  # a counter may run ahead of the steps by its own custom
            elif isinstance(home, TensorRef):
                _fill(copy, home, value, final.name)
    return _by_route(checkpoint, replayed, copy, scheduler)


def _fill(copy: TreeCopy, home: object, value: torch.Tensor, name: str) -> None:
    import torch  # noqa: PLC0415

    tensor = copy.made.get(id(home))
    if tensor is None:
        raise Undecidable(f"--save: {name} lies in an object of a class, which is not written (expected plain dicts)")
    with torch.no_grad():
        tensor.copy_(value.reshape(tensor.shape))


def _by_route(checkpoint: Checkpoint, replayed: Replayed, copy: TreeCopy, scheduler: bool) -> list[str]:
    """What is no tensor: step counts, states that begin with this replay, learning rates, counters."""
    optimizer = checkpoint.optimizers[0]
    found = {format_route(route): value for route, value in walk(checkpoint.trees[optimizer.input].root)}
    raw = found.get(optimizer.route)
    home = copy.made.get(id(raw)) if isinstance(raw, Mapping) else None
    if isinstance(home, dict):
        _states(checkpoint, replayed, home.get("state"))
        _lrs(replayed, home.get("param_groups"))
    taken, start = len(replayed.steps), replayed.steps[0].step - 1
    moved = [
        route for route, count in checkpoint.counters.items() if count == start and _advance(found, copy, route, taken)
    ]
    notes = [f"counted on by {taken}: {', '.join(moved[:5])}"] if moved else []
    if checkpoint.schedulers:
        told = ", the lr is that of the last step" if scheduler else ""
        notes.append(f"the scheduler's state is that of the input{told}")
    return notes


def _states(checkpoint: Checkpoint, replayed: Replayed, states: Any) -> None:
    for parameter in checkpoint.optimizers[0].parameters if isinstance(states, dict) else ():
        final = replayed.finals.get(parameter.index)
        if final is not None and final.state:
            _state(final, states, parameter.key, spelling_of(parameter.slots).step)


def _state(final: Final, states: dict[Any, Any], key: Any, step: str) -> None:
    home = states.get(key)
    if home is None:
        states[key] = dict(final.state)
    elif isinstance(home, dict) and isinstance(home.get(step), int | float):
        home[step] = type(home[step])(home[step] + final.taken)


def _lrs(replayed: Replayed, groups: Any) -> None:
    last = replayed.steps[-1].lr
    if isinstance(groups, Sequence) and len(groups) == len(last):
        for group, lr in zip(groups, last, strict=True):
            if isinstance(group, dict) and isinstance(group.get("lr"), float | int):
                group["lr"] = lr


def _advance(found: Mapping[str, Any], copy: TreeCopy, route: str, steps: int) -> bool:
    """Count on a plain number that lies in a dict; its parent is the route without its last name."""
    parent, _, key = route.rpartition(".")
    home = copy.made.get(id(found.get(parent)))
    if isinstance(home, dict) and type(home.get(key)) is int:
        home[key] += steps
        return True
    return False
