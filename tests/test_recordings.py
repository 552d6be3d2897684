"""Reading recorded gradients: the formats of the contract, several files, and what is wrong in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from optinspect.blocks import read
from optinspect.errors import MalformedCheckpoint, OptinspectError, Undecidable, UsageError
from optinspect.recordings import MOST_OPEN, Recording, open_recording

CORPUS = os.environ.get("OPTINSPECT_CORPUS")


def stack(steps: list[int], *shape: int) -> torch.Tensor:
    return torch.arange(len(steps) * int(np.prod(shape)), dtype=torch.float32).reshape(len(steps), *shape) + steps[0]


def write(path: Path, steps: list[int], keys: tuple[Any, ...] = ("a", "b.weight"), **more: Any) -> Path:
    torch.save({"steps": steps, "used": {key: stack(steps, 2, 3) for key in keys}, **more}, path)
    return path


def values(recording: Recording, key: int | str, step: int) -> torch.Tensor:
    found = recording.used(key, step)
    assert found is not None
    return torch.from_numpy(read(found).copy())


def test_a_file_of_the_contract(tmp_path: Path) -> None:
    path = write(tmp_path / "g.pt", [20, 21, 22], lrs=[[0.1], [0.2], [0.3]], norm=[None] * 3, raw={"a": 1})
    with open_recording([path]) as recording:
        assert recording.steps == (20, 21, 22) and recording.keys == ("a", "b.weight")
        assert recording.lrs(21) == (0.2,)
        for row, step in enumerate(recording.steps):
            assert torch.equal(values(recording, "a", step), stack([20, 21, 22], 2, 3)[row])
        assert recording.used("c", 20) is None


def test_safetensors_with_its_steps_in_the_metadata(tmp_path: Path) -> None:
    tensors = {"a": stack([4, 5], 3), "b": stack([4, 5], 1, 2)}
    save_file(tensors, tmp_path / "g.safetensors", {"steps": "[4, 5]", "lrs": "[[0.5], [0.25]]"})
    with open_recording([tmp_path / "g.safetensors"]) as recording:
        assert recording.steps == (4, 5) and recording.lrs(5) == (0.25,)
        assert torch.equal(values(recording, "b", 5), tensors["b"][1])


def test_indices_are_indices_in_every_format(tmp_path: Path) -> None:
    """safetensors has no other keys than text."""
    write(tmp_path / "one.pt", [0], keys=(0, 1))
    save_file({"0": stack([1], 2, 3), "1": stack([1], 2, 3)}, tmp_path / "two.safetensors", {"steps": "[1]"})
    with open_recording([tmp_path]) as recording:
        assert recording.keys == (0, 1) and recording.key_of("any.name", 1) == 1
        assert recording.used(1, 0) is not None and recording.used(1, 1) is not None


def test_names_go_before_indices(tmp_path: Path) -> None:
    with open_recording([write(tmp_path / "g.pt", [0])]) as recording:
        assert recording.key_of("a", 7) == "a"
        assert recording.key_of("frozen", 0) is None
        with pytest.raises(Undecidable, match="index 3"):
            recording.key_of(None, 3)


def test_parts_are_joined_by_step_whatever_their_order(tmp_path: Path) -> None:
    late, early = write(tmp_path / "a.pt", [7, 8]), write(tmp_path / "b.pt", [5, 6], keys=("a",))
    with open_recording([late, early]) as recording:
        assert recording.steps == (5, 6, 7, 8)
        assert torch.equal(values(recording, "a", 8), stack([7, 8], 2, 3)[1])
        assert recording.used("b.weight", 5) is None  # no gradient, which is not an error
        recording.need(5, 4)


def test_more_parts_than_files_that_are_held_open(tmp_path: Path) -> None:
    for step in range(MOST_OPEN * 3):
        write(tmp_path / f"part-{step + 1:06d}.pt", [step])
    with open_recording([tmp_path]) as recording:
        for _ in range(2):
            for step in recording.steps:
                assert float(values(recording, "a", step)[0, 0]) == step
        assert len(recording._open) <= MOST_OPEN


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "part-000001.pt", [0, 1, 2])
    write(tmp_path / "part-000002.pt", [10, 20, 21])
    with open_recording([tmp_path]) as recording:
        assert recording.span == "0…2, 10, 20…21"
        with pytest.raises(Undecidable, match=r"from 3 to 4 \(recorded: 0…2, 10, 20…21\)"):
            recording.need(1, 3)
        with pytest.raises(Undecidable):
            recording.used("a", 11)


def test_a_step_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "part-000001.pt", [0, 1, 2])
    write(tmp_path / "part-000002.pt", [2, 3])
    with pytest.raises(Undecidable, match=r"step 2 is in part-000001.pt too"):
        open_recording([tmp_path])


def test_parts_that_disagree_on_a_shape_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.pt", [0])
    torch.save({"steps": [1], "used": {"a": torch.zeros(1, 5)}}, tmp_path / "b.pt")
    with pytest.raises(Undecidable, match=r"a has shape \[5\] \(elsewhere \[2, 3\]\)"):
        open_recording([tmp_path])


WRONG: dict[str, Any] = {
    "a checkpoint": {"model": {"w": torch.zeros(2)}, "optimizer": {"state": {}, "param_groups": []}},
    "a list": [1, 2],
    "no steps": {"used": {"a": torch.zeros(1, 2)}},
    "empty steps": {"steps": [], "used": {}},
    "steps of text": {"steps": ["1"], "used": {}},
    "half a step": {"steps": [0.5], "used": {}},
    "a negative step": {"steps": [-1], "used": {}},
    "steps back": {"steps": [2, 1], "used": {"a": torch.zeros(2, 2)}},
    "a step twice": {"steps": [2, 2], "used": {"a": torch.zeros(2, 2)}},
    "used is a tensor": {"steps": [0], "used": torch.zeros(1, 2)},
    "too few rows": {"steps": [0, 1], "used": {"a": torch.zeros(1, 2)}},
    "no rows": {"steps": [0], "used": {"a": torch.tensor(1.0)}},
    "integers": {"steps": [0], "used": {"a": torch.zeros(1, 2, dtype=torch.int64)}},
    "a list for a tensor": {"steps": [0], "used": {"a": [[0.0]]}},
    "a sparse tensor": {"steps": [0], "used": {"a": torch.zeros(1, 2).to_sparse()}},
    "a tuple for a key": {"steps": [0], "used": {("a",): torch.zeros(1, 2)}},
    "lrs of text": {"steps": [0], "used": {}, "lrs": ["high"]},
    "too few lrs": {"steps": [0, 1], "used": {}, "lrs": [[0.1]]},
    "an infinite lr": {"steps": [0], "used": {}, "lrs": [[float("inf")]]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_recording_is_one_line(name: str, tmp_path: Path) -> None:
    torch.save(WRONG[name], tmp_path / "g.pt")
    with pytest.raises(MalformedCheckpoint, match=r"g\.pt: .* \(expected recorded gradients\)") as caught:
        open_recording([tmp_path / "g.pt"])
    assert "\n" not in caught.value.message and len(caught.value.message) - len(str(tmp_path)) <= 120


@pytest.mark.parametrize("steps", ["", "4", "[4", "{}", "[1, 1]", "[" * 100_000])
def test_safetensors_without_whole_steps(steps: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3)}, tmp_path / "g.safetensors", {"steps": steps})
    with pytest.raises(MalformedCheckpoint):
        open_recording([tmp_path / "g.safetensors"])


def test_no_files(tmp_path: Path) -> None:
    for paths in ([], [tmp_path]):
        with pytest.raises(UsageError):
            open_recording(paths)
    with pytest.raises(OptinspectError, match="no such file"):
        open_recording([tmp_path / "none.pt"])


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "g.pt", [0, 1])
    with open_recording([path]) as recording:
        write(path, [0, 1, 2])
        with pytest.raises(OptinspectError, match="changed"):
            recording.used("a", 1)


@pytest.mark.skipif(CORPUS is None, reason="OPTINSPECT_CORPUS names no corpus")
def test_every_recording_of_the_corpus() -> None:
    tensors = 0
    for folder in sorted((Path(CORPUS or "") / "pairs").iterdir()):
        paths = sorted(folder.glob("grads*.pt"))
        with open_recording(paths) as recording:
            for path in paths:
                truth = torch.load(path, weights_only=True)
                for row, step in enumerate(truth["steps"]):
                    assert recording.lrs(step) == tuple(truth["lrs"][row])
                    for key, used in truth["used"].items():
                        found = values(recording, key, step).to(used.dtype)
                        assert torch.equal(found.nan_to_num(7.0), used[row].nan_to_num(7.0))
                        tensors += 1
        assert json.dumps(recording.steps)
    assert tensors > 1000
