"""Continued schedules against torch's own schedulers, value for value, from checkpoints saved on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import optinspect
from optinspect.errors import Undecidable
from optinspect.replaying.schedules import SCHEDULES, continued

Make = Callable[[torch.optim.Optimizer], schedulers.LRScheduler]

CASES: dict[str, Make] = {
    "StepLR": lambda o: schedulers.StepLR(o, 7, gamma=0.3),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [5, 12, 12, 31], gamma=0.5),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.97),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 15, eta_min=1e-5),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.1, 1.0, total_iters=20),
}
REFUSED: dict[str, tuple[Make, str]] = {
    "LambdaLR": (lambda o: schedulers.LambdaLR(o, lambda e: 0.9**e), "its function is not in the file"),
    "OneCycleLR": (lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=90), "betas"),
    "CosineAnnealingWarmRestarts": (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 10), "no rule"),
    "SequentialLR": (
        lambda o: schedulers.SequentialLR(
            o, [schedulers.ConstantLR(o), schedulers.ExponentialLR(o, 0.9)], milestones=[3]
        ),
        "several",
    ),
}


def trained(make: Make, steps: int) -> tuple[torch.nn.Module, torch.optim.Optimizer, schedulers.LRScheduler]:
    """A model after `steps` steps, two groups of different lr."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([{"params": [model.weight], "lr": 0.01}, {"params": [model.bias], "lr": 0.3}])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR steps its parts in a way that torch warns of
        scheduler = make(optimizer)
        for _ in range(steps):
            step(model, optimizer, scheduler)
    return model, optimizer, scheduler


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: schedulers.LRScheduler) -> None:
    optimizer.zero_grad()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler.step()


def saved(make: Make, steps: int, path: Path) -> tuple[torch.nn.Module, torch.optim.Optimizer, schedulers.LRScheduler]:
    model, optimizer, scheduler = trained(make, steps)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({key: part.state_dict() for key, part in parts.items()}, path)
    return model, optimizer, scheduler


def lrs(optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    return tuple(group["lr"] for group in optimizer.param_groups)


@pytest.mark.parametrize("start", [1, 6, 14, 15, 16, 33])
@pytest.mark.parametrize("name", CASES)
def test_a_schedule_goes_on_as_torchs_does(name: str, start: int, tmp_path: Path) -> None:
    model, optimizer, scheduler = saved(CASES[name], start, tmp_path / "a.pt")
    expected = []
    for _ in range(40):
        expected.append(lrs(optimizer))
        step(model, optimizer, scheduler)
    with optinspect.open(str(tmp_path / "a.pt")) as checkpoint:
        groups = checkpoint.optimizers[0].groups
        now = tuple(float(group.hyperparameters["lr"]) for group in groups)
        assert continued(checkpoint, now, start, 40) == expected


def test_every_schedule_is_tried() -> None:
    assert {each.name for each in SCHEDULES} == CASES.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    saved(make, 5, tmp_path / "a.pt")
    with pytest.raises(Undecidable, match=f"{name}.*{reason}|scheduler.*{reason}"):
        optinspect.replay(str(tmp_path / "a.pt"), scheduler=True)


def test_a_schedule_by_epochs_is_not_continued_by_steps(tmp_path: Path) -> None:
    model, optimizer, scheduler = trained(CASES["ExponentialLR"], 3)
    for _ in range(200):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({key: part.state_dict() for key, part in parts.items()}, tmp_path / "a.pt")
    with pytest.raises(Undecidable, match="counted 3 where the optimizer has made 203 steps"):
        optinspect.replay(str(tmp_path / "a.pt"), scheduler=True)


def test_no_scheduler_is_said(tmp_path: Path) -> None:
    model, optimizer, _ = trained(CASES["StepLR"], 2)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    with pytest.raises(Undecidable, match="no scheduler"):
        optinspect.replay(str(tmp_path / "a.pt"), scheduler=True)
