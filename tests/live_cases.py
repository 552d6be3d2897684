"""Live models and optimizers for the tests of `load` and `check --model`, and what torch itself makes of a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Block(nn.Module):
    """Several shapes, two pairs of the same shape, a norm, a bias."""

    def __init__(self, width: int = 6, head: bool = False, second_bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.middle = nn.Linear(width, width)
        self.last = nn.Linear(width, width, bias=second_bias)
        self.norm = nn.LayerNorm(width)
        if head:
            self.head = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.last(self.middle(self.first(x)).relu()))
        return self.head(y) if hasattr(self, "head") else y


Make = Callable[[nn.Module], torch.optim.Optimizer]


def adamw(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), **{"lr": 1e-3, **settings})


def two_groups(model: nn.Module, decay: tuple[float, float] = (0.1, 0.0)) -> torch.optim.Optimizer:
    """Matrices and the others, as most training scripts have them."""
    wide = [p for p in model.parameters() if p.dim() > 1]
    flat = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": wide, "weight_decay": decay[0]}, {"params": flat, "weight_decay": decay[1]}]
    return torch.optim.AdamW(groups, lr=1e-3)


def trained(model: nn.Module, make: Make, steps: int = 3, seed: int = 0) -> torch.optim.Optimizer:
    optimizer = make(model)
    torch.manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 4)).pow(2).mean().backward()
        optimizer.step()
    return optimizer


def save(
    path: Path, model: nn.Module | None, optimizer: Any, edit: Callable[[Any], Any] | None = None, **more: Any
) -> Path:
    whole: dict[str, Any] = {"model": model.state_dict()} if model is not None else {}
    whole |= {"optimizer": copy.deepcopy(optimizer.state_dict()), **more}
    if edit is not None:
        whole = edit(whole) or whole
    torch.save(whole, path)
    return path


def reaction(model: nn.Module, optimizer: torch.optim.Optimizer, file: Path) -> tuple[str, str]:
    """("load" | "step" | "silent", the error) of torch's own load_state_dict and first step, on copies."""
    model, optimizer = copy.deepcopy((model, optimizer))
    held = torch.load(file, weights_only=True)
    try:
        optimizer.load_state_dict(held["optimizer"])
    except Exception as problem:
        return "load", f"{type(problem).__name__}: {problem}"
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    try:
        optimizer.step()
    except Exception as problem:
        return "step", f"{type(problem).__name__}: {problem}"
    return "silent", ""


def same(a: Any, b: Any) -> bool:
    """Bit for bit, types and order of keys too."""
    if isinstance(a, torch.Tensor):
        if not isinstance(b, torch.Tensor) or (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return torch.equal(*(x.detach().contiguous().reshape(-1).view(torch.uint8) for x in (a, b)))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def corpus_objects(truth: dict[str, Any]) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """The live objects that a truth.json describes: names, shapes, groups, settings; torch.optim's classes only."""
    root, known = nn.Module(), {}
    for each in truth["models"][0]["parameters"]:
        values = torch.zeros(each["shape"]).to(getattr(torch, each["dtype"].removeprefix("torch.")))
        known[each["name"]] = nn.Parameter(values, requires_grad=each["requires_grad"])
        _put(root, each["name"], known[each["name"]])
    for names in truth["models"][0].get("tied") or []:
        first = next(name for name in names if name in known)
        for name in names:
            if name not in known:
                _put(root, name, known[first])
                known[name] = known[first]
    return root, [_corpus_optimizer(each, known) for each in truth["optimizers"]]


def _corpus_optimizer(described: dict[str, Any], known: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    groups = []
    for group in described["groups"]:
        settings = {key: tuple(value) if key in PAIRS else value for key, value in group.items() if key not in NAMES}
        members = [known[name if isinstance(name, str) else name[0]] for name in group["names"]]
        groups.append({**settings, "params": members})
    kind = getattr(torch.optim, described["cls"].rpartition(".")[2])
    return kind(groups, lr=1e-2)


PAIRS = ("betas", "etas", "step_sizes")
NAMES = ("params", "names", "param_names")


def _put(root: nn.Module, name: str, parameter: nn.Parameter) -> None:
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    root.register_parameter(last, parameter)


def truth_of(folder: Path) -> dict[str, Any]:
    """Of a case, with the objects of its healthy twin where the edit left none to describe."""
    truth = json.loads((folder / "truth.json").read_text())
    if not truth["models"] or not truth["optimizers"] or "groups" not in truth["optimizers"][0]:
        twin = (truth["twin"] or "").removeprefix("p4_")
        healthy = json.loads((folder.parent / twin / "truth.json").read_text())
        truth["models"], truth["optimizers"] = healthy["models"], healthy["optimizers"]
    return truth
