"""More of what torch.distributed and DeepSpeed write: safetensors inside, ShardedTensors, the universal format."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from optinspect.blocks import read
from optinspect.checkpoint import Checkpoint
from optinspect.errors import NotACheckpoint, UnreadableFile
from optinspect.naming import name_parameters
from optinspect.reading import open_checkpoint
from optinspect.subjects import subjects_of
from optinspect.tensors import TensorRef
from tests.directory_builders import Gpt, by_name, decay_groups, trained, universal_directory

DATA = Path(__file__).parent / "data" / "ranks"


def setting() -> tuple[Gpt, torch.optim.Optimizer]:
    torch.manual_seed(2)
    model = Gpt(2, width=6)
    return model, trained(model, decay_groups(model))


def values(checkpoint: Checkpoint) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """name → slot → values, the weight among them."""
    found: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for subject in subjects_of(checkpoint, name_parameters(checkpoint)):
        assert subject.named.name is not None
        assert subject.weight is not None
        held = {slot: read(tensor) for slot, tensor in subject.tensors.items() if slot != "step"}
        found[subject.named.name] = {"weight": read(subject.weight), **held}
    return found


def check(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    found = values(checkpoint)
    live = dict(model.named_parameters())
    assert found.keys() == live.keys()
    for name, parameter in live.items():
        assert np.array_equal(found[name]["weight"], parameter.detach().numpy())
        for slot in ("exp_avg", "exp_avg_sq"):
            assert np.array_equal(found[name][slot], optimizer.state[parameter][slot].numpy())
    assert {row.evidence for row in name_parameters(checkpoint)[0].parameters} == {"recorded"}


def written(folder: Path, state: dict[str, Any], **settings: Any) -> Path:
    from torch.distributed import checkpoint as dcp  # noqa: PLC0415  half a second

    dcp.save(state, storage_writer=dcp.FileSystemWriter(folder, **settings), no_dist=True)
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_distributed_checkpoint_with_safetensors_inside(tmp_path: Path) -> None:
    """Every tensor of a file is placed at the same offset: where the safetensors part begins."""
    from torch.distributed.checkpoint.filesystem import SerializationFormat  # noqa: PLC0415

    model, optimizer = setting()
    weights = {name: value.clone() for name, value in model.state_dict().items()}  # it refuses tied ones
    state = {"model": weights, "optimizer": by_name(model, optimizer), "step": 3}
    written(tmp_path, state, serialization_format=SerializationFormat.SAFETENSORS)
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.counters == {"step": 3}
        assert set(checkpoint.optimizers[0].steps) == {3.0}
        check(checkpoint, model, optimizer)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_model_keeps_its_order_where_ranks_share_the_entries_out(tmp_path: Path) -> None:
    """The entries of .metadata come rank by rank; the plan has the state_dict's own order."""
    model, optimizer = setting()
    path = written(tmp_path, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    metadata = pickle.loads((path / ".metadata").read_bytes())
    entries = list(metadata.state_dict_metadata.items())
    metadata.state_dict_metadata = dict(entries[::2] + entries[1::2])
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    with open_checkpoint(path) as checkpoint:
        assert [entry.name for entry in checkpoint.models[0].entries] == list(model.state_dict())
        right = [name for group in decay_groups(model) for name in group]
        assert [row.name for row in name_parameters(checkpoint)[0].parameters] == right


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_packed_chunks_are_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, {"model": setting()[0].state_dict()})
    metadata = pickle.loads((path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.transform_descriptors = ["stream.zstd/1"]
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(UnreadableFile, match=r"packed by stream\.zstd/1, which is not read"):
        open_checkpoint(path)


def shards(folder: Path, model: torch.nn.Module, ranks: int) -> Path:
    """As HuggingFaceStorageWriter writes them: rows dealt out, their beginnings in the header."""
    for rank in range(ranks):
        tensors, told = {}, {}
        for name, value in model.state_dict().items():
            rows = -(-value.shape[0] // ranks)
            part = value[rank * rows : (rank + 1) * rows]
            if len(part):
                tensors[name] = part.clone()
                told[name] = {"saved_offsets": [rank * rows] + [0] * (value.ndim - 1)}
        header = {"DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps(told)}
        save_file(tensors, folder / f"shard-{rank + 1:05}-model-00001-of-00001.safetensors", header)
    return folder


def test_huggingface_storage_puts_the_ranks_rows_together(tmp_path: Path) -> None:
    model = setting()[0]
    with open_checkpoint(shards(tmp_path, model, 3)) as checkpoint:
        assert checkpoint.inputs[0].layout == "dcp-safetensors"
        assert not checkpoint.problems
        found = {entry.name: entry.tensor for entry in checkpoint.models[0].entries}
        assert found.keys() == model.state_dict().keys()
        for name, value in model.state_dict().items():
            tensor = found[name]
            assert isinstance(tensor, TensorRef)
            assert np.array_equal(read(tensor), value.numpy())


def test_a_rank_that_is_missing_is_named(tmp_path: Path) -> None:
    (shards(tmp_path, setting()[0], 3) / "shard-00002-model-00001-of-00001.safetensors").unlink()
    with open_checkpoint(tmp_path) as checkpoint:
        told = [(each.route, each.message) for each in checkpoint.problems]
        assert told[0] == ("shard-00002", "the shard is not in the directory")
        assert any("its shards hold" in message for _, message in told[1:])


def test_sharded_tensors_of_two_ranks_are_what_torch_reads() -> None:
    """FSDP1's SHARDED_STATE_DICT under torch.save; the values expected are torch's own, read from DCP."""
    expected = json.loads((DATA / "expected.json").read_text())
    with open_checkpoint(DATA) as checkpoint:
        assert checkpoint.inputs[0].layout == "fsdp-ranks"
        assert checkpoint.optimizers[0].families == ("AdamW",)
        found = values(checkpoint)
    assert found.keys() == expected.keys()
    for name, slots in expected.items():
        for slot, numbers in slots.items():
            assert found[name][slot].ravel().tolist() == numbers


def test_deepspeeds_universal_checkpoint(tmp_path: Path) -> None:
    model, optimizer = setting()
    root = universal_directory(tmp_path, model, optimizer, decay_groups(model))
    for path in (root, root / "global_step3_universal"):
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.inputs[0].layout == "deepspeed-universal"
            assert [len(group.params) for group in checkpoint.optimizers[0].groups] == [
                len(group) for group in decay_groups(model)
            ]
            assert set(checkpoint.optimizers[0].steps) == {3.0}
            check(checkpoint, model, optimizer)


def test_universal_without_model_states_lists_all_under_the_first_group(tmp_path: Path) -> None:
    model, optimizer = setting()
    root = universal_directory(tmp_path, model, optimizer, decay_groups(model)) / "global_step3_universal"
    (root / "mp_rank_00_model_states.pt").unlink()
    shutil.rmtree(root / "zero" / "transformer.ln_f.bias")
    with open_checkpoint(root) as checkpoint:
        names = {row.name for row in name_parameters(checkpoint)[0].parameters}
        assert names == dict(model.named_parameters()).keys() - {"transformer.ln_f.bias"}


def test_a_damaged_part_of_a_universal_checkpoint_is_named(tmp_path: Path) -> None:
    model, optimizer = setting()
    root = universal_directory(tmp_path, model, optimizer, decay_groups(model))
    (root / "global_step3_universal" / "zero" / "transformer.wte.weight" / "exp_avg.pt").write_bytes(b"")
    with open_checkpoint(root) as checkpoint:
        assert [each.route.rpartition("zero/")[2] for each in checkpoint.problems] == [
            "transformer.wte.weight/exp_avg.pt"
        ]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("saved_model.pb",), "a TensorFlow SavedModel"),
        (("ckpt-1.index", "ckpt-1.data-00000-of-00001"), "a TensorFlow checkpoint"),
        (("manifest.ocdbt", "_METADATA"), "an Orbax or zarr directory"),
        (("latest_checkpointed_iteration.txt",), "a Megatron-LM directory"),
        (("model.pdparams",), "a PaddlePaddle checkpoint"),
    ],
)
def test_directories_of_other_frameworks_are_called_by_their_name(
    tmp_path: Path, names: tuple[str, ...], found: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(NotACheckpoint, match=found) as caught:
        open_checkpoint(tmp_path)
    assert len(caught.value.message) <= 200
    assert caught.value.hint


def test_a_dict_subclass_of_shapes_is_read(tmp_path: Path) -> None:
    """param_shapes is a list of OrderedDicts: their order is that of the groups."""
    model, optimizer = setting()
    groups = decay_groups(model)
    root = universal_directory(tmp_path, model, optimizer, groups)
    states = root / "global_step3_universal" / "mp_rank_00_model_states.pt"
    held = torch.load(states, weights_only=False)
    assert [type(each) for each in held["param_shapes"]] == [OrderedDict, OrderedDict]
    with open_checkpoint(root) as checkpoint:
        assert [group.params for group in checkpoint.optimizers[0].groups] == [tuple(names) for names in groups]
