"""The orders of known architectures: consistent as data, and those of live models of transformers."""

from __future__ import annotations

import json
import random
import re
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from optinspect.checkpoint import ModelEntry, ModelState
from optinspect.containers.geometry import contiguous
from optinspect.directories.architectures import ADAPTERS, WRAPPERS, architectures, version_of
from optinspect.directories.module_order import order_of, restored
from optinspect.naming import name_parameters
from optinspect.reading import open_checkpoint
from optinspect.tensors import DTYPES, Storage, TensorRef

LIVE = json.loads((Path(__file__).parent / "data" / "architectures.json").read_text(encoding="utf-8"))
NOTHING = Storage("", DTYPES["float32"], 0, "cpu", None)


Shape = tuple[int, ...]


def shuffled(names: list[str], shapes: dict[str, Shape] | None = None) -> ModelState:
    """A file that keeps no order."""
    mixed = random.Random(len(names)).sample(names, len(names))
    held = {name: (shapes or {}).get(name, (2, 2)) for name in mixed}
    entries = tuple(
        ModelEntry(n, n, TensorRef(DTYPES["float32"], held[n], contiguous(held[n]), 0, NOTHING), "parameter?")
        for n in mixed
    )
    return ModelState("model", entries, ordered=False)


@pytest.mark.parametrize("row", LIVE, ids=lambda row: f"{row['type']}-{row['version']}")
def test_the_order_is_that_of_the_live_model(row: dict[str, str]) -> None:
    names = row["names"].split()
    config = {"model_type": row["type"], "transformers_version": row["version"]}
    found = restored(shuffled(names), config, [[(2, 2)] * len(names)])
    assert found.ordered
    assert [entry.name for entry in found.entries] == names


def live(kind: str, version: str, made_by: str) -> list[str]:
    found = [row for row in LIVE if (row["type"], row["version"], row["made_by"]) == (kind, version, made_by)]
    return list(found[0]["names"].split())


def with_own_shapes(names: list[str]) -> dict[str, Shape]:
    """Matrices of one layer alike in all layers, as models have them; heads and embeddings of their own."""
    sizes = {name: 3 + place for place, name in enumerate(dict.fromkeys(re.sub(r"\d+", "0", n) for n in names))}
    return {name: (sizes[re.sub(r"\d+", "0", name)],) for name in names}


HEAD_FIRST = live("xlm-roberta", "5.23.0", "XLMRobertaForMaskedLM")
HEAD_LAST = live("camembert", "4.57.6", "CamembertForMaskedLM")


@pytest.mark.parametrize("names", [HEAD_FIRST, HEAD_LAST], ids=["head first", "head last"])
@pytest.mark.parametrize("version", ["4.57.6", "5.23.0", None])
def test_an_order_that_the_shapes_contradict_gives_way_to_the_one_that_they_fit(
    names: list[str], version: str | None
) -> None:
    """config.json may be older than the program that trained."""
    shapes = with_own_shapes(names)
    config = {"model_type": "xlm-roberta", "transformers_version": version}
    decay = [shapes[n] for n in names if not n.endswith("bias")], [shapes[n] for n in names if n.endswith("bias")]
    for stepped in ([[shapes[n] for n in names]], decay):
        found = restored(shuffled(names, shapes), config, stepped)
        assert [entry.name for entry in found.entries] == names


@pytest.mark.parametrize(("version", "given_way"), [("4.57.6", False), ("4.30.0", True), ("6.1.0", True)])
def test_top_modules_are_put_in_another_order_only_where_no_live_model_was_compared(
    version: str, given_way: bool
) -> None:
    names = live("llama", "5.23.0", "LlamaForCausalLM")
    head = [name for name in names if name.startswith("lm_head")]
    moved = [*head, *(name for name in names if name not in head)]
    shapes = with_own_shapes(names)
    config = {"model_type": "llama", "transformers_version": version}
    found = restored(shuffled(names, shapes), config, [[shapes[name] for name in moved]])
    assert [entry.name for entry in found.entries] == (moved if given_way else names)
    assert ("top modules" in found.order_from) is given_way


def test_an_order_stays_where_the_shapes_fit_none() -> None:
    """Two states in each other's place: the order is right, and the state is wrong."""
    shapes = with_own_shapes(HEAD_FIRST)
    wrong = [shapes[name] for name in HEAD_FIRST]
    wrong[8], wrong[10] = wrong[10], wrong[8]
    for version in ("5.23.0", "6.0.0"):
        config = {"model_type": "xlm-roberta", "transformers_version": version}
        found = restored(shuffled(HEAD_FIRST, shapes), config, [wrong])
        assert [entry.name for entry in found.entries] == HEAD_FIRST


def test_the_version_of_a_config_is_read_by_its_first_two_numbers() -> None:
    found = [version_of(text) for text in ("5.23.0", "4.57.6", "5", "5.10.0.dev0", "", "new", None, 5)]
    assert found == [(5, 23), (4, 57), (5, 0), (5, 10), (0, 0), (0, 0), (0, 0), (0, 0)]


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
