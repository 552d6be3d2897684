"""Checkpoints for the tests of `diff`: small, saved with torch, altered one thing at a time."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from optinspect import cli

Saved = dict[str, Any]


def trained(seed: int = 0, steps: int = 3, *, named: bool = True, groups: bool = True) -> Saved:
    """A small model after `steps` of AdamW, with a scheduler, a counter, a configuration and a random state."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    every = list(net.named_parameters()) if named else list(net.parameters())
    matrices = [each for each in every if (each[1] if named else each).dim() >= 2]
    others = [each for each in every if (each[1] if named else each).dim() < 2]
    given: Any = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(given if groups else every, lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(16, 6)).square().mean().backward()
        optimizer.step()
        scheduler.step()
    return {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "rng": torch.get_rng_state(),
        "step": steps,
        "config": {"lr": 1e-2, "layers": [8, 8, 3], "note": None, "nan": float("nan")},
    }


def changed(saved: Saved) -> Saved:
    """A copy to be altered."""
    return copy.deepcopy(saved)


def save(path: Path, saved: Any, **options: Any) -> str:
    torch.save(saved, path, **options)
    return str(path)


def told(capsys: Any, *words: str, status: int) -> dict[str, Any]:
    """The JSON of `optinspect diff WORDS`."""
    capsys.readouterr()
    assert cli.main(["diff", *words, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def permuted(saved: Saved, order: list[int]) -> Saved:
    """The same optimizer with its parameters listed in another order: position n held what order[n] held."""
    result = changed(saved)
    optimizer = result["optimizer"]
    (group,) = optimizer["param_groups"]
    if "param_names" in group:
        group["param_names"] = [group["param_names"][at] for at in order]
    optimizer["state"] = {n: optimizer["state"][at] for n, at in enumerate(order) if at in optimizer["state"]}
    return result
