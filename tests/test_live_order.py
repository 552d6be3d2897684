"""`--use-transformers`: order, names and groups from the model's own class. Skipped where transformers is absent."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from optinspect.checkpoint import Checkpoint, Filling, Input, ModelEntry, ModelState
from optinspect.cli import main
from optinspect.directories import live_class
from optinspect.directories.fused import with_fused_experts
from optinspect.directories.live_class import LiveClass, NotBuilt, Part
from optinspect.directories.live_order import with_classes
from optinspect.errors import UsageError
from optinspect.naming import name_parameters
from optinspect.reading import open_checkpoint
from optinspect.tensors import DTYPES, MemoryBytes, Storage, TensorRef
from tests.directory_builders import Gpt, decay_groups, trained, trainer_directory

needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")


def live_of(model: torch.nn.Module, decays: list[tuple[str, frozenset[str]]], **more: Any) -> LiveClass:
    """What the class of a model would say of it, without transformers."""
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    return LiveClass("transformers 5.0's Gpt", shapes, {}, {}, tuple(decays), **more)


def as_if_installed(monkeypatch: pytest.MonkeyPatch, live: LiveClass) -> None:
    monkeypatch.setattr(live_class, "require", lambda: None)
    monkeypatch.setattr(live_class, "built", lambda _config, _tensors: live)


def opened(path: Path) -> Checkpoint:
    return open_checkpoint(path, use_transformers=True)


@pytest.fixture
def directory(tmp_path: Path) -> tuple[Path, list[list[str]], Gpt]:
    """A Trainer's directory whose config.json names no architecture that is known."""
    model = Gpt(4)
    groups = decay_groups(model)
    path = trainer_directory(tmp_path / "c-3", model, trained(model, groups), config={"model_type": "mystery"})
    return path, groups, model


def test_the_class_names_all_that_trainers_groups_hold(
    monkeypatch: pytest.MonkeyPatch, directory: tuple[Path, list[list[str]], Gpt]
) -> None:
    path, groups, model = directory
    as_if_installed(monkeypatch, live_of(model, [("decay split", frozenset(groups[0]))]))
    with opened(path) as checkpoint:
        rows = name_parameters(checkpoint)[0].parameters
    assert [row.name for row in rows] == [name for group in groups for name in group]
    assert {row.evidence for row in rows} == {"live"}
    assert {row.convention for row in rows} == {"decay split, transformers 5.0's Gpt"}


def test_two_rules_that_fit_name_only_what_they_agree_on(
    monkeypatch: pytest.MonkeyPatch, directory: tuple[Path, list[list[str]], Gpt]
) -> None:
    path, groups, model = directory
    other = [*groups[0]]
    other[2], other[3] = other[3], other[2]  # both 4×4
    filling = [[(name, tuple(dict(model.named_parameters())[name].shape)) for name in names] for names in groups]
    swapped = [
        [(name, tuple(dict(model.named_parameters())[name].shape)) for name in names] for names in (other, groups[1])
    ]
    as_if_installed(monkeypatch, live_of(model, [("one", frozenset(groups[0]))]))
    monkeypatch.setattr(
        "optinspect.directories.live_order._fillings",
        lambda _live: tuple(Filling("one", tuple(map(tuple, each))) for each in (filling, swapped)),
    )
    with opened(path) as checkpoint:
        rows = name_parameters(checkpoint)[0].parameters
    assert [row.index for row in rows if row.evidence != "live"] == [2, 3]


@pytest.mark.parametrize("change", ["frozen", "rates", "decays"])
def test_groups_that_trainer_does_not_make_are_never_live(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    model = Gpt(3)
    groups = decay_groups(model, frozen=("transformer.wte.weight",) if change == "frozen" else ())
    optimizer = trained(model, groups)
    if change == "rates":
        optimizer.param_groups[1]["lr"] = 5e-4
    if change == "decays":
        optimizer.param_groups[1]["weight_decay"] = 0.1
    path = trainer_directory(tmp_path / "c-3", model, optimizer)
    as_if_installed(monkeypatch, live_of(model, [("decay split", frozenset(decay_groups(model)[0]))]))
    with opened(path) as checkpoint:
        rows = name_parameters(checkpoint)[0].parameters
    assert "live" not in {row.evidence for row in rows}
    assert [row.name for row in rows] == [name for group in groups for name in group]


def test_parameters_that_the_class_itself_freezes_are_in_no_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = Gpt(2)
    frozen = ("transformer.wpe.weight",)
    groups = decay_groups(model, frozen=frozen)
    path = trainer_directory(tmp_path / "c-3", model, trained(model, groups))
    as_if_installed(monkeypatch, live_of(model, [("split", frozenset(groups[0]))], fixed=frozenset(frozen)))
    with opened(path) as checkpoint:
        rows = name_parameters(checkpoint)[0].parameters
    assert {row.evidence for row in rows} == {"live"}
    assert [row.name for row in rows] == [name for group in groups for name in group]


def matrix(value: torch.Tensor) -> TensorRef:
    data = MemoryBytes(value.numpy().tobytes())
    storage = Storage("x", DTYPES["float32"], data.size, "cpu", data)
    return TensorRef(DTYPES["float32"], tuple(value.shape), tuple(value.stride()), 0, storage)


def test_experts_that_the_file_holds_one_by_one_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As transformers 5 has them: of each expert gate above up; both ways of finding that out give the same."""
    from optinspect.blocks import read  # noqa: PLC0415

    gates, ups, downs = torch.randn(3, 2, 4), torch.randn(3, 2, 4), torch.randn(3, 4, 2)
    entries = [
        ModelEntry(key, key, matrix(value[n]), "parameter?")
        for n in range(3)
        for matrix_name, value in (("down_proj", downs), ("gate_proj", gates), ("up_proj", ups))
        for key in (f"mlp.experts.{n}.{matrix_name}.weight",)
    ]
    whole = torch.cat([gates, ups], dim=1).numpy()
    made = {entry.name: entry for entry in with_fused_experts(entries)}
    assert made.keys() == {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}
    assert (read(made["mlp.experts.gate_up_proj"].tensor) == whole).all()  # type: ignore[arg-type]
    assert (read(made["mlp.experts.down_proj"].tensor) == downs.numpy()).all()  # type: ignore[arg-type]

    parts = [
        Part(f"mlp.experts.{n}.{name}.weight", (n, top, 0), (1, 2, 4))
        for n in range(3)
        for name, top in (("gate_proj", 0), ("up_proj", 2))
    ]
    shapes = {"moe.gate_up": (3, 4, 4), "mlp.experts.0.down_proj.weight": (4, 2)}
    live = LiveClass("class", shapes, {}, {"moe.gate_up": tuple(parts)}, ())
    as_if_installed(monkeypatch, live)
    monkeypatch.setattr("optinspect.directories.config_of", lambda _path: {"model_type": "x"})
    given = Input("checkpoint", "x", "directory", "pretrained", 0)
    checkpoint = with_classes(Checkpoint((given,), (ModelState("", tuple(entries), ordered=False),), ()))
    entry = checkpoint.models[0].by_name["moe.gate_up"]
    assert entry.kind == "parameter"
    assert (read(entry.tensor) == whole).all()  # type: ignore[arg-type]
    assert all(each.is_buffer for each in checkpoint.models[0].entries[2:])


def test_without_transformers_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: tuple[Path, list[list[str]], Gpt]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # type: ignore[arg-type]  import finds nothing there
    with pytest.raises(UsageError, match="transformers is not installed"):
        opened(directory[0])
    for command in (["show"], ["check"], ["diff", str(directory[0])]):
        monkeypatch.setattr(sys, "argv", ["optinspect", *command, str(directory[0]), "--use-transformers"])
        assert main() == 2
        told = capsys.readouterr().err.splitlines()
        assert told[0].startswith("--use-transformers: transformers is not installed")
        assert told[1].startswith("hint: ")
        assert len(told) == 2


def test_a_file_cannot_ask_for_more_than_it_has() -> None:
    with pytest.raises(NotBuilt, match="num_hidden_layers 1,000,000"):
        live_class._bounded({"model_type": "llama", "num_hidden_layers": 1_000_000}, 40)
    with pytest.raises(NotBuilt, match="layers"):
        live_class._bounded({"text_config": {"layers": [500] * 10}}, 40)
    live_class._bounded({"num_hidden_layers": 32, "num_attention_heads": 64, "hidden_size": 10**9}, 300)


def test_settings_that_would_fetch_code_are_left_out() -> None:
    described = {"n_layer": 2, "conv_kernel": [3], "text_config": {"hidden_size": 8}, "backbone_config": {"depth": 1}}
    loading = {
        "auto_map": {"AutoModel": "x--y"},
        "_attn_implementation": "org/kernel",
        "quantization_config": {},
        "use_kernels": True,
    }
    nested = {**described["text_config"], "attn_implementation": "org/kernel", "use_timm_backbone": True}  # type: ignore[dict-item]
    assert live_class._plain({**described, **loading, "text_config": nested}) == described
    with pytest.raises(NotBuilt, match="timm"):
        live_class._plain({"backbone_config": {"model_type": "timm_backbone"}})


@needs_transformers
def test_the_installed_class_is_built_without_values(tmp_path: Path) -> None:
    import transformers  # noqa: PLC0415

    settings = {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 11, "n_positions": 6}
    version = transformers.__version__
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "transformers_version": version,
        **settings,
    }
    live = live_class.built(config, 40)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings))
    assert list(live.parameters.items()) == [(n, tuple(p.shape)) for n, p in model.named_parameters()]
    assert live.tied == {"transformer.wte.weight": ("lm_head.weight",)}
    for wrong in (
        {"model_type": "no_such"},
        {"architectures": ["Trainer"]},
        {"architectures": ["BertModel"]},
        {"transformers_version": "3.0.0"},
    ):
        with pytest.raises(NotBuilt):
            live_class.built({**config, **wrong}, 40)
    (tmp_path / "config.json").write_text(json.dumps(config))
