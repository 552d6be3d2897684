"""A live model of the user's, set to where a checkpoint left it: weights into the module, moments beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint
from optinspect.errors import Undecidable
from optinspect.optimizers.rules import settings_of
from optinspect.optimizers.rules.adam import AdamW
from optinspect.replaying.plan import Parameter, Plan
from optinspect.replaying.training import Trained
from optinspect.tensors import TensorRef, obstacle
from optinspect.torch_bridge import to_torch

if TYPE_CHECKING:
    import torch

DEFAULTS: Mapping[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
"""torch.optim.AdamW's."""


def fresh(module: torch.nn.Module, group: Mapping[str, Any] = DEFAULTS) -> tuple[Trained, ...]:
    """Every parameter of a model under a new AdamW with these settings."""
    rule = AdamW()
    settings = settings_of(group, group=0, required=rule.required)
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    return tuple(Trained(index, name, 0, group, rule, settings, {}) for index, name in enumerate(names))


def resume(module: torch.nn.Module, checkpoint: Checkpoint, plan: Plan) -> tuple[Trained, ...]:
    """Load the checkpoint's weights and buffers into `module`; what the plan steps, with its state.

    Raises Undecidable where the module has a parameter that the file has not, or one of another shape or dtype.
    """
    import torch  # noqa: PLC0415

    held = _by_name(checkpoint)
    with torch.no_grad():
        for name, tensor in module.state_dict(keep_vars=True).items():
            if name in held:
                _load(name, tensor, held[name])
            elif isinstance(tensor, torch.nn.Parameter):
                raise Undecidable(f"--model: {name} is not in the checkpoint (expected one of {_some(held)})")
    own = {name for name, _ in module.named_parameters()}
    return tuple(_trained(plan, parameter, own) for parameter in plan.parameters)


def _by_name(checkpoint: Checkpoint) -> dict[str, TensorRef]:
    """Tensors of the models that are trained, under every name that they have."""
    found: dict[str, TensorRef] = {}
    for model in checkpoint.models:
        for entry in model.entries if model.role == "model" else ():
            if isinstance(entry.tensor, TensorRef) and obstacle(entry.tensor) is None:
                found.update((name, entry.tensor) for name in (entry.key, entry.name, *entry.aliases))
    return found


def _load(name: str, home: torch.Tensor, tensor: TensorRef) -> None:
    values = to_torch(tensor)
    if values.shape != home.shape or values.dtype != home.dtype:
        found, expected = (f"{x.dtype} {list(x.shape)}".removeprefix("torch.") for x in (values, home))
        raise Undecidable(f"--model: {name} is {found} in the checkpoint (expected {expected}, the model's)")
    home.copy_(values)


def _trained(plan: Plan, parameter: Parameter, own: set[str]) -> Trained:
    import torch  # noqa: PLC0415

    name = next((each for each in (parameter.name, *parameter.aliases) if each in own), None)
    if name is None:
        raise Undecidable(f"--model: has no parameter {parameter.name:.60} (expected one of {_some(own)})")
    place = next(number for number, group in enumerate(plan.groups) if group.number == parameter.group)
    state = {slot: torch.tensor(value) for slot, value in parameter.scalars.items()}
    state.update((slot, to_torch(tensor)) for slot, tensor in parameter.slots.items())
    return Trained(
        parameter.index,
        name,
        place,
        plan.groups[place].hyperparameters,
        parameter.rule,
        parameter.settings,
        state if parameter.slots or parameter.step else {},
    )


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "none"
