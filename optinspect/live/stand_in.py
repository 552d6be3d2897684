"""An optimizer for `check --model` where the user names none: torch's own class of the file's kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint, OptimizerState
from optinspect.live.members import Members, members_of
from optinspect.naming.base import Naming
from optinspect.naming.recorded import plain

if TYPE_CHECKING:
    import torch


class NoStandIn(Exception):
    """Why no optimizer can be made from the file alone; the reason is reported."""


def stand_in(checkpoint: Checkpoint, naming: Naming, model: torch.nn.Module) -> Members:
    """An optimizer of torch's class for the file's family, over the model's parameters in the file's groups.

    Raises NoStandIn where the family is not torch's, the names do not give the groups, or the settings are refused.
    """
    from torch import optim  # noqa: PLC0415

    kinds: Mapping[str, Any] = {
        each.__name__: each
        for each in (
            *(optim.Adadelta, optim.Adagrad, optim.Adam, optim.AdamW, optim.SparseAdam, optim.Adamax, optim.ASGD),
            *(optim.LBFGS, optim.NAdam, optim.RAdam, optim.RMSprop, optim.Rprop, optim.SGD),
        )
    }
    file = checkpoint.optimizers[0]
    kind = next((kinds[family] for family in file.families if family in kinds), None)
    if kind is None:
        known = " or ".join(file.families) or "of no known kind"
        raise NoStandIn(f"the file's optimizer is {known}: --optimizer MOD:FUNC makes it")
    groups = _groups(checkpoint, naming, model)
    try:
        made = kind([{**_settings(group.hyperparameters), "params": members} for group, members in groups], lr=1e-3)
    except Exception as problem:
        raise NoStandIn(f"torch.optim.{kind.__name__} refuses the file's settings: {problem}") from problem
    return members_of(made, model)


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in group.items()}


def _groups(checkpoint: Checkpoint, naming: Naming, model: torch.nn.Module) -> list[tuple[Any, list[torch.Tensor]]]:
    """The model's parameters in the file's groups: in one group all that fit in their order, else by the file's names.

    Where the file's own model has more parameters than its optimizer, the run left some out: names tell which.
    """
    file = checkpoint.optimizers[0]
    known: dict[str, torch.Tensor] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        known.setdefault(plain(name), tensor)
    if len(file.groups) != 1:
        return _by_names(file, naming, known)
    every = list(dict.fromkeys(known.values()))
    trained = [each for each in every if each.requires_grad]
    shapes = [state.shape for state in file.parameters]
    for chosen in (every, trained):
        if len(chosen) == len(shapes):
            if all(shape in (None, tuple(each.shape)) for each, shape in zip(chosen, shapes, strict=True)):
                return [(file.groups[0], chosen)]
            if sorted(map(repr, shapes)) == sorted(repr(tuple(each.shape)) for each in chosen):
                return _by_names(file, naming, known)
            return [(file.groups[0], chosen)]
    held = {plain(name) for each in checkpoint.models for name in each.by_name}
    if len(shapes) < len(trained) and known.keys() <= held:
        return _by_names(file, naming, known)
    return [(file.groups[0], trained)]


def _by_names(
    file: OptimizerState, naming: Naming, known: Mapping[str, torch.Tensor]
) -> list[tuple[Any, list[torch.Tensor]]]:
    groups: list[tuple[Any, list[torch.Tensor]]] = [(group, []) for group in file.groups]
    place = {group.number: position for position, group in enumerate(file.groups)}
    unnamed = sum(row.name is None for row in naming.parameters)
    if unnamed:
        total = len(naming.parameters)
        raise NoStandIn(
            f"{unnamed:,} of {total:,} parameters of its groups have no name: --optimizer MOD:FUNC makes them"
        )
    seen: set[int] = set()
    for state, row in zip(file.parameters, naming.parameters, strict=True):
        tensor = next((known[name] for each in _names(row) if (name := plain(each)) in known), None)
        if tensor is not None and id(tensor) not in seen:
            seen.add(id(tensor))
            groups[place[state.group]][1].append(tensor)
    if any(not members for _, members in groups):
        raise NoStandIn("a group of the file has no parameter of this model: --optimizer MOD:FUNC makes the groups")
    return groups


def _names(row: Any) -> Sequence[str]:
    return (row.name or "", *row.aliases)
