"""Directories of one process: what belongs together, the order of names, what is said of the unknown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from optinspect.blocks import read
from optinspect.checkpoint import Checkpoint
from optinspect.commands.neighbours import previous_save
from optinspect.directories import DIRECTORIES
from optinspect.errors import NotACheckpoint, OptinspectError, UnreadableFile
from optinspect.naming import name_parameters
from optinspect.reading import open_checkpoint
from optinspect.tensors import TensorRef
from tests.directory_builders import Gpt, decay_groups, trained, trainer_directory


def names(checkpoint: Checkpoint, optimizer: int = 0) -> list[str | None]:
    return [row.name for row in name_parameters(checkpoint)[optimizer].parameters]


@pytest.mark.parametrize("shards", [1, 3])
def test_trainer_names_come_from_the_architecture(tmp_path: Path, shards: int) -> None:
    """Eleven equal blocks: h.10 sorts before h.2, and every matrix of a block has one shape."""
    model = Gpt()
    groups = decay_groups(model)
    path = trainer_directory(tmp_path / "checkpoint-3", model, trained(model, groups), shards=shards)
    with open_checkpoint(path) as checkpoint:
        (given,) = checkpoint.inputs
        assert (given.layout, given.container) == ("trainer", "directory")
        assert len(given.files) == shards + 3
        assert [len(group.params) for group in checkpoint.optimizers[0].groups] == [len(group) for group in groups]
        assert set(checkpoint.optimizers[0].steps) == {3.0}
        assert [each.name for each in checkpoint.schedulers] == ["LambdaLR"]
        assert [each.route for each in checkpoint.rng] == ["rng_state.python", "rng_state.cpu"]
        assert checkpoint.counters == {"trainer_state.global_step": 3, "trainer_state.epoch": 0.5}
        assert not checkpoint.problems
        assert names(checkpoint) == [name for group in groups for name in group]
        rows = name_parameters(checkpoint)[0].parameters
        assert {row.evidence for row in rows} == {"order", "forced"}
        told = {row.convention for row in rows if row.convention}
        assert all("GPT-2's module order (config.json: gpt2)" in convention for convention in told)


def test_without_config_the_names_tell_the_architecture(tmp_path: Path) -> None:
    model = Gpt()
    groups = decay_groups(model)
    path = trainer_directory(tmp_path, model, trained(model, groups), config={})
    with open_checkpoint(path) as checkpoint:
        assert names(checkpoint) == [name for group in groups for name in group]
        assert "told by the names" in checkpoint.models[0].order_from


def test_a_wrong_config_gives_no_wrong_certain_name(tmp_path: Path) -> None:
    """BERT's table knows none of these siblings: the order stays unknown."""
    model = Gpt()
    path = trainer_directory(tmp_path, model, trained(model, decay_groups(model)), config={"model_type": "bert"})
    with open_checkpoint(path) as checkpoint:
        assert not checkpoint.models[0].ordered
        right = [name for group in decay_groups(model) for name in group]
        for row, name in zip(name_parameters(checkpoint)[0].parameters, right, strict=True):
            assert row.evidence not in ("live", "step", "recorded", "forced") or row.name == name


def test_sgd_without_momentum_has_no_shapes_and_is_named_by_order(tmp_path: Path) -> None:
    model = Gpt(2)
    groups = decay_groups(model)
    path = trainer_directory(tmp_path, model, trained(model, groups, torch.optim.SGD))
    with open_checkpoint(path) as checkpoint:
        rows = name_parameters(checkpoint)[0].parameters
        assert [row.name for row in rows] == [name for group in groups for name in group]
        assert {row.evidence for row in rows} == {"order"}


def test_frozen_layers_are_left_out_of_the_groups(tmp_path: Path) -> None:
    model = Gpt(3)
    frozen = [name for name, _ in model.named_parameters() if not name.startswith("transformer.h.2")]
    groups = decay_groups(model, frozen)
    path = trainer_directory(tmp_path, model, trained(model, groups))
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.optimizers[0].parameters) == 12
        rows = name_parameters(checkpoint)[0].parameters
        assert all(row.evidence in ("order", "none") for row in rows)


def test_an_adapter_without_its_base_model(tmp_path: Path) -> None:
    """File names lack the adapter's name; norms saved beside it come after the blocks."""
    key = "base_model.model.transformer.h.{}.{}.{}.weight"
    parts = [(block, where) for block in range(12) for where in ("attn.c_attn", "mlp.c_fc")]
    order = [key.format(block, where, part) for block, where in parts for part in ("lora_A", "lora_B")]
    tensors = {name: torch.randn(2, 2) for name in order}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    model = torch.nn.ParameterDict({str(i): torch.nn.Parameter(tensors[name]) for i, name in enumerate(order)})
    torch.save(trained(model, [[str(i) for i in range(len(order))]]).state_dict(), tmp_path / "optimizer.pt")
    (tmp_path / "trainer_state.json").write_text('{"global_step": 3}')
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.inputs[0].layout == "trainer"
        assert names(checkpoint) == order


def test_accelerate_numbers_go_with_their_kind(tmp_path: Path) -> None:
    model, other = Gpt(2), torch.nn.Linear(3, 3)
    groups = decay_groups(model)
    for number, (each, optimizer) in enumerate(
        ((model, trained(model, groups)), (other, trained(other, [["weight", "bias"]], torch.optim.SGD, momentum=0.9)))
    ):
        end = f"_{number}" if number else ""
        seen: dict[int, str] = {}
        unique = {n: v.clone() for n, v in each.state_dict().items() if seen.setdefault(v.data_ptr(), n) == n}
        save_file(unique, tmp_path / f"model{end}.safetensors")
        torch.save(optimizer.state_dict(), tmp_path / f"optimizer{end}.bin")
    torch.save({"step": 7, "torch_manual_seed": torch.get_rng_state()}, tmp_path / "random_states_0.pkl")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.inputs[0].layout == "accelerate"
        assert [one.family for one in checkpoint.optimizers] == ["AdamW", "SGD"]
        assert names(checkpoint) == [name for group in groups for name in group]
        assert names(checkpoint, 1) == ["weight", "bias"]
        assert checkpoint.counters == {"random_states_0.step": 7}


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        (("params.pt", "optimizer.pt", "history.json"), "skorch"),
        (("model.pth", "optimizer.pth"), "separate-files"),
        (("net.pt", "optim.pt"), "separate-files"),
        (("model_state_dict.pt", "optimizer_state_dict.pt"), "separate-files"),
    ],
)
def test_files_that_say_by_their_names_what_they_are(tmp_path: Path, files: tuple[str, ...], layout: str) -> None:
    model = Gpt(1)
    torch.save(model.state_dict(), tmp_path / files[0])
    torch.save(trained(model, decay_groups(model)).state_dict(), tmp_path / files[1])
    for log in files[2:]:
        (tmp_path / log).write_text("[]")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.inputs[0].layout == layout
        assert len(checkpoint.models) == len(checkpoint.optimizers) == 1
        assert None not in names(checkpoint)


def test_model_state_may_be_a_directory(tmp_path: Path) -> None:
    model = Gpt(2)
    path = trainer_directory(tmp_path / "run", model, trained(model, decay_groups(model)))
    with open_checkpoint(path / "optimizer.pt", model_state=path) as checkpoint:
        assert [given.role for given in checkpoint.inputs] == ["checkpoint", "model_state"]
        assert len(checkpoint.optimizers) == 1
        assert names(checkpoint) == [name for group in decay_groups(model) for name in group]


def test_a_damaged_part_does_not_hide_the_others(tmp_path: Path) -> None:
    model = Gpt(2)
    path = trainer_directory(tmp_path, model, trained(model, decay_groups(model)), shards=2)
    (path / "scheduler.pt").write_bytes((path / "scheduler.pt").read_bytes()[:40])
    (path / "model-00002-of-00002.safetensors").unlink()
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.optimizers) == 1
        told = {problem.route: problem.kind for problem in checkpoint.problems}
        assert told["scheduler.pt"] in ("truncated", "integrity")
        assert told["model-00002-of-00002.safetensors"] == "missing"


@pytest.mark.parametrize(
    ("inside", "error", "message"),
    [
        ((), NotACheckpoint, "a directory without a checkpoint; it holds nothing"),
        (("notes.txt",), NotACheckpoint, "it holds notes.txt"),
        (("a/",), NotACheckpoint, "it holds a/"),
        (("one.pt", "two.pt"), NotACheckpoint, "no known kind with 2 files that can be opened"),
    ],
)
def test_unknown_directories_say_what_is_in_them(
    tmp_path: Path, inside: tuple[str, ...], error: type[OptinspectError], message: str
) -> None:
    for name in inside:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        elif name.endswith(".pt"):
            torch.save({"epoch": 1, "w": torch.ones(2)}, tmp_path / name)
        else:
            (tmp_path / name).write_text("text")
    with pytest.raises(error, match=message) as caught:
        open_checkpoint(tmp_path)
    assert len(caught.value.message) <= 200
    assert "\n" not in caught.value.message + (caught.value.hint or "")


def test_the_only_checkpoint_of_a_directory_is_opened(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("text")
    torch.save({"iter_num": 3, "model_args": {}, "model": {"a.weight": torch.ones(2)}}, tmp_path / "ckpt.pt")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.inputs[0].layout == "nanogpt"
        assert checkpoint.inputs[0].path == str(tmp_path / "ckpt.pt")


def test_files_are_closed_with_the_checkpoint(tmp_path: Path) -> None:
    model = Gpt(1)
    path = trainer_directory(tmp_path, model, trained(model, decay_groups(model)))
    checkpoint = open_checkpoint(path)
    tensor = checkpoint.models[0].entries[0].tensor
    assert isinstance(tensor, TensorRef)
    assert read(tensor).shape == tensor.shape
    checkpoint.close()
    with pytest.raises((UnreadableFile, OSError)):
        read(tensor)


def test_the_save_before_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (5, 6, 10, 100):
        (tmp_path / f"checkpoint-{number}").mkdir()
    (tmp_path / "other-7").mkdir()
    assert previous_save(str(tmp_path / "checkpoint-100")) is None  # 90 steps between prove no names
    assert previous_save(str(tmp_path / "checkpoint-6")) == str(tmp_path / "checkpoint-5")
    assert previous_save(str(tmp_path / "checkpoint-6") + os.sep) == str(tmp_path / "checkpoint-5")
    monkeypatch.chdir(tmp_path)
    assert previous_save("checkpoint-6") == "checkpoint-5"
    assert previous_save(str(tmp_path / "checkpoint-5")) is None
    assert previous_save(str(tmp_path / "nothing")) is None


def test_the_registry_is_a_tuple_of_named_layouts() -> None:
    assert isinstance(DIRECTORIES, tuple)
    assert len({layout.name for layout in DIRECTORIES}) == len(DIRECTORIES)
