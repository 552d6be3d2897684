"""The orders of known architectures: consistent as data, and those of live models of transformers."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from optinspect.checkpoint import ModelEntry, ModelState
from optinspect.directories.architectures import ADAPTERS, WRAPPERS, architectures
from optinspect.directories.module_order import order_of, restored
from optinspect.naming import name_parameters
from optinspect.reading import open_checkpoint
from optinspect.tensors import DTYPES, Storage, TensorRef

LIVE = json.loads((Path(__file__).parent / "data" / "architectures.json").read_text(encoding="utf-8"))
NOTHING = Storage("", DTYPES["float32"], 0, "cpu", None)


def shuffled(names: list[str]) -> ModelState:
    """A file that keeps no order."""
    mixed = random.Random(len(names)).sample(names, len(names))
    entries = tuple(
        ModelEntry(n, n, TensorRef(DTYPES["float32"], (2, 2), (2, 1), 0, NOTHING), "parameter?") for n in mixed
    )
    return ModelState("model", entries, ordered=False)


@pytest.mark.parametrize("row", LIVE, ids=lambda row: f"{row['type']}-{row['version']}")
def test_the_order_is_that_of_the_live_model(row: dict[str, str]) -> None:
    names = row["names"].split()
    config = {"model_type": row["type"], "transformers_version": row["version"]}
    found = restored(shuffled(names), config, frozenset({(2, 2)}))
    assert found.ordered
    assert [entry.name for entry in found.entries] == names


def test_no_model_type_has_two_orders_for_one_version() -> None:
    for one, other in combinations(architectures(), 2):
        if one.types & other.types:
            assert one.until <= other.since or other.until <= one.since


def test_no_name_stands_twice_in_an_order() -> None:
    for one in architectures():
        assert len(set(one.order)) == len(one.order)
        assert not set(one.order) & {*ADAPTERS, *WRAPPERS}
        assert one.marks <= set(one.order)


def test_a_sibling_that_is_not_listed_leaves_the_order_unknown() -> None:
    names = next(row["names"] for row in LIVE if row["type"] == "llama").split()
    (llama,) = [one for one in architectures() if "llama" in one.types]
    assert order_of(names, llama) == list(range(len(names)))
    assert order_of([*names, "model.layers.0.self_attn.new_proj.weight"], llama) is None


def test_names_without_a_config_tell_an_order_only_where_all_that_know_them_agree() -> None:
    whisper = next(row["names"] for row in LIVE if row["type"] == "whisper").split()
    assert [entry.name for entry in restored(shuffled(whisper), {}).entries] == whisper
    own = ["0.weight", "0.bias", "fc.weight", "fc.bias"]
    assert not restored(shuffled(own), {}).ordered


def test_numbered_modules_have_the_order_of_their_numbers(tmp_path: Path) -> None:
    """safetensors sorts names; backwards, the shapes of this model fit as well."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 8)).square().sum().backward()
    optimizer.step()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.bin")
    with open_checkpoint(tmp_path / "optimizer.bin", model_state=tmp_path / "model.safetensors") as checkpoint:
        rows = name_parameters(checkpoint)[0].parameters
        assert [row.name for row in rows] == [name for name, _ in model.named_parameters()]
        assert {row.evidence for row in rows} == {"order"}
