"""Models and optimizers as people have them in memory, each really trained for a few steps: cases for `summary`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn, optim

Pair = tuple[nn.Module, optim.Optimizer]
INPUTS = 6


class Tied(nn.Module):
    """A head that is the embedding, and a norm with buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, INPUTS)
        self.norm = nn.BatchNorm1d(INPUTS)
        self.head = nn.Linear(INPUTS, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.embedding(x.argmax(1))))
        return out


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 12), nn.Tanh(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))


def backbone() -> nn.Module:
    """A backbone and a head, as in fine-tuning."""
    return nn.Sequential(nn.Sequential(nn.Linear(INPUTS, 12), nn.Tanh(), nn.Linear(12, 8)), nn.Linear(8, 3))


def train(
    model: nn.Module, optimizer: optim.Optimizer, steps: int = 3, after: Callable[[], Any] = lambda: None
) -> Pair:
    for _ in range(steps):
        x = torch.randn(10, INPUTS, dtype=next(model.parameters()).real.dtype)

        def closure(x: torch.Tensor = x) -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = model(x).abs().pow(2).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        after()
    return model, optimizer


def _of(kind: Callable[..., optim.Optimizer], **settings: Any) -> Callable[[], Pair]:
    def made() -> Pair:
        model = plain()
        return train(model, kind(model.parameters(), **settings))

    return made


def muon() -> Pair:
    model = nn.Sequential(nn.Linear(INPUTS, 12, bias=False), nn.Linear(12, 3, bias=False))
    return train(model, optim.Muon(model.parameters()))


def sparse() -> Pair:
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True))
    optimizer = optim.SparseAdam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.tensor([1, 1, 2])).pow(2).sum().backward()
        optimizer.step()
    return model, optimizer


def tied() -> Pair:
    model = Tied()
    return train(model, optim.AdamW(model.parameters()))


def fresh() -> Pair:
    model = plain()
    return model, optim.AdamW(model.parameters(), weight_decay=0.1)


def frozen_excluded() -> Pair:
    model = backbone()
    model[0].requires_grad_(False)
    return train(model, optim.Adam([p for p in model.parameters() if p.requires_grad]))


def frozen_included() -> Pair:
    model = backbone()
    model[0].requires_grad_(False)
    return train(model, optim.Adam(model.parameters()))


def frozen_groups() -> Pair:
    model = backbone()
    model[0].requires_grad_(False)
    groups = [{"params": model[0].parameters(), "lr": 1e-4}, {"params": model[1].parameters()}]
    return train(model, optim.Adam(groups, lr=1e-3))


def frozen_later() -> Pair:
    model, optimizer = train(model := plain(), optim.AdamW(model.parameters()))
    model[0].requires_grad_(False)
    optimizer.zero_grad()
    return train(model, optimizer)


def added_later() -> Pair:
    model = backbone()
    model[0].requires_grad_(False)
    _, optimizer = train(model, optim.AdamW(model[1].parameters()))
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": model[0].parameters(), "lr": 1e-4})
    return train(model, optimizer, 2)


def decay_groups() -> Pair:
    model = plain()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return train(model, optim.AdamW(groups, lr=1e-3))


def scheduled() -> Pair:
    model = plain()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    return train(model, optimizer, after=schedule.step)


def named() -> Pair:
    model = plain()
    return train(model, optim.AdamW(model.named_parameters()))


def in_dtype(dtype: torch.dtype) -> Callable[[], Pair]:
    def made() -> Pair:
        model = plain().to(dtype)
        return train(model, optim.AdamW(model.parameters()))

    return made


def channels_last() -> Pair:
    model = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.Conv2d(4, 3, 1), nn.Flatten())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return train(model, optim.AdamW(model.parameters()))


def wrapped() -> Pair:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> Any:
            return self.module(x)

    model = Wrapper(Tied())
    return train(model, optim.Adam(model.parameters()))


CASES: Mapping[str, Callable[[], Pair]] = {
    "Adadelta": _of(optim.Adadelta),
    "Adafactor": _of(optim.Adafactor),
    "Adagrad": _of(optim.Adagrad, lr_decay=1e-3),
    "Adam": _of(optim.Adam),
    "Adam amsgrad": _of(optim.Adam, amsgrad=True),
    "Adam fused": _of(optim.Adam, fused=True),
    "Adam tensor lr": _of(optim.Adam, lr=torch.tensor(1e-3)),
    "AdamW": _of(optim.AdamW),
    "AdamW foreach": _of(optim.AdamW, foreach=True),
    "Adamax": _of(optim.Adamax),
    "ASGD": _of(optim.ASGD),
    "LBFGS": _of(optim.LBFGS, max_iter=3),
    "NAdam": _of(optim.NAdam),
    "RAdam": _of(optim.RAdam),
    "RMSprop": _of(optim.RMSprop),
    "RMSprop centered": _of(optim.RMSprop, centered=True, momentum=0.9),
    "Rprop": _of(optim.Rprop),
    "SGD": _of(optim.SGD, lr=1e-2),
    "SGD momentum": _of(optim.SGD, lr=1e-2, momentum=0.9, nesterov=True),
    "Muon": muon,
    "SparseAdam": sparse,
    "tied": tied,
    "before the first step": fresh,
    "frozen, left out": frozen_excluded,
    "frozen, passed": frozen_included,
    "frozen, in a group": frozen_groups,
    "frozen later": frozen_later,
    "added later": added_later,
    "decay groups": decay_groups,
    "scheduled": scheduled,
    "named": named,
    "bfloat16": in_dtype(torch.bfloat16),
    "float64": in_dtype(torch.float64),
    "channels last": channels_last,
    "wrapped": wrapped,
}


def case(name: str) -> Pair:
    """The case, the same every time."""
    torch.manual_seed(7)
    return CASES[name]()


def names_of(parameters: Iterable[torch.Tensor], model: nn.Module) -> list[str]:
    known = {id(tensor): name for name, tensor in model.named_parameters()}
    return [known[id(tensor)] for tensor in parameters]
