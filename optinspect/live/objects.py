"""The model and optimizer that a resume is checked with: the user's, live or made by functions that the user names.

    --model pkg.mod:make_model                  () → a Module; or (Module, optimizer); a loss beside it is ignored
    --optimizer pkg.mod:make_optimizer          (the model) → an optimizer

Without an optimizer one stands in: torch's own class of the file's kind, over the groups that the file's names give.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect.errors import MAX_MESSAGE, UsageError
from optinspect.live.members import inner, is_optimizer
from optinspect.live.memory import is_lazy
from optinspect.replaying.user_code import call

if TYPE_CHECKING:
    import torch

SEED = 0
"""Of the random numbers with which the user's functions make their weights."""


def made(model: Any, optimizer: Any) -> tuple[Any, Any]:
    """Model and optimizer, either None: functions called, live objects copied, so that no one's own are changed.

    Raises UsageError, with the place in the user's code where it raises.
    """
    import torch  # noqa: PLC0415

    if isinstance(optimizer, str) and model is None:
        raise UsageError(f"--optimizer {optimizer}: needs --model, which it is given")
    with torch.random.fork_rng(devices=[]), _surroundings_kept():
        torch.manual_seed(SEED)
        if isinstance(model, str):
            model, paired = _parted(model, call("--model", model))
            optimizer = paired if optimizer is None else optimizer
            if isinstance(optimizer, str):
                return model, _optimizer(optimizer, call("--optimizer", optimizer, model))
            return model, optimizer
        if isinstance(optimizer, str):
            optimizer = _optimizer(optimizer, call("--optimizer", optimizer, model))
            return model, optimizer
    return _copied(model, optimizer)


@contextmanager
def _surroundings_kept() -> Iterator[None]:
    """What the user's functions may set for their whole process is set back: paths and steps here do not expect it."""
    import torch  # noqa: PLC0415

    folder, dtype, device = Path.cwd(), torch.get_default_dtype(), torch.get_default_device()
    gradients = torch.is_grad_enabled()
    try:
        yield
    finally:
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)


def _parted(spec: str, found: Any) -> tuple[Any, Any]:
    import torch  # noqa: PLC0415

    module, other = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    if is_optimizer(module) and isinstance(other, torch.nn.Module):
        module, other = other, module
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"--model {spec}: gave {type(found).__name__} (expected a Module, or a Module and an optimizer)"
        )
    _initialised(f"--model {spec}", module)
    return module, other if is_optimizer(other) else None


def _optimizer(spec: str, found: Any) -> Any:
    if not is_optimizer(found):
        raise UsageError(f"--optimizer {spec}: gave {type(found).__name__} (expected an optimizer)")
    return found


def _initialised(subject: str, module: torch.nn.Module) -> None:
    lazy = next((name for name, tensor in module.named_parameters() if is_lazy(tensor)), None)
    if lazy is not None:
        raise UsageError(f"{subject}: `{lazy[:60]}` has no shape yet (expected a module that has run once)")


def _copied(model: Any, optimizer: Any) -> tuple[Any, Any]:
    """Copied together, so that the copied optimizer steps the copied model. Raises UsageError for other objects."""
    import torch  # noqa: PLC0415

    if optimizer is not None and not is_optimizer(optimizer):
        raise UsageError(f"optimizer is a {type(optimizer).__name__} (expected an optimizer, or 'pkg.mod:function')")
    if isinstance(model, torch.nn.Module):
        _initialised("model", model)
    elif model is not None and (optimizer is None or isinstance(model, type) or not isinstance(model, Iterable)):
        raise UsageError(f"model is a {type(model).__name__} (expected a Module, or 'pkg.mod:function')")
    memo: dict[int, Any] = {}
    try:
        if optimizer is not None:
            _copy_optimizer(inner(optimizer), memo)
        copied: tuple[Any, Any] = copy.deepcopy((model, optimizer), memo)
    except Exception as problem:
        what = f"{type(problem).__name__}: {problem}"
        raise UsageError(f"model and optimizer cannot be copied to try the resume: {what}"[:MAX_MESSAGE]) from problem
    return copied


def _copy_optimizer(optimizer: Any, memo: dict[int, Any]) -> None:
    """With all its attributes, which torch's own copy leaves out (LBFGS then cannot step).

    Not the hooks, nor a `step` that a scheduler or GradScaler has put in its place: those are about the original.
    """
    kind: Any = type(optimizer)
    made = memo[id(optimizer)] = kind.__new__(kind)
    for name, value in vars(optimizer).items():
        if name in PATCHED:
            continue
        vars(made)[name] = type(value)() if name.endswith("_hooks") else copy.deepcopy(value, memo)


PATCHED = ("step", "_step", "zero_grad", "_opt_called")
