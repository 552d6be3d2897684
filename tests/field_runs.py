"""Healthy training runs by seed: kinds of models, optimizers, groups and schedules, combined at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler as schedules

Loss = Callable[[nn.Module, torch.Generator], torch.Tensor]
Group = dict[str, Any]


class Block(nn.Module):
    """A layer of a transformer, with a mask among its buffers."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width, bias=bias)
        self.register_buffer("mask", torch.full((5, 5), -torch.inf).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        out: torch.Tensor = x + self.proj(torch.softmax(q @ k.transpose(1, 2) + self.mask, -1) @ v)
        return out


class Text(nn.Module):
    """Embeddings with rows that are never seen, blocks, a head that may be tied."""

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        width, self.words = r.choice([8, 12]), r.choice([19, 32])
        self.embed = nn.Embedding(self.words, width)
        self.h = nn.ModuleList(Block(width, r.random() < 0.7) for _ in range(r.randint(1, 3)))
        self.head = nn.Linear(width, self.words, bias=False)
        if r.random() < 0.5:
            self.head.weight = self.embed.weight

    def loss(self, g: torch.Generator) -> torch.Tensor:
        words = torch.randint(0, self.words // 2, (3, 6), generator=g)
        x = self.embed(words[:, :-1])
        for block in self.h:
            x = block(x)
        return nn.functional.cross_entropy(self.head(x).flatten(0, 1), words[:, 1:].flatten())


class Images(nn.Module):
    """Convolutions and batch norms; the norm that ends a block may begin at 0."""

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        width = r.choice([4, 6])
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
            for _ in range(r.randint(1, 3))
        )
        for block in self.blocks if r.random() < 0.5 else ():
            nn.init.zeros_(block[1].weight)  # type: ignore[index]
        self.fc = nn.Linear(width, 5)

    def loss(self, g: torch.Generator) -> torch.Tensor:
        x = self.stem(torch.randn(4, 3, 6, 6, generator=g))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        labels = torch.randint(0, 5, (4,), generator=g)
        return nn.functional.cross_entropy(self.fc(x.mean((2, 3))), labels)


class Adapted(nn.Module):
    """Frozen layers with low-rank adapters, the second factor at 0 in the beginning."""

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        self.base = nn.ModuleList(nn.Linear(8, 8) for _ in range(r.randint(2, 3)))
        self.lora_a = nn.ModuleList(nn.Linear(8, 2, bias=False) for _ in self.base)
        self.lora_b = nn.ModuleList(nn.Linear(2, 8, bias=False) for _ in self.base)
        self.head = nn.Linear(8, 3)
        self.base.requires_grad_(False)
        for layer in self.lora_b:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]

    def loss(self, g: torch.Generator) -> torch.Tensor:
        x = torch.randn(6, 8, generator=g)
        for base, a, b in zip(self.base, self.lora_a, self.lora_b, strict=True):
            x = torch.tanh(base(x) + b(a(x)))
        out: torch.Tensor = self.head(x).square().mean() + self.head(x).mean()
        return out


class Experts(nn.Module):
    """Experts that take turns; the last may never have one."""

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        self.router, self.out = nn.Linear(8, 4), nn.Linear(8, 1)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(4))
        self.turns, self.used = 0, r.choice([3, 4])

    def loss(self, g: torch.Generator) -> torch.Tensor:
        x, self.turns = torch.randn(4, 8, generator=g), self.turns + 1
        turn = self.turns % self.used
        out: torch.Tensor = self.out(x + self.router(x).softmax(-1)[:, turn : turn + 1] * self.experts[turn](x))
        return out.square().mean()


MODELS: tuple[type[Any], ...] = (Text, Images, Adapted, Experts)

OPTIMIZERS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (torch.optim.AdamW, {}),
    (torch.optim.AdamW, {"amsgrad": True}),
    (torch.optim.AdamW, {"fused": True}),
    (torch.optim.AdamW, {"betas": (0.9, 0.95), "eps": 1e-6}),
    (torch.optim.Adam, {"weight_decay": 0.01}),
    (torch.optim.NAdam, {}),
    (torch.optim.RAdam, {}),
    (torch.optim.Adamax, {}),
    (torch.optim.Adafactor, {}),
    (torch.optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (torch.optim.Adagrad, {}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
)
ADAMS = OPTIMIZERS[:7]

SCHEDULES: tuple[Callable[[Any], Any] | None, ...] = (
    None,
    lambda o: schedules.StepLR(o, 4, 0.5),
    lambda o: schedules.CosineAnnealingLR(o, 50),
    lambda o: schedules.CosineAnnealingWarmRestarts(o, 6, 2),
    lambda o: schedules.OneCycleLR(o, 0.01, total_steps=80, cycle_momentum=bool({"momentum", "betas"} & {*o.defaults})),
    lambda o: schedules.CyclicLR(o, 1e-4, 1e-2, 5, cycle_momentum=False),
    lambda o: schedules.PolynomialLR(o, 45),
    lambda o: schedules.ConstantLR(o, 0.5, 7),
    lambda o: schedules.LambdaLR(o, lambda e: min(1.0, (e + 1) / 9)),
    lambda o: schedules.SequentialLR(o, [schedules.LinearLR(o, 0.1), schedules.ExponentialLR(o, 0.97)], [5]),
    lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o, 0.5, 4), schedules.ExponentialLR(o, 0.95)]),
)


@dataclass
class Run:
    """What was saved, and the truth about it. names: index → the parameter's name."""

    saved: dict[str, Any]
    names: list[str]
    kind: str
    scheduled: bool


def run(seed: int, *, adam: bool = False, steps: int | None = None) -> Run:
    """Train and save; the same seed gives the same run."""
    r, g = random.Random(seed), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = r.choice(MODELS)(r)
    kind, options = r.choice(ADAMS if adam else OPTIMIZERS)
    optimizer = kind(_groups(model, r), lr=3e-3, **options)
    make = r.choice(SCHEDULES)
    scheduler = make(optimizer) if make is not None and kind is not torch.optim.Adafactor else None
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0) if r.random() < 0.2 else None
    steps = r.choice([0, 1, 2, 12, 20, 30]) if steps is None else steps
    _train(model, optimizer, scheduler, scaler, steps, g)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": steps - (r.random() < 0.2)}
    saved |= {"scheduler": scheduler.state_dict()} if scheduler is not None else {}
    saved |= {"scaler": scaler.state_dict()} if scaler is not None else {}
    named = {id(p): name for name, p in model.named_parameters()}
    names = [named[id(p)] for group in optimizer.param_groups for p in group["params"]]
    return Run(saved, names, f"{type(model).__name__} {kind.__name__} {options}", scheduler is not None)


def _groups(model: nn.Module, r: random.Random) -> list[Group]:
    """One group, decay and no decay, a group for each module at the top, or a group for each parameter."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad or r.random() < 0.1]
    how = r.choice(["one", "decay", "modules", "each"])
    keys = {"one": lambda n, p: 0, "decay": lambda n, p: p.ndim < 2, "modules": lambda n, p: n.split(".")[0]}
    key: Callable[[str, Any], Any] = keys.get(how, lambda n, p: n)
    groups: dict[Any, Group] = {}
    for name, p in named:
        groups.setdefault(key(name, p), {"params": []})["params"].append(p)
    return [{**group, "weight_decay": 0.0} if label is True else group for label, group in groups.items()]


def _train(model: Any, optimizer: Any, scheduler: Any, scaler: Any, steps: int, g: torch.Generator) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(g)
        (scaler.scale(loss) if scaler is not None else loss).backward()
        if scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        if scheduler is not None:
            scheduler.step()
