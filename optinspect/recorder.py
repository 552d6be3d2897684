"""`optinspect.Recorder`: the gradients that a training run's optimizer used, step by step, into a folder.

    with optinspect.Recorder(optimizer, "run/grads", model=model):
        train()

`optinspect replay CKPT --grads run/grads` runs the same steps again; `recording_writer` says what is in the folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optinspect.containers.wording import line
from optinspect.errors import OptinspectError, Undecidable, UnreadableFile, UsageError
from optinspect.layouts.names import without_prefix
from optinspect.optimizers.rules.choice import spelling_of
from optinspect.recording_parts import JOURNAL, Key
from optinspect.recording_writer import Step, Writer

if TYPE_CHECKING:
    import torch

PART_BYTES = 64 << 20


class Recorder:
    """Records until `close`, or the end of its `with` block; every error that training could not help is a warning.

    optimizer   a torch.optim.Optimizer: its step is watched by a hook, so a step that GradScaler skips is not recorded
    path        a folder, made if need be; one that holds a recording is refused (UsageError): one folder a run
    every       record the steps whose count is a multiple of it; replaying several steps needs all of them
    model       a Module, a mapping of names to parameters or (name, parameter) pairs, to record under names; without
                it, names that the optimizer was given (param_names) are taken, else indices over all groups
    start       steps completed before, for an optimizer that does not count them (SGD)
    part_bytes  memory, on the CPU, and size of a file; one step is held whatever its size

    What is recorded is `.grad` when the step begins, so after clipping; under a closure, when the closure returns.
    A gradient that is None is absent, not zero. A sparse gradient is recorded as a dense one. A fused optimizer's
    gradients under GradScaler are divided by the scale, as its kernel does. Under DDP record on one rank.
    When the disk is full, a parameter has no name or a gradient is sharded, recording ends with a RuntimeWarning and
    `problem` says why; training goes on.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        path: str | Path,
        every: int = 1,
        model: Any = None,
        *,
        start: int = 0,
        part_bytes: int = PART_BYTES,
    ) -> None:
        if every < 1:
            raise UsageError(f"Recorder: every is {every} (expected 1 or more)")
        self.path = Path(path)
        self.problem: str | None = None
        self._optimizer = optimizer
        self._every = every
        self._completed = start
        self._part_bytes = part_bytes
        self._names = {id(parameter): name for name, parameter in _named(model)} if model is not None else None
        self._keys: dict[int, Key] = {}
        self._writer: Writer | None = None
        self._hook: Any = None

    def open(self) -> Recorder:
        """Begin to record. Raises UsageError for a folder in use or a parameter that `model` lacks, UnreadableFile."""
        self._keys = _keys(self._optimizer, self._names)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            used = next((each for each in self.path.iterdir() if each.suffix in (".pt", JOURNAL)), None)
        except OSError as problem:
            raise UnreadableFile(line(self.path, f"{problem.strerror} (expected a folder to record into)")) from problem
        if used is not None:
            raise UsageError(line(self.path, f"holds {used.name} (expected a new folder)"), hint="one folder a run")
        about = {"optimizer": type(self._optimizer).__name__, "every": self._every}
        self._writer = Writer(self.path, self._part_bytes, about)
        self._hook = self._optimizer.register_step_pre_hook(self._before_step)
        return self

    def close(self) -> None:
        """Save what is in memory and let go of the optimizer. A second call does nothing."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except (OSError, RuntimeError, MemoryError) as problem:
                self._give_up(problem)

    __enter__ = open

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _before_step(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The optimizer's pre-hook; replaces the arguments where there is a closure to wait for."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # args[0] is the optimizer itself
        if closure is None:
            self._record()
            return None
        waiting = self._after(closure)
        return ((args[0], waiting, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": waiting})

    def _after(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        calls = 0

        def recorded() -> Any:
            nonlocal calls
            loss = closure()
            calls += 1
            if calls == 1:
                self._record()
            elif calls == 2:
                self._give_up(Undecidable("the optimizer evaluates its closure several times a step"))
            return loss

        return recorded

    def _record(self) -> None:
        """One step is about to be taken."""
        if self._writer is None or _skipped(self._optimizer):
            return
        try:
            if self._completed % self._every == 0:
                stored = _count(self._optimizer)
                self._completed = self._completed if stored is None else stored
            if self._completed % self._every == 0:
                self._writer.add(self._step())
        except (OSError, OptinspectError, RuntimeError, MemoryError) as problem:
            self._give_up(problem)
        self._completed += 1

    def _step(self) -> Step:
        groups = self._optimizer.param_groups
        gradients: dict[Key, torch.Tensor] = {}
        scale = getattr(self._optimizer, "grad_scale", None)
        for parameter in _parameters(self._optimizer):
            if parameter.grad is not None:
                if id(parameter) not in self._keys:  # add_param_group
                    self._keys = _keys(self._optimizer, self._names)
                gradient = _dense(parameter.grad.detach(), self._keys[id(parameter)])
                gradients[self._keys[id(parameter)]] = gradient if scale is None else gradient / scale
        lrs = [float(group["lr"]) for group in groups]
        return Step(self._completed, gradients, lrs, [_settings(group) for group in groups])

    def _give_up(self, problem: Exception) -> None:
        """No more is recorded; what was is kept."""
        if self.problem is None:
            self.problem = str(problem) or type(problem).__name__
            told = f"optinspect.Recorder: recording into {self.path} ended at step {self._completed}: {self.problem}"
            warnings.warn(told, RuntimeWarning, stacklevel=2)
        self.close()


def _named(model: Any) -> Iterable[tuple[str, torch.Tensor]]:
    """Pairs without the prefixes of wrappers (DDP, torch.compile)."""
    found = model.named_parameters() if hasattr(model, "named_parameters") else model
    pairs = list(found.items() if isinstance(found, Mapping) else found)
    _, names = without_prefix([name for name, _ in pairs])
    return [(name, tensor) for name, (_, tensor) in zip(names, pairs, strict=True)][::-1]  # the first of tied names


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _keys(optimizer: torch.optim.Optimizer, names: Mapping[int, str] | None) -> dict[int, Key]:
    """id of a parameter → what it is recorded under. Raises UsageError for a parameter without a name."""
    parameters = list(_parameters(optimizer))
    if names is None:
        own = [name for group in optimizer.param_groups for name in group.get("param_names") or ()]
        given = len(own) == len(parameters)
        return {id(each): own[index] if given else index for index, each in enumerate(parameters)}
    for index, parameter in enumerate(parameters):
        if id(parameter) not in names:
            shape = list(parameter.shape)
            raise UsageError(f"Recorder: parameter {index} of the optimizer (shape {shape}) is not in `model`")
    return {id(parameter): names[id(parameter)] for parameter in parameters}


def _skipped(optimizer: torch.optim.Optimizer) -> bool:
    """GradScaler found inf and calls a fused optimizer all the same, which then does nothing."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def _count(optimizer: torch.optim.Optimizer) -> int | None:
    """Steps completed, by the optimizer's own count; None where it keeps none."""
    counts = []
    for parameter in _parameters(optimizer):
        state = optimizer.state.get(parameter)
        if state and parameter.grad is not None:
            spelling = spelling_of(state.keys())
            stored = state.get(spelling.step)
            counts.append(spelling.completed(stored.item() if hasattr(stored, "item") else stored))
    return max((int(count) for count in counts if count is not None), default=None)


def _dense(gradient: torch.Tensor, key: Key) -> torch.Tensor:
    if hasattr(gradient, "full_tensor"):
        raise Undecidable(f"{key}: its gradient is sharded (expected the whole one)")
    dense = gradient.to_dense() if gradient.layout != _strided() else gradient
    if not (dense.is_floating_point() or dense.is_complex()):
        raise Undecidable(f"{key}: its gradient is {dense.dtype}")
    return dense.resolve_conj().resolve_neg()


def _strided() -> Any:
    import torch  # noqa: PLC0415

    return torch.strided


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's hyperparameters as plain data: what is none is left out."""
    found = {key: _plain(value) for key, value in group.items() if key not in ("params", "param_names")}
    return {key: value for key, value in found.items() if value is not _plain}


def _plain(value: Any) -> Any:
    """The function itself for what is no plain value."""
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _plain if _plain in items else tuple(items)
    if hasattr(value, "numel"):
        return value.item() if value.numel() == 1 else _plain
    return value if value is None or isinstance(value, bool | int | float | str) else _plain
