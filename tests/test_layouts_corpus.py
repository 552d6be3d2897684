"""Acceptance: the corpus of real checkpoints with its truth. Set OPTINSPECT_CORPUS to its folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optinspect.checkpoint import Checkpoint, OptimizerState
from optinspect.errors import NotACheckpoint
from optinspect.layouts.base import join
from optinspect.reading import open_checkpoint

CORPUS = os.environ.get("OPTINSPECT_CORPUS")
pytestmark = pytest.mark.skipif(CORPUS is None, reason="OPTINSPECT_CORPUS names no corpus")

NO_CHECKPOINT = {"fmt_exported_program", "fmt_tar", "fmt_torchscript"}
NO_OPTIMIZER = {"opt_is_scheduler", "opt_missing", "opt_none", "opt_repr_string"}
"""Cases whose fault is that there is none."""
NO_GROUPS = {"groups_empty", "groups_missing"}
OTHER_FAMILY = {
    # what decoupled_weight_decay=True makes of Adam is AdamW in every step and every byte of the file
    "torch_adam_decoupled": "AdamW",
    # a class of the corpus' own
    "dtype_bf16_fp32_moments": None,
}
UNKNOWN_SHAPE = {"torch_lbfgs", "tp_hb_soap"}
"""One flat vector for all parameters; merged dimensions."""
NO_SLOTS = {"tp_flash_flashsgd"}
"""State entries that hold nothing."""
NO_STEP = {"torch_lbfgs"}
"""Counts function evaluations, no steps."""


def cases(*rooms: str) -> list[Any]:
    return [
        pytest.param(folder, id=f"{room}/{folder.name}")
        for room in rooms
        for folder in (sorted((Path(CORPUS) / room).iterdir()) if CORPUS else ())
        if (folder / "truth.json").exists()
    ]


def opened(folder: Path) -> Checkpoint:
    files = sorted(file for file in folder.iterdir() if file.name != "truth.json")
    if len(files) == 1:
        return open_checkpoint(files[0])
    (model,) = (file for file in files if file.stem.startswith("model"))
    (optimizer,) = (file for file in files if file.stem.startswith("optimizer"))
    return open_checkpoint(optimizer, model_state=model)


def truth_of(folder: Path) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    return truth


def route(path: list[Any]) -> str:
    found = ""
    for step in path:
        found = join(found, step)
    return found


def pairs(checkpoint: Checkpoint, truth: dict[str, Any]) -> Iterator[tuple[OptimizerState, dict[str, Any]]]:
    routes = {optimizer.route: optimizer for optimizer in checkpoint.optimizers}
    assert len(routes) == len(truth["optimizers"])
    for optimizer in truth["optimizers"]:
        yield routes[route(optimizer["path"])], optimizer


@pytest.mark.parametrize("folder", cases("containers", "groups", "optimizers"))
def test_healthy_cases_are_found_as_they_are(folder: Path) -> None:
    truth = truth_of(folder)
    if folder.name in NO_CHECKPOINT:
        with pytest.raises(NotACheckpoint):
            opened(folder)
        return
    with opened(folder) as checkpoint:
        for found, expected in pairs(checkpoint, truth):
            check_family(found, expected, folder.name)
            check_groups(found, expected)
            check_parameters(found, expected, folder.name)
        check_models(checkpoint, truth)
        assert not checkpoint.problems


def check_family(found: OptimizerState, expected: dict[str, Any], case: str) -> None:
    name = OTHER_FAMILY.get(case, expected["cls"].rpartition(".")[2])
    assert found.families == () if name is None else name in found.families


def check_groups(found: OptimizerState, expected: dict[str, Any]) -> None:
    assert len(found.groups) == len(expected["groups"])
    for group, known in zip(found.groups, expected["groups"], strict=True):
        assert len(group.params) == len(known["params"])
        if isinstance(known["lr"], float):
            assert group.number_of("lr") == pytest.approx(known["lr"], rel=1e-7)


def check_parameters(found: OptimizerState, expected: dict[str, Any], case: str) -> None:
    by_position = {str(parameter.index): parameter for parameter in found.parameters}
    by_key = by_position | {str(parameter.key): parameter for parameter in found.parameters}
    for key, step in expected["steps"].items():
        assert case in NO_STEP or by_key[key].step == step
    for index, shape in expected.get("index_to_shape", {}).items():
        parameter = by_position[index]
        unknown = parameter.present == "missing" or case in UNKNOWN_SHAPE
        assert parameter.shape == (None if unknown else tuple(shape))
    missing = [parameter.index for parameter in found.parameters if parameter.present == "missing"]
    assert missing == expected.get("indices_without_state", []) or case in NO_SLOTS
    assert not [parameter for parameter in found.parameters if parameter.present == "partial"]


def check_models(checkpoint: Checkpoint, truth: dict[str, Any]) -> None:
    found = {model.route: model for model in checkpoint.models if model.role == "model"}
    for expected in truth["models"]:
        model = found[route(expected["path"])]
        tied = {name for names in expected.get("tied", ()) for name in names[1:]}
        names = [parameter["name"] for parameter in expected["parameters"] if parameter["name"] not in tied]
        stored = [model.prefix + entry.name for entry in model.parameters]
        assert stored == names if model.ordered else sorted(stored) == sorted(names)
        assert not tied - {model.prefix + alias for entry in model.entries for alias in entry.aliases}
    if truth["models"]:
        assert len(found) == len(truth["models"])


@pytest.mark.parametrize("folder", cases("faults"))
def test_faults_never_stop_the_reading(folder: Path) -> None:
    truth = truth_of(folder)
    with opened(folder) as checkpoint:
        if folder.name in NO_OPTIMIZER:
            assert not checkpoint.optimizers
            return
        (found,) = checkpoint.optimizers
        assert found.route == route(truth["optimizers"][0]["path"])
        if folder.name in NO_GROUPS:
            assert not found.groups
            assert found.orphans
            return
        assert truth["optimizers"][0]["cls"].rpartition(".")[2] in found.families
        assert len(found.parameters) == sum(len(group.params) for group in found.groups)
        assert all(step is None or not math.isinf(step) for step in found.steps)
