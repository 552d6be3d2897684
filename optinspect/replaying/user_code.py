"""The user's own model and data, by the user's word: `--model pkg.mod:factory --data pkg.mod:batches`.

This is the only place where optinspect imports code that it does not bring: what the command line names, never what
a file names.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect.errors import MAX_MESSAGE, UsageError
from optinspect.replaying.places import said
from optinspect.replaying.training import Live, Loss

if TYPE_CHECKING:
    import torch


def live_model(spec: str) -> Live:
    """Call the factory: it returns a Module, or (Module, loss function of module and batch).

    Without a loss function the module itself is called with the batch (a tuple as arguments, a dict as keywords) and
    returns the loss, an object with `.loss`, or a dict with "loss". Raises UsageError naming what is missing.
    """
    import torch  # noqa: PLC0415

    made = call("--model", spec)
    module, loss = made if isinstance(made, tuple) and len(made) == 2 else (made, _own_loss)
    if not isinstance(module, torch.nn.Module) or not callable(loss):
        raise UsageError(
            f"--model {spec}: gave {type(made).__name__} (expected a Module, or a Module and a loss function)"
        )
    return Live(module, _guarded(f"--model {spec}", loss))


def live_batches(spec: str) -> Iterator[Any]:
    """The batches: an iterable, or a function without arguments that returns one. Raises UsageError."""
    found = named("--data", spec)
    found = _called("--data", spec, found) if callable(found) and not hasattr(found, "__iter__") else found
    try:
        return iter(found)
    except TypeError:
        raise UsageError(f"--data {spec}: {type(found).__name__} (expected an iterable of batches)") from None


def call(option: str, spec: str, *arguments: Any) -> Any:
    """What the function that "pkg.mod:name" names returns. Raises UsageError with the place of an error in its code."""
    return _called(option, spec, named(option, spec), *arguments)


def named(option: str, spec: str) -> Any:
    """The object that "pkg.mod:name" names, with the working directory on the path as `python -m` has it."""
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise UsageError(f"{option} {spec}: expected pkg.mod:name")
    if module.endswith(".py") or "/" in module or module.startswith("."):
        dotted = module.removeprefix("./").removesuffix(".py").strip("/.").replace("/", ".")
        raise UsageError(f"{option} {spec}: expected a module, not a file's path: {dotted}:{name}"[:MAX_MESSAGE])
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # SystemExit too, and what pytest.skip raises
        raise UsageError(f"{option} {spec}: {said(problem)}"[:MAX_MESSAGE]) from problem
    for part in name.split("."):
        if part not in vars(found):
            raise UsageError(f"{option} {spec}: {module} has no {name}")
        found = vars(found)[part]
    return found


def _called(option: str, spec: str, function: Any, *arguments: Any) -> Any:
    """What the user's code prints goes to stderr: stdout is the report's."""
    if not callable(function):
        raise UsageError(f"{option} {spec}: is a {type(function).__name__} (expected a function)")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as problem:
        given = "the model" if arguments else "no arguments"
        raise UsageError(f"{option} {spec}: cannot be called with {given}: {problem}"[:MAX_MESSAGE]) from None
    except ValueError:  # built in: it has no signature to look at
        pass
    try:
        with redirect_stdout(sys.stderr):
            return function(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # SystemExit too, and what pytest.skip raises
        raise UsageError(f"{option} {spec}: {said(problem)}"[:MAX_MESSAGE]) from problem


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
            raise UsageError(f"{subject}: in its forward pass: {said(problem)}"[:MAX_MESSAGE]) from problem
        return found

    return run
