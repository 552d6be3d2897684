"""What is in a checkpoint, for the headline of `show` and for its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from optinspect.checkpoint import Checkpoint, Companion, ModelState, OptimizerState
from optinspect.commands.show_tables import whole
from optinspect.commands.wording import bytes_of, counted, some
from optinspect.plain import plain
from optinspect.report import Line
from optinspect.tensors import is_tensor

STATE_NODES = 2_000
"""Values of a scheduler's or scaler's state that the summary repeats."""


def summary(checkpoint: Checkpoint) -> dict[str, Any]:
    models = [model for model in checkpoint.models if model.role == "model"]
    steps = [step for optimizer in checkpoint.optimizers for step in optimizer.steps]
    return {
        "optimizers": len(checkpoint.optimizers),
        "model_tensors": sum(len(model.entries) for model in models),
        "model_parameters": sum(model.elements for model in models),
        "optimizer_bytes": sum(optimizer.nbytes for optimizer in checkpoint.optimizers),
        "step": whole(max(steps, default=None)),
        "families": [" or ".join(optimizer.families) or None for optimizer in checkpoint.optimizers],
        "lrs": _lrs(checkpoint),
        "companions": {
            "scheduler": _state(checkpoint.schedulers),
            "scaler": _state(checkpoint.scalers),
            "rng": [each.route for each in checkpoint.rng],
            "ema": [model.route for model in checkpoint.averaged],
            "counters": {route: plain(value) for route, value in checkpoint.counters.items()},
        },
        "opaque": sorted(checkpoint.opaque),
    }


def _lrs(checkpoint: Checkpoint) -> list[Any]:
    """The learning rates of all groups, each once, in their order."""
    found = (plain(group.hyperparameters.get("lr")) for each in checkpoint.optimizers for group in each.groups)
    return list(dict.fromkeys(lr for lr in found if isinstance(lr, int | float)))


def _state(companions: tuple[Companion, ...]) -> dict[str, Any] | None:
    """The first of them; `routes` names them all."""
    if not companions:
        return None
    first = companions[0]
    routes = [each.route for each in companions]
    return {"route": first.route, "name": first.name, "state": plain(first.value, nodes=STATE_NODES), "routes": routes}


def headline(checkpoint: Checkpoint) -> tuple[Line, ...]:
    return tuple(_contents(checkpoint))


def _contents(checkpoint: Checkpoint) -> Iterator[Line]:
    for model in checkpoint.models:
        yield Line("average" if model.role == "ema" else model.role, _model(model))
    for optimizer in checkpoint.optimizers:
        yield Line("optimizer", _optimizer(optimizer))
    for label, companions in (("scheduler", checkpoint.schedulers), ("scaler", checkpoint.scalers)):
        for each in companions:
            yield Line(label, f"{_at(each.route)}{each.name or 'of a class the file does not name'}{_position(each)}")
    if checkpoint.rng:
        yield Line("random", some((each.route for each in checkpoint.rng), 6))
    if checkpoint.counters:
        yield Line("counters", some((f"{route} {value}" for route, value in checkpoint.counters.items()), 8))
    if checkpoint.other:
        others = (f"{route or 'the whole'} {_kind(value)}" for route, value in checkpoint.other.items())
        yield Line("other", some(others, 12, len(checkpoint.other)))
    if checkpoint.opaque:
        names = (f"{name} ×{count}" if count > 1 else name for name, count in checkpoint.opaque.items())
        kept = counted(len(checkpoint.opaque), "name that is no plain data was", "names that are no plain data were")
        yield Line("inert", f"{kept} kept inert: {some(names, 8)}")


def _model(model: ModelState) -> str:
    dtypes = Counter(entry.tensor.dtype.name if entry.tensor.dtype else "?" for entry in model.entries)
    tied = sum(len(entry.aliases) for entry in model.entries)
    buffers = sum(entry.is_buffer for entry in model.entries)
    facts = (
        counted(len(model.entries), "tensor"),
        counted(model.elements, "parameter"),
        some((name for name, _ in dtypes.most_common()), 4),
        counted(buffers, "buffer") if buffers else "",
        counted(tied, "tied name") if tied else "",
        f'prefix "{model.prefix}" taken off' if model.prefix else "",
    )
    route = model.route or some((entry.name for entry in model.entries if entry.beside), 4)
    return _at(route) + ", ".join(fact for fact in facts if fact)


def _optimizer(optimizer: OptimizerState) -> str:
    steps = sorted(set(optimizer.steps))
    facts = (
        " or ".join(optimizer.families) or "of an unknown class",
        counted(len(optimizer.groups), "group"),
        counted(len(optimizer.parameters), "parameter"),
        _steps(steps),
        f"{bytes_of(optimizer.nbytes)} of state",
    )
    return _at(optimizer.route) + ", ".join(facts)


def _steps(steps: list[float]) -> str:
    if not steps:
        return "no step count"
    return f"step {steps[0]:g}" if len(steps) == 1 else f"steps {steps[0]:g} to {steps[-1]:g}"


def _position(companion: Companion) -> str:
    value = companion.value
    last = value.get("last_epoch") if isinstance(value, Mapping) else None
    return f", last_epoch {last}" if isinstance(last, int) else ""


def _at(route: str) -> str:
    return f"{route}: " if route else ""


def _kind(value: Any) -> str:
    """What lies at a route, in a word or two; short plain values as they are."""
    if isinstance(value, Mapping):
        return f"({counted(len(value), 'key')})"
    if isinstance(value, list | tuple | set | frozenset):
        return f"({counted(len(value), 'item')})"
    if is_tensor(value):
        return "(tensor)"
    text = str(plain(value, nodes=20))
    return f"= {text}" if len(text) <= 40 else f"({type(value).__name__})"
