"""Live objects as the Checkpoint that their save would be: the same types, with names by object identity.

    shot = snapshot(members_of(optimizer, model))
    shot.checkpoint, shot.namings, shot.spare      what `show` works on

Nothing is saved, copied or changed; the tensors' own memory is read when values are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint, Companion, Input, ModelEntry, ModelState, OptimizerState
from optinspect.layouts import models, optimizer_states
from optinspect.layouts.base import Problems
from optinspect.live.members import Member, Members
from optinspect.live.memory import Memory, is_parameter
from optinspect.naming.base import NamedParameter, Naming
from optinspect.tensors import AnyTensor

if TYPE_CHECKING:
    import torch

Spare = tuple[int, ModelEntry, str]
"""A model's tensor that is in no group: number of the model, the tensor, "parameter", "buffer" or "tied"."""

Named = tuple[str, "torch.Tensor", models.Kind]

OPTIMIZER, MODEL = 0, 1
"""Places of the two in Checkpoint.inputs."""


@dataclass(frozen=True)
class Snapshot:
    """What is in memory, as `show` takes it.

    spare    the model's tensors in no group; tensors: entry of the model → the object
    """

    checkpoint: Checkpoint
    namings: tuple[Naming, ...]
    spare: tuple[Spare, ...]
    members: Members
    tensors: Mapping[str, torch.Tensor]
    memory: Memory


def snapshot(members: Members, scheduler: Any = None) -> Snapshot:
    """The optimizer, its model and, where it is given, the scheduler. Raises nothing: oddities become problems."""
    memory, problems = Memory(), Problems()
    optimizer = _optimizer(members, memory, problems)
    named = [] if members.model is None else list(_model_tensors(members.model, memory))
    found = [] if members.model is None else [_model(named, memory, problems)]
    checkpoint = Checkpoint(
        inputs=tuple(_inputs(members, optimizer, found)),
        models=tuple(found),
        optimizers=(optimizer,),
        schedulers=tuple(_schedulers(scheduler, memory)),
        problems=problems.all(),
        notes=tuple(f"wrapper prefix '{model.prefix}' taken off the names" for model in found if model.prefix),
    )
    namings = (_naming(members, found, memory),)
    tensors = {name: tensor for name, tensor, _ in named}
    by_name = {name: tensors[entry.key] for model in found for name, entry in model.by_name.items()}
    return Snapshot(checkpoint, namings, tuple(_spare(found, namings)), members, by_name, memory)


def _inputs(members: Members, optimizer: OptimizerState, found: Iterable[ModelState]) -> Iterator[Input]:
    yield Input("optimizer", _class_of(members.optimizer), "memory", "live", optimizer.nbytes)
    for model in found:
        size = sum(entry.tensor.nbytes for entry in model.entries)
        told = _class_of(members.model)
        plain = members.module is None
        yield Input("model", f"{told} of {len(model.entries)} tensors" if plain else told, "memory", "live", size)


def _class_of(value: Any) -> str:
    """The class as it is imported; without the module for those of a script, a notebook or Python itself."""
    kind = type(value)
    return (
        kind.__qualname__ if kind.__module__ in ("__main__", "builtins") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _optimizer(members: Members, memory: Memory, problems: Problems) -> OptimizerState:
    """As its state_dict would be read from a file."""
    optimizer, _ = optimizer_states.build(_state_dict(members, memory), "optimizer", problems, OPTIMIZER)
    return replace(optimizer, families=_families(type(members.optimizer), optimizer.families))


def _state_dict(members: Members, memory: Memory) -> dict[str, Any]:
    """What torch's Optimizer.state_dict makes, without calling it: wrappers and hooks may do more than look."""
    optimizer = members.optimizer
    numbers: dict[int, int] = {}
    for index, member in enumerate(members.parameters):
        numbers.setdefault(id(member.tensor), index)
    groups = [
        {
            **{key: memory.tree(value) for key, value in group.items() if key != "params"},
            "params": [numbers[id(tensor)] for tensor in group["params"]],
        }
        for group in optimizer.param_groups
    ]
    held = optimizer.state if isinstance(optimizer.state, Mapping) else {}
    state = {numbers.get(id(key), _stray(key)): memory.tree(value) for key, value in held.items()}
    return {"state": state, "param_groups": groups}


def _stray(key: Any) -> int | str:
    """What to call state that belongs to no parameter of a group."""
    if isinstance(key, int | str):
        return key
    return f"a tensor of shape {list(key.shape)}" if hasattr(key, "shape") else type(key).__name__


def _families(kind: type, recognised: tuple[str, ...]) -> tuple[str, ...]:
    """By settings and state as in a file; the class decides between several, and names what nothing recognises."""
    if len(recognised) == 1:
        return recognised
    mine = [base.__name__ for base in kind.__mro__ if base.__name__ in recognised]
    return tuple(mine[:1]) or recognised or (kind.__name__,)


def _model(named: Iterable[Named], memory: Memory, problems: Problems) -> ModelState:
    described = [(name, memory.ref(tensor), kind) for name, tensor, kind in named]
    model, _ = models.build(described, "model", ordered=True, input_number=MODEL, problems=problems)
    return model


def _model_tensors(model: Any, memory: Memory) -> Iterator[Named]:
    """In the order of a state_dict; what that would not save is left out."""
    import torch  # noqa: PLC0415

    if isinstance(model, torch.nn.Module):
        yield from _module_tensors("", model)
        return
    for name, value in model.items() if isinstance(model, Mapping) else model:
        if isinstance(value, torch.nn.Module):
            yield from _module_tensors(f"{name}.", value)
        elif is_parameter(value) or value.requires_grad:
            yield str(name), value, "parameter"
        else:  # a plain tensor may be either
            yield str(name), value, models.guess(str(name), memory.ref(value))


def _module_tensors(prefix: str, root: torch.nn.Module) -> Iterator[Named]:
    for path, module in root.named_modules(remove_duplicate=False):
        start = f"{prefix}{path}." if path else prefix
        for name, tensor in module.named_parameters(recurse=False, remove_duplicate=False):
            yield start + name, tensor, "parameter"
        for name, tensor in module.named_buffers(recurse=False, remove_duplicate=False):
            if name not in module._non_persistent_buffers_set:
                yield start + name, tensor, "buffer"


def _naming(members: Members, found: Iterable[ModelState], memory: Memory) -> Naming:
    """Every parameter with the model's tensor that it is; one that the model lacks with itself, under its own name."""
    entries = {models.identity(entry.tensor): entry for model in found for entry in model.entries}
    refs = [memory.ref(each.tensor) for each in members.parameters]
    known = [entries.get(models.identity(ref)) for ref in refs]
    return Naming(0, tuple(map(_named, range(len(refs)), members.parameters, refs, known)))


def _named(index: int, member: Member, ref: AnyTensor, entry: ModelEntry | None) -> NamedParameter:
    if entry is not None:
        return NamedParameter(index, index, entry.name, "live", entry.aliases, entry=entry, model=0)
    own = ModelEntry(member.label, member.label, ref, "parameter")
    return NamedParameter(index, index, member.name, member.evidence if member.name else "none", entry=own)


def _spare(found: Iterable[ModelState], namings: Iterable[Naming]) -> Iterator[Spare]:
    stepped = {id(row.entry) for naming in namings for row in naming.parameters if row.entry is not None}
    for model in found:
        for entry in model.entries:
            if id(entry) in stepped:
                yield from ((0, replace(entry, name=alias, aliases=(entry.name,)), "tied") for alias in entry.aliases)
            else:
                yield 0, entry, entry.kind


def _schedulers(scheduler: Any, memory: Memory) -> Iterator[Companion]:
    if scheduler is not None and hasattr(scheduler, "state_dict"):
        yield Companion("scheduler", "scheduler", memory.tree(scheduler.state_dict()), type(scheduler).__name__)
