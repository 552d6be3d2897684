"""The user's own model and data, by the user's word: `--model pkg.mod:factory --data pkg.mod:batches`.

This is the only place where optinspect imports code that it does not bring: what the command line names, never what
a file names.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect.errors import UsageError
from optinspect.replaying.training import Live, Loss

if TYPE_CHECKING:
    import torch


def live_model(spec: str) -> Live:
    """Call the factory: it returns a Module, or (Module, loss function of module and batch).

    Without a loss function the module itself is called with the batch (a tuple as arguments, a dict as keywords) and
    returns the loss, an object with `.loss`, or a dict with "loss". Raises UsageError naming what is missing.
    """
    import torch  # noqa: PLC0415

    made = _called("--model", spec, _named("--model", spec))
    module, loss = made if isinstance(made, tuple) and len(made) == 2 else (made, _own_loss)
    if not isinstance(module, torch.nn.Module) or not callable(loss):
        raise UsageError(
            f"--model {spec}: gave {type(made).__name__} (expected a Module, or a Module and a loss function)"
        )
    return Live(module, _guarded(f"--model {spec}", loss))


def live_batches(spec: str) -> Iterator[Any]:
    """The batches: an iterable, or a function without arguments that returns one. Raises UsageError."""
    found = _named("--data", spec)
    found = _called("--data", spec, found) if callable(found) and not hasattr(found, "__iter__") else found
    try:
        return iter(found)
    except TypeError:
        raise UsageError(f"--data {spec}: {type(found).__name__} (expected an iterable of batches)") from None


def _named(option: str, spec: str) -> Any:
    """The object that "pkg.mod:name" names, with the working directory on the path as `python -m` has it."""
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise UsageError(f"{option} {spec}: expected pkg.mod:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except Exception as problem:
        raise UsageError(f"{option} {spec}: {type(problem).__name__}: {problem}") from problem
    for part in name.split("."):
        if part not in vars(found):
            raise UsageError(f"{option} {spec}: {module} has no {name}")
        found = vars(found)[part]
    return found


def _called(option: str, spec: str, function: Any) -> Any:
    try:
        return function()
    except Exception as problem:
        raise UsageError(f"{option} {spec}: {type(problem).__name__}: {problem}") from problem


def _own_loss(module: torch.nn.Module, batch: Any) -> Any:
    if isinstance(batch, dict):
        found = module(**batch)
    else:
        found = module(*batch) if isinstance(batch, list | tuple) else module(batch)
    if isinstance(found, dict):
        return found.get("loss", found)
    return found.loss if hasattr(found, "loss") else found


def _guarded(subject: str, loss: Callable[[torch.nn.Module, Any], Any]) -> Loss:
    """The user's forward pass; an exception in it is the user's to know, in one line."""

    def run(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        try:
            found: torch.Tensor = loss(module, batch)
        except Exception as problem:
            raise UsageError(f"{subject}: in its forward pass: {type(problem).__name__}: {problem}") from problem
        return found

    return run
