"""Optimizers without state in directories, and how a damaged file of one is told."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict_loader import load

import optinspect
from optinspect.reading import open_checkpoint
from tests.directory_builders import by_name, distributed_directory, trained, trainer_directory


@pytest.mark.parametrize("named", [True, False])
def test_an_optimizer_without_state_in_a_distributed_checkpoint(tmp_path: Path, named: bool) -> None:
    """The format drops a dict without members; torch loads the rest into the dicts that are there."""
    model = torch.nn.Linear(3, 2)
    optimizer = trained(model, [["weight"], ["bias"]], torch.optim.SGD)
    held = by_name(model, optimizer) if named else optimizer.state_dict()
    path = distributed_directory(tmp_path / "a", {"optimizer": held, "model": model.state_dict(), "step": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups: list[dict[str, Any]] = [{"params": [model.weight]}, {"params": [model.bias]}]
        other = torch.optim.SGD(groups, lr=9.0, weight_decay=9.0)
        fresh = {"optimizer": by_name(model, other) if named else other.state_dict()}
        load(fresh, checkpoint_id=str(path), no_dist=True)
    assert fresh["optimizer"]["state"] == {}
    assert fresh["optimizer"]["param_groups"] == held["param_groups"]
    report = optinspect.check(path)
    assert report.status == 0
    assert not [each for each in report.findings if each.rule in ("OI105", "OI207")]


def test_adam_without_state_after_steps_is_still_an_error_there(tmp_path: Path) -> None:
    held = {**trained(torch.nn.Linear(3, 2), [["weight"]]).state_dict(), "state": {}}
    path = distributed_directory(tmp_path / "a", {"optimizer": held, "step": 3})
    (found,) = [each for each in optinspect.check(path).findings if each.rule == "OI207"]
    assert "AdamW without any state, while step is 3" in found.message


def test_a_damaged_file_of_a_directory_is_named_once(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    path = trainer_directory(tmp_path / "c", model, trained(model, [["weight"], ["bias"]]))
    data = (path / "optimizer.pt").read_bytes()
    (path / "optimizer.pt").write_bytes(data[:300])
    with open_checkpoint(path) as checkpoint:
        (problem,) = checkpoint.problems
        assert problem.route == "optimizer.pt"
        assert problem.message.startswith("is cut short")
