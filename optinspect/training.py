"""`optinspect.AdamW`: the built-in rule as a torch.optim.Optimizer to train with.

The class is made on first use, because its base class needs torch and importing optinspect must not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from optinspect.optimizers.arithmetic import TorchArithmetic
from optinspect.optimizers.rules.adam import AdamW as AdamWRule
from optinspect.optimizers.rules.settings import Settings
from optinspect.optimizers.stepping import live_settings, torch_step

if TYPE_CHECKING:
    import torch

_RULE = AdamWRule()
_SWITCHES = {"foreach": None, "capturable": False, "differentiable": False, "fused": None}
"""torch.optim.AdamW's choices of implementation: kept, so that its state_dicts pass through unchanged, but not used."""

_ABOUT = """AdamW with torch.optim.AdamW's arguments, groups and state; state_dicts go both ways.

    params        tensors, (name, tensor) pairs or groups, as in torch.optim
    lr            > 0, a float or a one-element tensor
    betas, eps, weight_decay, amsgrad, maximize    as in torch.optim.AdamW

Bit-equal on CPU with torch.optim.AdamW(foreach=False), whatever `foreach` or `fused` a loaded state_dict asks for.
Refused: sparse gradients and differentiable=True (RuntimeError), a group whose lr, betas, eps or weight_decay is no
finite number and a state whose shapes are not the parameter's (errors.Undecidable, at the step).

"""


@cache
def adamw_class() -> type[torch.optim.Optimizer]:
    """The AdamW class, always the same one."""
    import torch  # noqa: PLC0415

    class AdamW(torch.optim.Optimizer):
        __doc__ = _ABOUT + (AdamWRule.__doc__ or "")

        def __init__(
            self,
            params: Any,
            lr: float | torch.Tensor = 1e-3,
            betas: tuple[float, float] = (0.9, 0.999),
            eps: float = 1e-8,
            weight_decay: float = 1e-2,
            amsgrad: bool = False,
            *,
            maximize: bool = False,
        ) -> None:
            _validate(lr, betas, eps, weight_decay)
            settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
            kept = {"maximize": maximize, **_SWITCHES, "decoupled_weight_decay": True}
            super().__init__(params, {**settings, **kept})

        def __setstate__(self, state: dict[str, Any]) -> None:
            super().__setstate__(state)
            _complete(self)

        @torch.no_grad()
        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            """One step for every parameter with a gradient; `closure` re-evaluates the loss and returns it."""
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for label, parameter, gradient, settings in list(_ready(self)):
                torch_step(_RULE, parameter, gradient, self.state[parameter], settings, label=label)
            return loss

    AdamW.__module__, AdamW.__qualname__ = "optinspect", "AdamW"
    return AdamW


def _validate(lr: Any, betas: Any, eps: float, weight_decay: float) -> None:
    """Raise ValueError naming the hyperparameter that no AdamW can run with."""
    if getattr(lr, "numel", lambda: 1)() != 1:
        raise ValueError(f"lr has {lr.numel()} elements (expected one)")
    values = {"lr": lr, "betas[0]": betas[0], "betas[1]": betas[1], "eps": eps, "weight_decay": weight_decay}
    for name, value in values.items():
        end = 1.0 if name.startswith("betas") else float("inf")
        if not 0.0 <= float(value) < end:
            raise ValueError(f"{name} is {float(value)} (expected 0 <= {name} < {end:g})")


def _complete(optimizer: torch.optim.Optimizer) -> None:
    """Bring a state of any version of torch to today's: missing switches, counters that were Python numbers."""
    for group in optimizer.param_groups:
        for key, value in {"amsgrad": False, "maximize": False, **_SWITCHES}.items():
            group.setdefault(key, value)
        group["decoupled_weight_decay"] = True
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if isinstance(state.get("step"), int | float):
                state["step"] = TorchArithmetic().scalar(float(state["step"]))


def _ready(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, Settings]]:
    """Every parameter that has a gradient, with what to call it and its group's settings; refuses what AdamW cannot."""
    for number, group in enumerate(optimizer.param_groups):
        if group["differentiable"]:
            raise RuntimeError(f"group {number}: differentiable=True (this AdamW steps outside autograd)")
        settings = live_settings(_RULE, group, number)
        for place, parameter in enumerate(group["params"]):
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                raise RuntimeError("AdamW does not support sparse gradients (torch.optim.SparseAdam does)")
            names = group.get("param_names")
            yield (names[place] if names else f"group {number}, parameter {place}"), parameter, gradient, settings
