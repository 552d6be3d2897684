"""One step of one live parameter under a step rule, on torch tensors and a torch.optim-style state dict."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

from optinspect.errors import Undecidable
from optinspect.optimizers.arithmetic import TorchArithmetic
from optinspect.optimizers.rules.base import Slot, StepRule, begun
from optinspect.optimizers.rules.settings import Settings, finite, settings_of

if TYPE_CHECKING:
    import torch

_OPS = TorchArithmetic()


def live_settings(rule: StepRule, group: Mapping[str, Any], number: int) -> Settings:
    """Settings of a live param_group, whose numbers may be one-element tensors.

    A tensor lr stays one: torch computes 1 − lr·wd and lr/(1 − β1^t) in its dtype, and so do the rules then. Tensor
    betas are taken as the numbers they hold, which is not exact. Raises Undecidable as `settings_of` does.
    """
    plain = {key: _plain(value) for key, value in group.items() if key not in ("params", "param_names")}
    settings = settings_of(plain, group=number, required=rule.required)
    lr = group["lr"]
    return replace(settings, lr=cast(float, lr.detach().squeeze())) if hasattr(lr, "squeeze") else settings


def torch_step(
    rule: StepRule,
    parameter: torch.Tensor,
    gradient: torch.Tensor,
    state: MutableMapping[str, Any],
    settings: Settings,
    *,
    label: str = "parameter",
) -> None:
    """Move `parameter` by one step, in place: any shape, memory format, floating or complex dtype. Wants no_grad.

    state   "step" (completed steps: a 0-d tensor or a number) and the rule's slots as torch.optim names them; an empty
            one is begun as torch begins it, with zeros in the parameter's dtype and memory format
    label   what an error calls the parameter

    Slots of another dtype than the parameter (float32 moments over bfloat16 weights, which torch.optim does not run):
    the step is computed in the wider one, and every tensor rounded once at its end.
    Raises Undecidable for a sparse gradient, a shape that is not the parameter's, a missing slot, a bad step count;
    nothing has changed then.
    """
    _check_array("its gradient", gradient, parameter, label)
    wanted = rule.slots(settings)
    slots = _held(rule, wanted, parameter, state, settings, label)
    t = _advance(state, label) if rule.counts else 0.0
    state.update(slots)
    dtype = _widest(parameter, *(slots[slot.name] for slot in wanted if slot.name in slots and not slot.scalar))
    scalars = {slot.name for slot in wanted if slot.scalar}
    work = {name: tensor if name in scalars else tensor.to(dtype) for name, tensor in slots.items()}
    weight = parameter.to(dtype)
    effective = rule.accumulate(_OPS, weight, gradient.to(dtype), work, settings, t)
    rule.move(_OPS, weight, effective, work, settings, t)
    _write_back(parameter, weight)
    for name, tensor in work.items():
        if state.get(name) is None:  # made by this first step
            state[name] = tensor
        _write_back(state[name], tensor)


def _held(
    rule: StepRule,
    wanted: tuple[Slot, ...],
    parameter: torch.Tensor,
    state: Mapping[str, Any],
    settings: Settings,
    label: str,
) -> dict[str, torch.Tensor]:
    """The slots before the step, checked; begun where the parameter has no state yet."""
    held = {slot.name: state[slot.name] for slot in wanted if state.get(slot.name) is not None}
    if not held and "step" not in state:
        return begun(rule, _OPS, parameter, settings)
    for slot in wanted:
        if slot.name not in held:
            if slot.start is not None:
                raise Undecidable(f"{label}: its state has no {slot.name} (expected by {rule.title})")
        elif slot.scalar:
            _check_scalar(slot.name, held[slot.name], label)
        else:
            _check_array(slot.name, held[slot.name], parameter, label)
    return held


def _advance(state: MutableMapping[str, Any], label: str) -> float:
    """Count this step, in the tensor that counts where there is one; the number of this step."""
    stored = state.get("step", None if state else 0.0)
    count = finite(_plain(stored))
    if count is None or count < 0:
        raise Undecidable(f"{label}: its step is {stored!r:.60} (expected a count of completed steps)")
    tensor = stored if hasattr(stored, "add_") else _OPS.scalar(count)
    tensor += 1
    state["step"] = tensor
    return _OPS.number(tensor)


def _check_array(what: str, found: Any, parameter: torch.Tensor, label: str) -> None:
    import torch  # noqa: PLC0415

    if not isinstance(found, torch.Tensor) or found.layout != torch.strided:
        kind = str(found.layout) if isinstance(found, torch.Tensor) else type(found).__name__
        raise Undecidable(f"{label}: {what} is {kind:.60} (expected a dense tensor)")
    if found.shape != parameter.shape:
        raise Undecidable(f"{label}: {what} has shape {list(found.shape)} (expected {list(parameter.shape)})")
    dtypes = (torch.complex64, torch.complex128) if parameter.is_complex() else _real_dtypes()
    if found.dtype not in dtypes or parameter.dtype not in dtypes:
        raise Undecidable(f"{label}: {what} is {found.dtype} over a weight of {parameter.dtype} (no step is defined)")


def _real_dtypes() -> tuple[torch.dtype, ...]:
    import torch  # noqa: PLC0415

    return (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _check_scalar(name: str, found: Any, label: str) -> None:
    value = finite(_plain(found))
    if not hasattr(found, "mul_") or value is None or not 0 <= value <= 1:
        raise Undecidable(f"{label}: {name} is {found!r:.60} (expected a 0-d tensor between 0 and 1)")


def _widest(*tensors: torch.Tensor) -> torch.dtype:
    import torch  # noqa: PLC0415

    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def _write_back(home: torch.Tensor, computed: torch.Tensor) -> None:
    if home is not computed:
        home.copy_(computed)


def _plain(value: Any) -> Any:
    """A one-element tensor as the number it holds, also inside a pair; anything else as it is."""
    if isinstance(value, tuple | list):
        return tuple(_plain(item) for item in value)
    return value.item() if hasattr(value, "numel") and value.numel() == 1 else value
