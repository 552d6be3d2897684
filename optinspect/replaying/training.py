"""Training side by side: one model steps under the rule, its twin under what it is compared with.

Each has its own forward and backward pass on the same batches and the same random numbers, so that a difference in
one bit would go on growing as it does in a real run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from optinspect.errors import Undecidable
from optinspect.optimizers.rules import Settings, StepRule
from optinspect.replaying.movers import Mover, Opponent, Start, ours
from optinspect.replaying.result import Final, Replayed, SourceKind
from optinspect.replaying.tally import ParameterTally, Tally

if TYPE_CHECKING:
    import torch

Loss = Callable[["torch.nn.Module", Any], "torch.Tensor"]
"""(model, batch) → the loss to minimise, a tensor of one element."""


@dataclass(frozen=True)
class Live:
    """A model, and what its loss on a batch is."""

    module: torch.nn.Module
    loss: Loss


@dataclass(frozen=True)
class Trained:
    """One parameter of a live model before the first step; `state` is empty for a fresh optimizer."""

    index: int
    name: str
    place: int
    """Of its group among the lrs."""
    group: Mapping[str, Any]
    rule: StepRule
    settings: Settings
    state: Mapping[str, torch.Tensor]


class Watcher(Protocol):
    """Sees the first model at every step: with its gradients, and after the update."""

    def before(self, number: int, module: torch.nn.Module) -> None: ...

    def after(self, number: int, module: torch.nn.Module) -> None: ...


@dataclass(frozen=True)
class Training:
    """What is trained, how, and on what. start: updates done before; lrs: one row a step, one lr a group."""

    live: Live
    parameters: Sequence[Trained]
    batches: Iterator[Any]
    lrs: Sequence[tuple[float, ...]]
    opponent: Opponent
    kind: SourceKind
    start: int = 0
    keep: bool = False
    watcher: Watcher | None = None
    progress: Callable[[int, int], None] | None = None


def train(training: Training) -> Replayed:
    """Run len(lrs) steps. Raises Undecidable where the batches end, a loss is no number to minimise, or a state
    does not fit its rule."""
    one = training.live
    other = replace(one, module=copy.deepcopy(one.module))
    movers = [ours(_start(each, one.module)) for each in training.parameters]
    rivals = [training.opponent.start(_start(each, other.module), each.group) for each in training.parameters]
    tally = Tally(len(training.lrs))
    sums = [tally.parameter(each.settings, each.rule) for each in training.parameters]
    befores = [mover.weight.detach().clone() for mover in movers]
    for number, lrs in enumerate(training.lrs):
        tally.loss(number, _pass(training, number, one, other))
        if training.watcher is not None:
            training.watcher.before(number, one.module)
        _step(training, tally, number, lrs, list(zip(sums, movers, rivals, strict=True)), (one, other))
        if training.watcher is not None:
            training.watcher.after(number, one.module)
        if training.progress is not None:
            training.progress(1, len(training.lrs))
    for each, before, mover in zip(sums, befores, movers, strict=True):
        each.moved(before, mover.weight)
    rows = [
        each.row(parameter.index, parameter.name, mover.weight.shape)
        for each, parameter, mover in zip(sums, training.parameters, movers, strict=True)
    ]
    return Replayed(
        source=training.kind,
        rule=" + ".join(dict.fromkeys(each.rule.name for each in training.parameters)),
        against=training.opponent.name,
        steps=tally.rows(training.start, training.lrs),
        parameters=tuple(rows),
        finals={
            parameter.index: Final(parameter.name, mover.weight, dict(mover.state), len(each.seen))
            for parameter, mover, each in zip(training.parameters, movers, sums, strict=True)
        }
        if training.keep
        else {},
    )


def _start(trained: Trained, module: torch.nn.Module) -> Start:
    """The tensor shares the model's memory: what steps it steps the model."""
    weight = dict(module.named_parameters())[trained.name].detach()
    state = {name: tensor.clone() for name, tensor in trained.state.items()}
    return Start(trained.name, trained.place, weight, state, trained.rule, trained.settings)


def _pass(training: Training, number: int, one: Live, other: Live) -> float:
    """Forward and backward of both on the next batch; the first one's loss."""
    import torch  # noqa: PLC0415

    done = object()
    batch = next(training.batches, done)
    if batch is done:
        raise Undecidable(f"--data: {number} batches (expected {len(training.lrs)}, one a step)")
    random = torch.get_rng_state()
    loss = _backward(one, batch)
    torch.set_rng_state(random)
    _backward(other, batch)
    return loss


def _backward(live: Live, batch: Any) -> float:
    import torch  # noqa: PLC0415

    live.module.zero_grad(set_to_none=True)
    loss = live.loss(live.module, batch)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
        what = f"shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise Undecidable(f"--model: its loss is {what} (expected one number that depends on the parameters)")
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _step(
    training: Training,
    tally: Tally,
    number: int,
    lrs: tuple[float, ...],
    movers: Sequence[tuple[ParameterTally, Mover, Mover]],
    lives: tuple[Live, Live],
) -> None:
    mine, theirs = (dict(live.module.named_parameters()) for live in lives)
    for parameter, (sums, mover, rival) in zip(training.parameters, movers, strict=True):
        gradient, other = mine[parameter.name].grad, theirs[parameter.name].grad
        both = None if gradient is None or other is None else (gradient.detach(), other.detach())
        tally.take(sums, number, mover, rival, both, lrs[parameter.place])
