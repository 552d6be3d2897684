"""Everything or nothing: what a live optimizer and model held before a load, and how it is put back.

torch replaces an optimizer's state and groups by new objects, so references are enough to go back. Where a class
has its own load_state_dict, or hooks run on loading, tensors may be written in place: they are copied first. A model
is always loaded in place: its tensors are copied first, on their device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optinspect.live.members import inner

if TYPE_CHECKING:
    import torch


@contextmanager
def unchanged_on_error(optimizer: Any, module: torch.nn.Module | None) -> Iterator[None]:
    """Whatever is raised inside, optimizer and module are then as they were, to the last bit."""
    optimizers = [_Optimizer(each) for each in _layers(optimizer)]
    model = _Model(module) if module is not None else None
    try:
        yield
    except BaseException:
        for each in optimizers:
            each.restore()
        if model is not None:
            model.restore()
        raise


def _layers(optimizer: Any) -> list[Any]:
    """A wrapper (accelerate's, Lightning's) and what it wraps."""
    core = inner(optimizer)
    return [optimizer] if core is optimizer else [optimizer, core]


class _Optimizer:
    """The attributes of an optimizer, its groups and its state."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._attributes = dict(vars(optimizer))
        self._groups = [(group, dict(group), list(group["params"])) for group in optimizer.param_groups]
        state = getattr(optimizer, "state", {})
        self._state = [
            (state, key, held, dict(held) if isinstance(held, dict) else held) for key, held in state.items()
        ]
        self._copies = [(each, each.detach().clone()) for each in _tensors(self._state)] if _writes(optimizer) else []

    def restore(self) -> None:
        import torch  # noqa: PLC0415

        attributes = vars(self._optimizer)
        attributes.clear()
        attributes.update(self._attributes)
        for group, held, params in self._groups:
            group.clear()
            group.update(held)
            group["params"][:] = params
        state = getattr(self._optimizer, "state", {})
        before = {id(key) for _, key, _, _ in self._state}
        for key in [key for key in state if id(key) not in before]:
            del state[key]
        for home, key, held, content in self._state:
            home[key] = held
            if isinstance(held, dict):
                held.clear()
                held.update(content)
        with torch.no_grad():
            for tensor, copy in self._copies:
                tensor.copy_(copy)


def _writes(optimizer: Any) -> bool:
    """Whether loading may write into the tensors of the state that is there."""
    import torch  # noqa: PLC0415

    hooks = ("_optimizer_load_state_dict_pre_hooks", "_optimizer_load_state_dict_post_hooks")
    if any(getattr(optimizer, hook, None) for hook in hooks):
        return True
    return getattr(type(optimizer), "load_state_dict", None) is not torch.optim.Optimizer.load_state_dict


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    import torch  # noqa: PLC0415

    for _, _, _, held in state:
        for value in held.values() if isinstance(held, dict) else (held,):
            if isinstance(value, torch.Tensor):
                yield value


class _Model:
    """The values of a module's parameters and buffers, those outside its state_dict too."""

    def __init__(self, module: torch.nn.Module) -> None:
        every = [*module.named_parameters(), *module.named_buffers()]
        self._copies = [(tensor, tensor.detach().clone()) for _, tensor in every]

    def restore(self) -> None:
        import torch  # noqa: PLC0415

        with torch.no_grad():
            for tensor, copy in self._copies:
                if _written(tensor, copy):
                    tensor.copy_(copy)


def _written(tensor: torch.Tensor, copy: torch.Tensor) -> bool:
    """Whether its bits are others now. What was not written keeps its version too, which autograd looks at."""
    import torch  # noqa: PLC0415

    if tensor.layout is not torch.strided or tensor.is_quantized:
        return True
    now, before = (each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (tensor, copy))
    return not torch.equal(now, before)
