"""Training runs in this process, saved twice: what a proof of them must say is known from the live objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

WIDTH = 48


class Block(torch.nn.Module):
    """Several tensors of one shape, so that names have rivals."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.up = torch.nn.Linear(WIDTH, WIDTH)
        self.down = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.tanh(self.up(self.norm(x))))


def model(seed: int, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(Block(), Block(), Block(), torch.nn.Linear(WIDTH, 4)).to(dtype)


@dataclass
class Config:
    """One way to train. `groups`: (share of the lr, weight decay, which parameters)."""

    seed: int = 0
    kind: str = "AdamW"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    groups: list[tuple[float, float]] = field(default_factory=lambda: [(1.0, 0.01)])
    schedule: str = "none"
    clip: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    steps: int = 5
    shuffle: bool = False
    dtype: torch.dtype = torch.float32


@dataclass
class Run:
    """lrs: of the step between the saves; norm: of the gradient it used; names: index → the model's name."""

    a: Path
    b: Path
    lrs: list[float]
    norm: float
    names: dict[int, str]
    config: Config


def config(seed: int) -> Config:
    pick = random.Random(seed)
    kind = pick.choice(["AdamW", "AdamW", "AdamW", "Adam", "AMSGrad", "NAdam", "SGD"])
    count = pick.choice([1, 2, 3])
    return Config(
        seed=seed,
        kind=kind,
        lr=10 ** pick.uniform(-5, -2),
        betas=(
            pick.choice([0.0, 0.5, 0.8, 0.9, 0.95, pick.uniform(0.5, 0.99)]),
            pick.choice([0.9, 0.95, 0.98, 0.99, 0.999]),
        ),
        eps=pick.choice([1e-8, 1e-8, 1e-6, 1e-4]),
        groups=[
            (pick.choice([1.0, 0.5, 0.1]), pick.choice([0.0, 0.01, 0.1, 10 ** pick.uniform(-3, 0)]))
            for _ in range(count)
        ],
        schedule=pick.choice(["none", "cosine", "before", "lambda"]),
        clip=pick.choice([None, None, 0.05, 1.0]),
        momentum=pick.choice([0.9, 0.5, 0.99]),
        nesterov=pick.random() < 0.5,
        steps=pick.randrange(1, 40),
        shuffle=pick.random() < 0.3,
    )


def optimizer_of(net: torch.nn.Module, c: Config) -> torch.optim.Optimizer:
    named = list(net.named_parameters())
    if c.shuffle:
        random.Random(c.seed).shuffle(named)
    groups = [
        {
            "params": [p for n, (_, p) in enumerate(named) if n % len(c.groups) == number],
            "lr": c.lr * share,
            "weight_decay": wd,
        }
        for number, (share, wd) in enumerate(c.groups)
    ]
    make: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "AdamW": lambda: torch.optim.AdamW(groups, betas=c.betas, eps=c.eps),
        "Adam": lambda: torch.optim.Adam(groups, betas=c.betas, eps=c.eps),
        "AMSGrad": lambda: torch.optim.AdamW(groups, betas=c.betas, eps=c.eps, amsgrad=True),
        "NAdam": lambda: torch.optim.NAdam(groups, betas=c.betas, eps=c.eps),
        "SGD": lambda: torch.optim.SGD(groups, momentum=c.momentum, nesterov=c.nesterov),
    }
    return make[c.kind]()


def train(folder: Path, c: Config, spoil: Callable[[dict[str, Any]], None] | None = None) -> Run:
    """Save after `steps` steps and after one more; `spoil` edits what the second file gets."""
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)  # tests run side by side
    net = model(c.seed, c.dtype)
    optimizer = optimizer_of(net, c)
    total = c.steps + 3
    scheduler: Any = None
    if c.schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    elif c.schedule == "lambda":
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / total))
    source = torch.Generator().manual_seed(c.seed)
    start = [group["lr"] for group in optimizer.param_groups]
    lrs: list[float] = []
    norm = 0.0
    saved: list[Path] = []
    for step in range(c.steps + 1):
        if step == c.steps:
            saved.append(save(folder / "a.pt", net, optimizer, scheduler, step, None))
        if c.schedule == "before":
            for group, lr in zip(optimizer.param_groups, start, strict=True):
                group["lr"] = lr * (1 - 0.5 * step / total)
        x = torch.randn(16, WIDTH, generator=source).to(c.dtype)
        y = torch.randn(16, 4, generator=source).to(c.dtype)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        if c.clip is not None:
            torch.nn.utils.clip_grad_norm_(net.parameters(), c.clip)
        norm = float(torch.stack([p.grad.double().norm() for p in net.parameters() if p.grad is not None]).norm())
        lrs = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    saved.append(save(folder / "b.pt", net, optimizer, scheduler, c.steps + 1, spoil))
    names = {id(p): name for name, p in net.named_parameters()}
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    return Run(saved[0], saved[1], lrs, norm, {n: names[id(p)] for n, p in enumerate(ordered)}, c)


def save(
    path: Path,
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    step: int,
    spoil: Callable[[dict[str, Any]], None] | None,
) -> Path:
    held = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    if scheduler is not None:
        held["scheduler"] = {k: v for k, v in scheduler.state_dict().items() if k != "lr_lambdas"}
    if spoil is not None:
        torch.save(held, path)
        held = torch.load(path, weights_only=True)
        spoil(held)
    torch.save(held, path)
    return path
