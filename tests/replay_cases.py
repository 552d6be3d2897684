"""Training runs that tests of the replay save and record, and the steps that torch.optim takes from a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "AdamW": torch.optim.AdamW,
    "Adam": torch.optim.Adam,
    "NAdam": torch.optim.NAdam,
    "SGD": torch.optim.SGD,
}


def net(dtype: torch.dtype = torch.float32) -> torch.nn.Sequential:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).to(dtype)


def two_groups(model: torch.nn.Module, **options: Any) -> list[dict[str, Any]]:
    """Decay for matrices, none for the rest, under two learning rates."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    return [
        {"params": matrices, "lr": 0.02, "weight_decay": 0.1, **options},
        {"params": rest, "lr": 0.005, "weight_decay": 0.0, **options},
    ]


class Run:
    """A model that is trained, saved and recorded."""

    def __init__(self, make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer], **net_options: Any) -> None:
        self.model = net(**net_options)
        self.optimizer = make(two_groups(self.model))
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 40)
        self.source = torch.Generator().manual_seed(2)
        self.steps = 0
        self.recorded: list[tuple[int, list[float], dict[str, torch.Tensor]]] = []

    def train(self, steps: int, *, record: bool = False) -> None:
        dtype = next(self.model.parameters()).dtype
        for _ in range(steps):
            x = torch.randn(16, 5, generator=self.source).to(dtype)
            self.optimizer.zero_grad()
            self.model(x).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
            if record:
                used = {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}
                self.recorded.append((self.steps, [g["lr"] for g in self.optimizer.param_groups], used))
            self.optimizer.step()
            self.scheduler.step()
            self.steps += 1

    def save(self, path: Path) -> str:
        held = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        state = {key: part.state_dict() for key, part in held.items()}
        torch.save({**state, "step": self.steps}, path)
        return str(path)

    def save_recording(self, path: Path, rows: slice = slice(None)) -> str:
        part = self.recorded[rows]
        used = {name: torch.stack([row[2][name] for row in part]) for name in part[0][2]}
        torch.save({"steps": [row[0] for row in part], "lrs": [row[1] for row in part], "used": used}, path)
        return str(path)


def torch_steps(
    checkpoint: Path, recordings: Sequence[Path], cls: str, names: Sequence[str]
) -> tuple[dict[str, torch.Tensor], dict[int, dict[str, torch.Tensor]]]:
    """Weights by name and state by index after torch.optim's single-tensor path took the recorded steps."""
    held = torch.load(checkpoint, weights_only=True)
    parameters = [torch.nn.Parameter(held["model"][name].clone()) for name in names]
    state = copy.deepcopy(held["optimizer"])
    for group in state["param_groups"]:
        group.update(foreach=False, **({"fused": None} if "fused" in group else {}))
    optimizer = CLASSES[cls](
        [{"params": [parameters[index] for index in group["params"]]} for group in state["param_groups"]], lr=1e-3
    )
    optimizer.load_state_dict(state)
    for path in recordings:
        recording = torch.load(path, weights_only=True)
        for row in range(len(recording["steps"])):
            _one(optimizer, parameters, names, recording, row)
    weights = {name: parameter.detach() for name, parameter in zip(names, parameters, strict=True)}
    return weights, {index: optimizer.state[parameter] for index, parameter in enumerate(parameters)}


def _one(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    names: Sequence[str],
    recording: dict[str, Any],
    row: int,
) -> None:
    used = {name: stack[row] for name, stack in recording["used"].items()}
    if not all(bool(gradient.isfinite().all()) for gradient in used.values()):
        return  # a GradScaler leaves such a step out
    for group, lr in zip(optimizer.param_groups, recording["lrs"][row], strict=True):
        group["lr"] = lr
    for name, parameter in zip(names, parameters, strict=True):
        parameter.grad = used[name].clone() if name in used else None
    optimizer.step()


def names_of(folder: Path) -> list[str]:
    told = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["optimizers"][0]["index_to_name"]
    return [told[str(index)] for index in range(len(told))]
