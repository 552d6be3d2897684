"""Who is who in a live optimizer and model: every parameter, once, with its name by object identity.

    members = members_of(optimizer, model)      either order; model may be None
    members.parameters                          the optimizer's, in index order, each with its group and name
    members.unstepped                           the model's that are in no group
    members.strangers                           the optimizer's that the model lacks

Nothing is copied and nothing is changed; names are the same as a checkpoint's: without the prefixes of wrappers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from optinspect.errors import UsageError
from optinspect.layouts.names import without_prefix
from optinspect.live.composites import SHARD
from optinspect.live.memory import is_lazy

if TYPE_CHECKING:
    import torch

Pairs = list[tuple[str, "torch.Tensor"]]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One parameter in memory.

    tensor    the object itself: requires_grad, grad, dtype and device are its own
    name      None where neither the model nor the optimizer (param_names) has one
    aliases   its other names in the model (tied weights), in order
    evidence  live: the model holds this very object, or a view of its memory; recorded: the group's param_names; none
    index     position over all groups; None where no group has it. group: the number of its group, likewise
    """

    tensor: torch.Tensor
    name: str | None
    aliases: tuple[str, ...]
    evidence: Literal["live", "recorded", "none"]
    index: int | None
    group: int | None

    @property
    def names(self) -> tuple[str, ...]:
        return () if self.name is None else (self.name, *self.aliases)

    @property
    def label(self) -> str:
        """What to call it where it must be called something."""
        return self.name if self.name is not None else f"parameter {self.index}"


@dataclass(frozen=True, eq=False)
class Members:
    """A live optimizer with its model.

    optimizer   has param_groups, state, state_dict, load_state_dict
    model       as it was given (a Module, pairs, a mapping), iterators as the list of their pairs; None without one
    parameters  the optimizer's, in index order; a tensor that is listed twice is here twice
    unstepped   the model's parameters in no group, in the model's order
    order       names of all the model's parameters in its own order; () without a model
    prefix      of wrappers, taken off every name ("module.", "_orig_mod.")
    """

    optimizer: torch.optim.Optimizer
    model: Any
    parameters: tuple[Member, ...]
    unstepped: tuple[Member, ...]
    order: tuple[str, ...]
    prefix: str = ""

    @property
    def module(self) -> torch.nn.Module | None:
        """The model where it is a Module, so that it has a state_dict."""
        import torch  # noqa: PLC0415

        return self.model if isinstance(self.model, torch.nn.Module) else None

    @property
    def strangers(self) -> tuple[Member, ...]:
        """The optimizer's parameters that the model does not have; () without a model."""
        return () if self.model is None else tuple(each for each in self.parameters if each.evidence != "live")

    @property
    def without_memory(self) -> str | None:
        """The first parameter on the meta device, or of a lazy module that has not run: there is nothing to fill."""
        every = (*self.parameters, *self.unstepped)
        return next((each.label for each in every if each.tensor.is_meta or is_lazy(each.tensor)), None)

    @property
    def sharded(self) -> str | None:
        """The first parameter that is a DTensor, as FSDP2 and tensor parallelism make them: a part of it is here."""
        every = (*self.parameters, *self.unstepped)
        return next((each.label for each in every if hasattr(each.tensor, SHARD)), None)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Parameters of each group."""
        return tuple(len(group["params"]) for group in self.optimizer.param_groups)


def members_of(first: Any, second: Any = None) -> Members:
    """Tell the optimizer from the model and name its parameters.

    One argument is an optimizer (anything with param_groups and state); the other, or None, is a Module, a mapping of
    names to parameters or to Modules, or an iterable of (name, parameter) pairs.
    Raises UsageError where neither, or both, are optimizers, and for a model that is none of these.
    """
    optimizer, model = _told_apart(first, second)
    pairs = [] if model is None else _pairs(model)
    prefix, bare = without_prefix([name for name, _ in pairs])
    known = _Names([(name, tensor) for name, (_, tensor) in zip(bare, pairs, strict=True)])
    parameters = tuple(_stepped(optimizer, known))
    taken = {each.name for each in parameters if each.evidence == "live"}
    return Members(
        optimizer=optimizer,
        model=model if model is None or _is_module(model) or isinstance(model, Mapping) else pairs,
        parameters=parameters,
        unstepped=tuple(each for each in known.members() if each.name not in taken),
        order=tuple(names[0] for names, _ in known.entries),
        prefix=prefix,
    )


def is_optimizer(value: Any) -> bool:
    """torch.optim's, and wrappers that pass for one (accelerate's, apex's): by what they have, not by their class."""
    return isinstance(getattr(value, "param_groups", None), list) and hasattr(value, "load_state_dict")


def inner(optimizer: Any) -> Any:
    """The optimizer that does the work, inside wrappers that hold it as `optimizer` (accelerate's, Lightning's)."""
    seen = {id(optimizer)}
    while is_optimizer(held := getattr(optimizer, "optimizer", None)) and id(held) not in seen:
        seen.add(id(held))
        optimizer = held
    return optimizer


class _Names:
    """The model's parameters by identity; views of the same memory (a state_dict's tensors) count as the same."""

    def __init__(self, pairs: Pairs) -> None:
        self.entries: list[tuple[list[str], torch.Tensor]] = []
        self._by_id: dict[int, int] = {}
        self._by_memory: dict[tuple[Any, ...], int] = {}
        for name, tensor in pairs:
            place = self._place(tensor)
            if place is None:
                place = self._by_id[id(tensor)] = len(self.entries)
                if (memory := _memory(tensor)) is not None:
                    self._by_memory[memory] = place
                self.entries.append(([], tensor))
            self.entries[place][0].append(name)

    def _place(self, tensor: torch.Tensor) -> int | None:
        found = self._by_id.get(id(tensor))
        memory = _memory(tensor) if found is None else None
        return self._by_memory.get(memory) if memory is not None else found

    def of(self, tensor: torch.Tensor) -> list[str]:
        place = self._place(tensor)
        return [] if place is None else self.entries[place][0]

    def members(self) -> Iterator[Member]:
        """Every entry as a parameter of no group."""
        for names, tensor in self.entries:
            yield Member(tensor, names[0], tuple(names[1:]), "live", None, None)


def _stepped(optimizer: Any, known: _Names) -> Iterator[Member]:
    index = 0
    given = [list(group.get("param_names") or ()) for group in optimizer.param_groups]
    prefix, _ = without_prefix([name for names in given for name in names])
    for number, group in enumerate(optimizer.param_groups):
        recorded = [name[len(prefix) :] for name in given[number]]
        for place, tensor in enumerate(group["params"]):
            if names := known.of(tensor):
                yield Member(tensor, names[0], tuple(names[1:]), "live", index, number)
            elif len(recorded) == len(group["params"]):
                yield Member(tensor, recorded[place], (), "recorded", index, number)
            else:
                yield Member(tensor, None, (), "none", index, number)
            index += 1


def _told_apart(first: Any, second: Any) -> tuple[Any, Any]:
    if is_optimizer(first) and is_optimizer(second):
        hint = "ask for each optimizer on its own"
        raise UsageError("two optimizers (expected one, and the model that it steps)", hint=hint)
    if is_optimizer(first):
        return first, second
    if is_optimizer(second):
        return second, first
    kinds = ", ".join(type(each).__name__ for each in (first, second) if each is not None)
    saved = any(isinstance(each, Mapping) and "param_groups" in each for each in (first, second))
    found = "a state_dict" if saved else f"no optimizer among {kinds or 'the arguments'}"
    hint = "give the optimizer itself; what was saved to a file, optinspect.open and `optinspect show` read"
    raise UsageError(f"{found} (expected an optimizer, with param_groups)", hint=hint)


def _pairs(model: Any) -> Pairs:
    """(name, parameter), tied ones under each of their names. Raises UsageError."""
    if _is_module(model):
        return list(model.named_parameters(remove_duplicate=False))
    if isinstance(model, Mapping):
        return [pair for name, value in model.items() for pair in _of_entry(name, value)]
    if isinstance(model, Iterable):
        found = list(model)
        if all(isinstance(each, tuple) and len(each) == 2 for each in found):
            return [pair for name, value in found for pair in _of_entry(name, value)]
        raise UsageError("the model's parameters come without names (expected model.named_parameters())")
    raise UsageError(
        f"the model is a {type(model).__name__} (expected a Module, a mapping, or (name, parameter) pairs)"
    )


def _of_entry(name: Any, value: Any) -> Pairs:
    """One entry of a mapping or a list of pairs; a Module stands for its parameters."""
    import torch  # noqa: PLC0415

    if isinstance(value, torch.nn.Module):
        return list(value.named_parameters(prefix=str(name), remove_duplicate=False))
    if not isinstance(name, str):
        raise UsageError(f"the model has a key {str(name)[:60]} of type {type(name).__name__} (expected names)")
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    raise UsageError(f"the model's {str(name)[:60]!r} is a {type(value).__name__} (expected a parameter)")


def _is_module(value: Any) -> bool:
    import torch  # noqa: PLC0415

    return isinstance(value, torch.nn.Module)


def _memory(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Where its elements lie; None where it has none, or no memory to compare (meta)."""
    try:
        if tensor.device.type == "meta" or tensor.numel() == 0 or "strided" not in str(tensor.layout):
            return None
        return (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
    except (RuntimeError, NotImplementedError, ValueError):  # without memory of its own: a subclass, a lazy parameter
        return None
