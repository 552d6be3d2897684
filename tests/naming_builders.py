"""Checkpoints for naming tests: by hand from shapes, or from real torch objects as their files would hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch

from optinspect.checkpoint import (
    Checkpoint,
    Input,
    ModelEntry,
    ModelState,
    OptimizerState,
    ParameterState,
    ParamGroup,
)
from optinspect.naming import NamedParameter, Naming, name_parameters
from optinspect.tensors import DTYPES, Storage, TensorRef

Shape = tuple[int, ...]
Named = Sequence[tuple[str, Shape]]
FLOAT = DTYPES["float32"]
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def tensor(shape: Shape, dtype: str = "float32") -> TensorRef:
    kind = DTYPES[dtype]
    return TensorRef(kind, shape, (1,) * len(shape), 0, Storage("0", kind, 0, "cpu", None))


def entry(name: str, shape: Shape, aliases: tuple[str, ...] = (), dtype: str = "float32") -> ModelEntry:
    kind: Literal["buffer?", "parameter?"] = "buffer?" if name.endswith(BUFFERS) else "parameter?"
    return ModelEntry(name, name, tensor(shape, dtype), kind, aliases)


def model(
    parameters: Named, route: str = "model", ordered: bool = True, role: Literal["model", "ema", "copy"] = "model"
) -> ModelState:
    return ModelState(route, tuple(entry(name, shape) for name, shape in parameters), ordered, role)


def optimizer(
    groups: Sequence[Sequence[Shape | None]],
    route: str = "optimizer",
    names: Sequence[Sequence[str] | None] | None = None,
    **settings: Sequence[float | str],
) -> OptimizerState:
    """Groups of shapes; settings: a value a group, `weight_decay=[0.1, 0.0]`."""
    rows: list[ParameterState] = []
    written: list[ParamGroup] = []
    for number, shapes in enumerate(groups):
        keys = tuple(range(len(rows), len(rows) + len(shapes)))
        given = names[number] if names else None
        hyper = {key: values[number] for key, values in settings.items()}
        written.append(ParamGroup(number, keys, tuple(given) if given is not None else None, hyper))
        for key, shape in zip(keys, shapes, strict=True):
            rows.append(ParameterState(key, key, number, {}, shape, 1.0, "present" if shape else "missing"))
    return OptimizerState(route, tuple(written), tuple(rows), ("AdamW",))


def checkpoint(models: Iterable[ModelState], optimizers: Iterable[OptimizerState]) -> Checkpoint:
    return Checkpoint((Input("checkpoint", "c.pt", "torch-zip", "dictionary", 0),), tuple(models), tuple(optimizers))


def from_torch(
    models: Mapping[str, torch.nn.Module], optimizers: Mapping[str, torch.optim.Optimizer], ordered: bool = True
) -> Checkpoint:
    """What torch.save of the state_dicts would hold; `ordered=False` sorts the keys as safetensors does."""
    return checkpoint(
        [_model(module, route, ordered) for route, module in models.items()],
        [_optimizer(one.state_dict(), route) for route, one in optimizers.items()],
    )


def _model(module: torch.nn.Module, route: str, ordered: bool) -> ModelState:
    names: dict[tuple[int, Shape], list[str]] = {}
    state = module.state_dict()
    for name in state if ordered else sorted(state):
        names.setdefault((state[name].data_ptr(), tuple(state[name].shape)), []).append(name)
    entries = [
        entry(first, tuple(state[first].shape), tuple(aliases), str(state[first].dtype).removeprefix("torch."))
        for first, *aliases in names.values()
    ]
    return ModelState(route, tuple(entries), ordered)


def _optimizer(state: dict[str, Any], route: str) -> OptimizerState:
    written = [
        ParamGroup(
            number,
            tuple(group["params"]),
            tuple(group["param_names"]) if "param_names" in group else None,
            {key: value for key, value in group.items() if key not in ("params", "param_names")},
        )
        for number, group in enumerate(state["param_groups"])
    ]
    rows = [(key, group.number) for group in written for key in group.params]
    return OptimizerState(
        route,
        tuple(written),
        tuple(
            ParameterState(index, key, group, {}, _shape(state["state"].get(key, {})), None, "present")
            for index, (key, group) in enumerate(rows)
        ),
        ("AdamW",),
    )


def _shape(slots: dict[str, Any]) -> Shape | None:
    held = [slots[slot] for slot in ("exp_avg", "momentum_buffer") if slots.get(slot) is not None]
    return tuple(held[0].shape) if held else None


def step(module: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    """One update of every parameter that wants a gradient."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 0.01)
    for one in optimizers:
        one.step()


def live_names(module: torch.nn.Module, one: torch.optim.Optimizer, prefix: str = "") -> list[str]:
    """The truth by object identity, in index order."""
    names = {id(parameter): prefix + name for name, parameter in module.named_parameters()}
    return [names[id(parameter)] for group in one.param_groups for parameter in group["params"]]


def names(naming: Naming) -> list[str | None]:
    return [row.name for row in naming.parameters]


def only(models: Iterable[ModelState], one: OptimizerState) -> Naming:
    return name_parameters(checkpoint(models, [one]))[0]


def by_evidence(naming: Naming, *evidence: str) -> list[NamedParameter]:
    return [row for row in naming.parameters if row.evidence in evidence]
