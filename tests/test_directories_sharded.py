"""Checkpoints of many processes: every tensor must be, element by element, the one that was trained."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optinspect.blocks import chunks, read
from optinspect.checkpoint import Checkpoint
from optinspect.directories.ranks import joined
from optinspect.errors import NotACheckpoint, OptinspectError
from optinspect.naming import name_parameters
from optinspect.opaque import Opaque
from optinspect.reading import open_checkpoint
from optinspect.tensors import DTYPES, CompositeRef, MemoryBytes, Storage, TensorRef
from tests.directory_builders import Gpt, by_name, decay_groups, deepspeed_directory, distributed_directory, trained


def setting() -> tuple[Gpt, list[list[str]], torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = Gpt(3, width=5)
    groups = decay_groups(model)
    return model, groups, trained(model, groups)


def check(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer, evidence: str) -> None:
    """Names and every value against the live objects."""
    (naming,) = name_parameters(checkpoint)
    live = dict(model.named_parameters())
    assert {row.evidence for row in naming.parameters} == {evidence}
    assert sorted(str(row.name) for row in naming.parameters) == sorted(live)
    for row, state in zip(naming.parameters, checkpoint.optimizers[0].parameters, strict=True):
        parameter = live[str(row.name)]
        assert state.step == 3
        for slot, tensor in state.tensors:
            assert isinstance(tensor, TensorRef)
            assert np.array_equal(read(tensor), optimizer.state[parameter][slot].numpy())
        assert row.entry is not None
        assert isinstance(row.entry.tensor, TensorRef)
        assert np.array_equal(read(row.entry.tensor), parameter.detach().numpy())


def test_distributed_checkpoint_by_name(tmp_path: Path) -> None:
    model, groups, optimizer = setting()
    state = {"model": model.state_dict(), "optimizer": by_name(model, optimizer), "step": 3}
    path = distributed_directory(tmp_path / "step-3", state)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.inputs[0].layout == "dcp"
        assert checkpoint.counters == {"step": 3}
        assert [len(group.params) for group in checkpoint.optimizers[0].groups] == [len(group) for group in groups]
        check(checkpoint, model, optimizer, "recorded")
    with open_checkpoint(path / ".metadata") as same:
        assert same.inputs[0].layout == "dcp"


def test_distributed_checkpoint_with_numbers_and_flattened(tmp_path: Path) -> None:
    model, _, optimizer = setting()
    numbered = distributed_directory(tmp_path / "a", {"model": model.state_dict(), "optim": optimizer.state_dict()})
    with open_checkpoint(numbered) as checkpoint:
        assert [p.key for p in checkpoint.optimizers[0].parameters] == list(range(len(optimizer.state)))
    named = by_name(model, optimizer)
    flat: dict[str, Any] = {f"state.{n}.{slot}": v for n, slots in named["state"].items() for slot, v in slots.items()}
    for group in named["param_groups"]:
        flat |= {f"param_groups.{n}.{k}": v for n in group["params"] for k, v in group.items() if k != "params"}
    titan = distributed_directory(tmp_path / "b", {**model.state_dict(), "optimizer": flat})
    with open_checkpoint(titan) as checkpoint:
        assert len(checkpoint.optimizers[0].groups) == 2
        check(checkpoint, model, optimizer, "recorded")


def test_a_lost_shard_costs_its_tensors_only(tmp_path: Path) -> None:
    model, _, optimizer = setting()
    state = {"model": model.state_dict(), "optimizer": by_name(model, optimizer)}
    path = distributed_directory(tmp_path, state)
    (path / "__0_0.distcp").rename(path / "elsewhere")
    with open_checkpoint(path) as checkpoint:
        assert any(problem.kind == "missing" and "__0_0.distcp" in problem.route for problem in checkpoint.problems)
        assert len(checkpoint.problems) < 100
        assert all(entry.tensor.shape for entry in checkpoint.models[0].entries)


def test_metadata_never_leads_out_of_its_directory(tmp_path: Path) -> None:
    """A path in .metadata is only ever a name among the directory's files."""
    inner = tmp_path / "save"
    distributed_directory(inner, {"model": {"a.weight": torch.ones(2)}})
    shutil.move(inner / "__0_0.distcp", tmp_path / "__0_0.distcp")
    raw = (inner / ".metadata").read_bytes()
    name, outside = b"__0_0.distcp", b"../__0_0.distcp"
    short = b"\x8c" + bytes([len(name)]) + name
    assert raw.count(short) == 1
    changed = raw.replace(short, b"\x8c" + bytes([len(outside)]) + outside)
    frame = raw.index(b"\x95") + 1
    length = int.from_bytes(raw[frame : frame + 8], "little") + 3
    (inner / ".metadata").write_bytes(changed[:frame] + length.to_bytes(8, "little") + changed[frame + 8 :])
    with open_checkpoint(inner) as checkpoint:
        assert checkpoint.models[0].entries[0].tensor.problem  # type: ignore[union-attr]
        assert checkpoint.inputs[0].files == (".metadata",)


def test_metadata_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(NotACheckpoint, match=r"not that of torch\.distributed\.checkpoint"):
        open_checkpoint(tmp_path)


def test_alike_archives_are_accepted_only_if_their_checksums_fit(tmp_path: Path) -> None:
    """The second archive of a kind is compared with the first: a flipped byte of its structure is not let through."""
    path = distributed_directory(tmp_path, {"model": {f"{i}.weight": torch.full((4,), float(i)) for i in range(1, 9)}})
    data = path / "__0_0.distcp"
    with open_checkpoint(path) as checkpoint:
        values = [read(entry.tensor)[0] for entry in checkpoint.models[0].entries]  # type: ignore[arg-type]
    assert values == list(range(1, 9))
    raw = bytearray(data.read_bytes())
    places = [at for at in range(len(raw)) if raw.startswith(b"_rebuild_tensor_v2", at)]
    raw[places[3] + 2] ^= 1
    data.write_bytes(raw)
    with open_checkpoint(path) as checkpoint:
        bad = 0
        for entry in checkpoint.models[0].entries:
            try:
                list(chunks(entry.tensor))  # type: ignore[arg-type]
            except OptinspectError:
                bad += 1
        assert bad == 1


@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_deepspeed_parameters_are_cut_out_of_flat_buffers(tmp_path: Path, stage: int, ranks: int) -> None:
    model, groups, optimizer = setting()
    path = deepspeed_directory(tmp_path, model, optimizer, ranks=ranks, stage=stage)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.inputs[0].layout == "deepspeed"
        assert not checkpoint.problems
        assert [group.names for group in checkpoint.optimizers[0].groups] == [tuple(group) for group in groups]
        assert checkpoint.counters == {"global_steps": 3}
        assert len(checkpoint.schedulers) == 1
        check(checkpoint, model, optimizer, "recorded")
    with open_checkpoint(path / "global_step3") as same:
        assert len(same.optimizers[0].parameters) == len(optimizer.state)


@pytest.mark.parametrize("stage", [1, 3])
def test_a_missing_rank_is_told_and_its_parameters_are_not_read(tmp_path: Path, stage: int) -> None:
    model, _, optimizer = setting()
    path = deepspeed_directory(tmp_path, model, optimizer, ranks=3, stage=stage)
    (path / "global_step3" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with open_checkpoint(path) as checkpoint:
        (problem,) = checkpoint.problems
        assert problem.kind == "missing"
        assert "of 3 ranks' files 1 are not there, first that of rank 1" in problem.message
        tensors = [t for p in checkpoint.optimizers[0].parameters for _, t in p.tensors if isinstance(t, TensorRef)]
        lost = [tensor for tensor in tensors if tensor.problem]
        assert lost
        assert all("rank 1" in str(tensor.problem) for tensor in lost)
        if stage == 1:
            assert len(lost) < len(tensors)


def test_latest_that_names_a_missing_folder_is_an_interrupted_save(tmp_path: Path) -> None:
    model, _, optimizer = setting()
    path = deepspeed_directory(tmp_path, model, optimizer, ranks=2, stage=2)
    (path / "latest").write_text("global_step9")
    with open_checkpoint(path) as checkpoint:
        assert "'global_step9'" in checkpoint.problems[0].message
        assert len(checkpoint.optimizers[0].parameters) == len(optimizer.state)


def test_stable_baselines_archive_and_folder(tmp_path: Path) -> None:
    """An optimizer is called after the part of the policy that it steps; target networks are copies."""
    actor, critic = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    parts = (("actor", actor), ("critic", critic), ("critic_target", critic))
    policy = {f"{part}.{name}": value for part, module in parts for name, value in module.state_dict().items()}
    folder = tmp_path / "unpacked"
    folder.mkdir()
    torch.save(policy, folder / "policy.pth")
    for part, module in (("actor", actor), ("critic", critic)):
        held = trained(module, [["weight", "bias"]], torch.optim.Adam)
        torch.save(held.state_dict(), folder / f"{part}.optimizer.pth")
    (folder / "data").write_text('{"num_timesteps": 128, "policy_class": {":serialized:": "gASV"}}')
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for path in (folder, tmp_path / "model.zip"):
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.inputs[0].layout == "stable-baselines3"
            assert checkpoint.counters == {"num_timesteps": 128}
            named = [[row.name for row in naming.parameters] for naming in name_parameters(checkpoint)]
            assert named == [["actor.weight", "actor.bias"], ["critic.weight", "critic.bias"]]


def test_a_zip_of_something_else_keeps_its_own_words(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
    with pytest.raises(NotACheckpoint, match="Keras archive, whose weights are HDF5") as caught:
        open_checkpoint(tmp_path / "model.keras")
    assert "h5py" in str(caught.value.hint)


def shard(tensor: torch.Tensor, whole: tuple[int, ...], kind: str, dim: int, place: int) -> CompositeRef:
    """A DTensor as the reader gives it: the local part, and a spec of inert objects."""
    placement, mesh, spec = (Opaque(f"torch.distributed.{name}", ()) for name in (kind, "DeviceMesh", "DTensorSpec"))
    placement.state, mesh.state = {"dim": dim}, {"_coordinate_on_dim": (place,)}
    spec.state = {"mesh": mesh, "placements": (placement,)}
    local = tensor.contiguous()
    storage = Storage("data/0", DTYPES["float32"], local.nbytes, "cpu", MemoryBytes(local.numpy().tobytes()))
    ref = TensorRef(DTYPES["float32"], tuple(local.shape), tuple(local.stride()), 0, storage)
    return CompositeRef("torch.distributed.tensor.DTensor", whole, ref.dtype, {"_local_tensor": ref}, {"_spec": spec})


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_dtensors_are_put_together_from_all_ranks(dim: int, ranks: int) -> None:
    """Uneven ones too: torch gives the last ranks less, or nothing."""
    whole = torch.arange(5 * 3 * 6, dtype=torch.float32).reshape(5, 3, 6)
    parts = list(torch.chunk(whole, ranks, dim))
    parts += [whole.narrow(dim, 0, 0)] * (ranks - len(parts))
    shards = [shard(part, tuple(whole.shape), "Shard", dim, place) for place, part in enumerate(parts)]
    made = joined(shards[::-1])
    assert isinstance(made, TensorRef)
    assert np.array_equal(read(made), whole.numpy())


def test_dtensors_that_cannot_be_put_together_stay_as_they_are() -> None:
    whole = torch.ones(4, 2)
    replicated = [shard(whole, (4, 2), "Replicate", 0, place) for place in range(2)]
    made = joined(replicated)
    assert isinstance(made, TensorRef)
    assert made.shape == (4, 2)
    strided = [shard(part, (4, 2), "_StridedShard", 0, n) for n, part in enumerate(torch.chunk(whole, 2))]
    assert joined(strided) is strided[0]
    lost = joined([shard(whole[:2], (4, 2), "Shard", 0, 0)])
    assert isinstance(lost, TensorRef)
    assert lost.problem == "its shards have 2 of 4 in dimension 0"


def test_every_rank_has_its_file(tmp_path: Path) -> None:
    for rank in (0, 2):
        torch.save({"model": {"a.weight": torch.ones(2)}, "rank": rank}, tmp_path / f"state_rank{rank}.pt")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.inputs[0].layout == "fsdp-ranks"
        assert [(problem.route, problem.kind) for problem in checkpoint.problems] == [("rank 1", "missing")]
