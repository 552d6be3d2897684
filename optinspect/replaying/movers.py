"""Who steps a parameter: a rule of ours, or a class of torch.optim in one of its implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from optinspect.errors import Undecidable, UsageError
from optinspect.optimizers.rules import STEP_RULES, Settings, StepRule

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Start:
    """A parameter, or a slab of one, before the first step; the tensors are the mover's own to change.

    state  slots as torch.optim names them, "step" among them as a 0-d tensor; empty before a first step
    """

    label: str
    group: int
    weight: torch.Tensor
    state: dict[str, torch.Tensor]
    rule: StepRule
    settings: Settings


class Mover(Protocol):
    """Steps one tensor; `weight` and `state` are as the last step left them."""

    @property
    def weight(self) -> torch.Tensor: ...

    @property
    def state(self) -> Mapping[str, torch.Tensor]: ...

    def step(self, gradient: torch.Tensor, lr: float) -> None:
        """One update with `gradient`, which stays as it is."""
        ...


class RuleMover:
    """A step rule of this package. Raises Undecidable where the state does not fit the rule."""

    def __init__(self, start: Start) -> None:
        wanted = {slot.name for slot in start.rule.slots(start.settings)} | ({"step"} if start.rule.counts else set())
        self.weight = start.weight
        self.state = {name: value for name, value in start.state.items() if name in wanted}
        self._start = start

    def step(self, gradient: torch.Tensor, lr: float) -> None:
        import torch  # noqa: PLC0415

        from optinspect.optimizers.stepping import torch_step  # noqa: PLC0415

        start = self._start
        settings = replace(start.settings, lr=lr)
        with torch.no_grad():
            torch_step(start.rule, self.weight, gradient, self.state, settings, label=start.label)


class TorchMover:
    """torch.optim's own class for the rule, over this one tensor."""

    def __init__(self, start: Start, switches: Mapping[str, Any]) -> None:
        make = _torch_class(start.rule)
        options = {key: value for key, value in _options(start.settings).items() if key in make.options}
        try:
            self._optimizer = make.build([start.weight], **options, **switches)
        except (TypeError, ValueError, RuntimeError) as problem:
            raise Undecidable(f"group {start.group}: torch.optim.{make.name} refuses it: {problem}") from problem
        self.weight = start.weight
        if start.state:
            self._optimizer.state[start.weight] = start.state

    @property
    def state(self) -> Mapping[str, torch.Tensor]:
        held: Mapping[str, torch.Tensor] = self._optimizer.state[self.weight]
        return held

    def step(self, gradient: torch.Tensor, lr: float) -> None:
        self._optimizer.param_groups[0]["lr"] = lr
        self.weight.grad = gradient
        self._optimizer.step()
        self.weight.grad = None


@dataclass(frozen=True)
class TorchClass:
    """A class of torch.optim, and which of the settings it takes."""

    name: str
    build: Callable[..., torch.optim.Optimizer]
    options: tuple[str, ...]


_ADAM = ("lr", "betas", "eps", "weight_decay", "amsgrad", "maximize")


def _torch_class(rule: StepRule) -> TorchClass:
    """What torch has for a rule; for variants of AdamW that torch does not have, AdamW itself."""
    from torch import optim  # noqa: PLC0415

    known = {
        "adam": TorchClass("Adam", optim.Adam, _ADAM),
        "nadam": TorchClass(
            "NAdam",
            optim.NAdam,
            ("lr", "betas", "eps", "weight_decay", "momentum_decay", "decoupled_weight_decay", "maximize"),
        ),
        "sgd": TorchClass("SGD", optim.SGD, ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")),
    }
    return known.get(rule.name) or TorchClass("AdamW", optim.AdamW, _ADAM)


def _options(s: Settings) -> dict[str, Any]:
    return {
        "lr": s.lr,
        "betas": (s.beta1, s.beta2),
        "eps": s.eps,
        "weight_decay": s.weight_decay,
        "amsgrad": s.amsgrad,
        "maximize": s.maximize,
        "momentum": s.momentum,
        "dampening": s.dampening,
        "momentum_decay": s.momentum_decay,
        "decoupled_weight_decay": s.decoupled,
        "nesterov": s.nesterov,
    }


@dataclass(frozen=True)
class Opponent:
    """What the file's rule is compared with. `rule`: None for torch's implementation of the file's own."""

    name: str
    title: str
    switches: Mapping[str, bool] | None = None
    rule: StepRule | None = None

    def start(self, start: Start, group: Mapping[str, Any]) -> Mover:
        """Raises Undecidable where it cannot run with this state or these settings."""
        if self.rule is not None:
            from optinspect.optimizers.rules import settings_of  # noqa: PLC0415

            settings = settings_of(group, group=start.group, required=self.rule.required)
            return RuleMover(replace(start, rule=self.rule, settings=settings))
        _check_dtypes(start)
        return TorchMover(start, self.switches or {})


OPPONENTS: tuple[Opponent, ...] = (
    Opponent("torch", "torch.optim, foreach=False", {"foreach": False}),
    Opponent("torch-foreach", "torch.optim, foreach=True", {"foreach": True}),
    Opponent("torch-fused", "torch.optim, fused=True", {"fused": True}),
    *(Opponent(rule.name, rule.title, rule=rule) for rule in STEP_RULES),
)


def opponent_named(name: str) -> Opponent:
    """Raises UsageError where there is none of that name."""
    found = next((each for each in OPPONENTS if each.name == name), None)
    if found is None:
        raise UsageError(f"--against {name}: not known", hint=f"one of {', '.join(each.name for each in OPPONENTS)}")
    return found


def ours(start: Start) -> Mover:
    return RuleMover(start)


def _check_dtypes(start: Start) -> None:
    """torch.optim casts a loaded state to the weight's dtype, so it would not run what the file holds."""
    for name, slot in start.state.items():
        if slot.dim() and slot.dtype != start.weight.dtype:
            held, weight = (str(each.dtype).removeprefix("torch.") for each in (slot, start.weight))
            raise Undecidable(
                f"{start.label}: {name} is {held} over a weight of {weight}: torch.optim casts it when it loads it",
                hint=f"--against {start.rule.name} runs it as it is",
            )
