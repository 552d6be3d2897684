"""`optinspect diff`: what changed in structure, in groups and in everything that is no tensor."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import save_file

import optinspect
from optinspect import cli
from optinspect.comparison.effects import EFFECTS, effect
from optinspect.comparison.plain import Tolerance, same
from tests.diff_cases import changed, permuted, save, told, trained

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_checkpoints"
SCHEMA = json.loads(files("optinspect").joinpath("schema.json").read_text())


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return trained()


def test_a_copy_is_identical(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    a, b = save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", changed(base))
    found = told(capsys, a, b, status=0)
    assert found["summary"]["identical"] is True
    assert found["summary"]["verdict"] == "identical"
    assert found["tables"]["groups"] == found["tables"]["values"] == []
    assert {row["status"] for row in found["tables"]["parameters"]} == {"same"}
    assert all(row["bit_equal"] and row["difference_norm"] == 0 for row in found["tables"]["tensors"])
    assert [each["role"] for each in found["inputs"]] == ["a", "b"]


def test_the_same_run_later(capsys: Any) -> None:
    found = told(capsys, str(SAMPLES / "gpt_step40.pt"), str(SAMPLES / "gpt_step50.pt"), status=1)
    assert found["summary"]["verdict"].startswith("same run, 10 steps later")
    assert (found["summary"]["steps_a"], found["summary"]["steps_b"]) == (40, 50)
    back = told(capsys, str(SAMPLES / "gpt_step50.pt"), str(SAMPLES / "gpt_step40.pt"), status=1)
    assert back["summary"]["verdict"].startswith("same run, 10 steps earlier")


def test_two_seeds_are_the_same_structure_with_other_values(tmp_path: Path, capsys: Any) -> None:
    a, b = save(tmp_path / "a.pt", trained(0, 3)), save(tmp_path / "b.pt", trained(1, 8))
    found = told(capsys, a, b, status=1)
    assert found["summary"]["verdict"] == "same structure, other values, 5 steps apart"


def test_other_models_are_called_so(capsys: Any) -> None:
    found = told(capsys, str(SAMPLES / "bigram.pt"), str(SAMPLES / "gan.pt"), status=1)
    assert found["summary"]["verdict"].startswith("different models")
    assert found["summary"]["parameters_added"] and found["summary"]["parameters_removed"]


def test_every_changed_hyperparameter_is_told_with_its_effect(
    base: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    other = changed(base)
    first, second = other["optimizer"]["param_groups"]
    first["weight_decay"] = 0
    first["betas"] = (0.9, 0.99)
    second["lr"] *= 0.5
    second["amsgrad"] = True
    second["mine"] = "new"
    del second["foreach"]
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    rows = {(row["group_b"], row["key"]): row for row in found["tables"]["groups"]}
    assert set(rows) == {(0, "weight_decay"), (0, "betas"), (1, "lr"), (1, "amsgrad"), (1, "mine"), (1, "foreach")}
    assert (rows[0, "weight_decay"]["a"], rows[0, "weight_decay"]["b"]) == (0.1, 0)
    assert rows[0, "weight_decay"]["effect"] == "decay off for 3 parameters"
    assert "about 100 steps instead of 1,000" in rows[0, "betas"]["effect"]
    assert rows[1, "lr"]["effect"].startswith("step size × 0.5")
    assert (rows[1, "mine"]["change"], rows[1, "foreach"]["change"]) == ("appeared", "disappeared")
    assert found["summary"]["groups_changed"] == 2
    assert found["summary"]["verdict"] == "same weights and state, other hyperparameters"


def test_words_of_an_effect_stand_any_value() -> None:
    values = [0.0, 0.5, 0.25, True, False, None, "x", (0.9, 0.9), (0.9, 0.8), float("nan"), float("-inf"), 1 << 80, []]
    for key in EFFECTS:
        for old in values:
            for new in values:
                said = effect(key, old, new, {}, {"weight_decay": new}, 2)
                assert said is None or said


def test_a_tensor_lr_is_the_number(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    a, b = changed(base), changed(base)
    for saved in (a, b):
        saved["optimizer"]["param_groups"][0]["mine"] = torch.arange(4.0)
    told(capsys, save(tmp_path / "a.pt", a), save(tmp_path / "b.pt", b), status=0)
    b["optimizer"]["param_groups"][0]["mine"][3] = 9
    found = told(capsys, save(tmp_path / "a.pt", a), save(tmp_path / "b.pt", b), status=1)
    assert [row["key"] for row in found["tables"]["groups"]] == ["mine"]


def test_a_permutation_of_indices_is_renumbering_alone(tmp_path: Path, capsys: Any) -> None:
    base = trained(groups=False)
    found = told(
        capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", permuted(base, [2, 1, 0, 3, 5, 4])), status=1
    )
    rows = [row for row in found["tables"]["parameters"] if row["status"] == "renumbered"]
    assert [(row["name"], row["index_a"], row["index_b"]) for row in rows] == [
        ("0.weight", 0, 2), ("2.weight", 2, 0), ("3.weight", 4, 5), ("3.bias", 5, 4)
    ]  # fmt: skip
    assert all(row["bit_equal"] for row in found["tables"]["tensors"])
    assert found["summary"]["verdict"] == "same weights and state, other numbering"


def test_a_permutation_without_names_is_known_by_its_content(tmp_path: Path, capsys: Any) -> None:
    """Both biases of eight change places: no single file can show that."""
    base = trained(groups=False, named=False)
    found = told(
        capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", permuted(base, [0, 3, 2, 1, 4, 5])), status=1
    )
    moved = [row for row in found["tables"]["parameters"] if row["status"] == "renumbered"]
    assert [(row["index_a"], row["index_b"], row["aligned_by"]) for row in moved] == [
        (1, 3, "content"),
        (3, 1, "content"),
    ]
    assert all(row["bit_equal"] for row in found["tables"]["tensors"])


def test_without_a_model_it_goes_by_index_and_says_so(tmp_path: Path, capsys: Any) -> None:
    a, b = (trained(0, steps, named=False)["optimizer"] for steps in (3, 4))
    first, second = save(tmp_path / "a.pt", a), save(tmp_path / "b.pt", b)
    found = told(capsys, first, second, status=1)
    assert found["summary"]["aligned_by"] == "index"
    assert found["summary"]["parameters_added"] == found["summary"]["parameters_removed"] == 0
    assert {row["name"] for row in found["tables"]["parameters"]} == {None}
    assert cli.main(["diff", first, second]) == 1
    assert "aligned by index" in capsys.readouterr().out


def test_a_group_that_was_split_is_recognised(tmp_path: Path, capsys: Any) -> None:
    a, b = trained(groups=False), trained(groups=False)
    (group,) = b["optimizer"]["param_groups"]
    names = group["param_names"]
    rest = group | {"params": [4, 5], "param_names": names[4:], "lr": 1.0}
    b["optimizer"]["param_groups"] = [group | {"params": [0, 1, 2, 3], "param_names": names[:4]}, rest]
    first, second = save(tmp_path / "a.pt", a), save(tmp_path / "b.pt", b)
    found = told(capsys, first, second, status=1)
    assert [(r["group_a"], r["group_b"], r["key"]) for r in found["tables"]["groups"]] == [(0, 1, "lr")]
    assert found["summary"]["parameters_moved"] == found["summary"]["parameters_renumbered"] == 0
    cli.main(["diff", first, second])
    assert "group 0 of a is split into 0 and 1 of b" in capsys.readouterr().out
    cli.main(["diff", second, first])
    assert "groups 0 and 1 of a are one, 0 of b" in capsys.readouterr().out


def test_groups_in_another_order_are_renumbered_not_changed(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    one, two = other["optimizer"]["param_groups"]
    sizes = len(one["params"]), len(two["params"])
    state = other["optimizer"]["state"]
    other["optimizer"]["state"] = {(n + sizes[1]) % sum(sizes): value for n, value in state.items()}
    two["params"], one["params"] = list(range(sizes[1])), list(range(sizes[1], sum(sizes)))
    other["optimizer"]["param_groups"] = [two, one]
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    assert found["tables"]["groups"] == []
    assert {row["status"] for row in found["tables"]["parameters"]} == {"renumbered"}
    assert not found["summary"]["tensors_different"]


def test_a_parameter_moved_to_another_group(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    one, two = other["optimizer"]["param_groups"]
    two["params"].insert(0, one["params"].pop())
    two["param_names"].insert(0, one["param_names"].pop())
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    rows = {row["status"]: row for row in found["tables"]["parameters"]}
    assert set(rows) == {"same", "moved"}
    assert (rows["moved"]["name"], rows["moved"]["group_a"], rows["moved"]["group_b"]) == ("3.weight", 0, 1)


def test_parameters_added_removed_reshaped_frozen_and_cast(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    del other["optimizer"]["state"][0]
    other["model"]["new"] = torch.zeros(2)
    other["model"]["2.weight"] = torch.zeros(8, 4)
    other["model"]["3.weight"] = other["model"]["3.weight"].bfloat16()
    other["optimizer"]["state"][3]["max_exp_avg_sq"] = torch.zeros(8)
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    rows = {row["name"]: row for row in found["tables"]["parameters"]}
    assert rows["new"]["status"] == "added"
    assert rows["0.weight"]["changes"] == ["frozen"]
    assert rows["2.weight"]["changes"][0] == "shape"
    assert (rows["2.weight"]["shape_a"], rows["2.weight"]["shape_b"]) == ([8, 8], [8, 4])
    assert (rows["3.weight"]["dtype_a"], rows["3.weight"]["dtype_b"]) == ("float32", "bfloat16")
    assert "dtype" in rows["3.weight"]["changes"]
    assert rows["0.bias"]["changes"] == ["slots"]
    reshaped = next(r for r in found["tables"]["tensors"] if (r["name"], r["slot"]) == ("2.weight", "weight"))
    assert (reshaped["difference_norm"], reshaped["problem"]) == (None, "shape [8, 8] in a, [8, 4] in b")
    back = told(capsys, str(tmp_path / "b.pt"), str(tmp_path / "a.pt"), status=1)
    rows = {row["name"]: row for row in back["tables"]["parameters"]}
    assert (rows["new"]["status"], rows["0.weight"]["changes"]) == ("removed", ["unfrozen"])


def test_a_frozen_parameter_that_left_the_optimizer_is_no_lost_parameter(capsys: Any) -> None:
    found = told(capsys, str(SAMPLES / "frozen_included.pt"), str(SAMPLES / "frozen_excluded.pt"), status=1)
    assert found["summary"]["parameters_removed"] == 0


def test_other_values_by_path(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    other["step"] = 7
    other["scheduler"]["last_epoch"] = 9
    other["config"]["layers"][1] = 16
    other["config"]["extra"] = True
    del other["config"]["note"]
    other["rng"][5] ^= 1
    found = told(capsys, save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other), status=1)
    rows = {row["route"]: (row["a"], row["b"], row["change"]) for row in found["tables"]["values"]}
    assert rows.pop("rng")[2] == "changed"
    assert rows == {
        "step": (3, 7, "changed"),
        "scheduler.last_epoch": (3, 9, "changed"),
        "config.layers[1]": (8, 16, "changed"),
        "config.extra": (None, True, "appeared"),
        "config.note": (None, None, "disappeared"),
    }
    assert "1 of 5,056" in next(row["note"] for row in found["tables"]["values"] if row["route"] == "rng")


def test_a_long_list_that_differs_everywhere_is_one_row(tmp_path: Path, capsys: Any) -> None:
    a, b = save(tmp_path / "a.pt", {"log": list(range(100))}), save(tmp_path / "b.pt", {"log": list(range(1, 101))})
    (row,) = told(capsys, a, b, status=1)["tables"]["values"]
    assert (row["route"], row["note"]) == ("log", "100 of 100 items differ, the first at [0]")


def test_plain_values_are_compared_as_data() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    other: list[Any] = [1]
    other.append(other)
    assert same(cycle, other)
    assert same(float("nan"), float("nan")) and same((1, 2.0), [1.0, 2]) and same({"a": {1, 2}}, {"a": {2, 1}})
    assert not same(True, 1) and not same({"a": 1}, {"a": 1, "b": None}) and not same(10**400, 1.0)
    assert same(1.0, 1.0005, Tolerance(rtol=1e-3)) and not same(1, 2, Tolerance(atol=5))


def test_wrappers_containers_and_separate_files_do_not_matter(
    base: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    """DDP's prefix against none, zip against legacy, one file against two, a safetensors model."""
    whole = save(tmp_path / "a.pt", base)
    wrapped = changed(base)
    wrapped["model"] = {f"module.{name}": tensor for name, tensor in wrapped["model"].items()}
    told(capsys, whole, save(tmp_path / "b.pt", wrapped, _use_new_zipfile_serialization=False), status=0)
    rest = {key: value for key, value in base.items() if key != "model"}
    save_file(base["model"], tmp_path / "model.safetensors")
    parts = save(tmp_path / "rest.pt", rest)
    found = told(capsys, whole, parts, "--model-state-b", str(tmp_path / "model.safetensors"), status=0)
    assert [each["role"] for each in found["inputs"]] == ["a", "b", "b: model state"]
    told(capsys, parts, whole, "--model-state-a", str(tmp_path / "model.safetensors"), status=0)
    without = told(capsys, whole, parts, status=1)
    assert [row["route"] for row in without["tables"]["values"]] == ["model"]


def test_float32_against_bfloat16_is_compared_and_said(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    other["model"] = {name: tensor.bfloat16() for name, tensor in other["model"].items()}
    a, b = save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other)
    found = told(capsys, a, b, status=1)
    row = next(r for r in found["tables"]["tensors"] if (r["name"], r["slot"]) == ("0.weight", "weight"))
    old, new = base["model"]["0.weight"].double(), other["model"]["0.weight"].double()
    assert row["difference_norm"] == pytest.approx((new - old).norm().item(), rel=1e-6)
    assert row["bit_equal"] is False
    assert cli.main(["diff", a, b]) == 1
    assert "6 tensors of bfloat16 against float32 compared in float32" in capsys.readouterr().out
    told(capsys, a, b, "--rtol", "0.004", status=0)


def test_only_and_filter(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    other["model"]["0.weight"][0, 0] += 1
    other["optimizer"]["param_groups"][1]["lr"] = 9.0
    other["step"] = 8
    a, b = save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other)
    for words, status in (
        ((), 1), (("weights",), 1), (("state",), 0), (("groups",), 1), (("other",), 1), (("state", "other"), 1),
    ):  # fmt: skip
        options = [option for word in words for option in ("--only", word)]
        told(capsys, a, b, *options, status=status)
    told(capsys, a, b, "--filter", "3.weight", status=0)
    found = told(capsys, a, b, "--filter", "0.*", status=1)
    assert {row["name"] for row in found["tables"]["parameters"]} == {"0.weight", "0.bias"}
    told(capsys, a, b, "--filter", "0.*", "--only", "state", status=0)
    told(capsys, a, b, "--filter", "3.weight", "--only", "other", status=1)


def test_the_tolerance_decides_on_values(base: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    other = changed(base)
    other["model"]["0.weight"] *= 1 + 1e-4
    other["config"]["lr"] *= 1 + 1e-4
    a, b = save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other)
    assert told(capsys, a, b, "--rtol", "2e-4", status=0)["summary"]["verdict"] == "identical within the tolerance"
    assert told(capsys, a, b, "--rtol", "5e-5", status=1)["summary"]["tensors_different"] == 1
    told(capsys, a, b, "--atol", "1e-3", status=0)


@pytest.mark.parametrize(
    "words",
    [
        ["--only", "moments"], ["--rtol", "-1"], ["--rtol", "nan"], ["--atol", "x"], ["--filter"],
        ["--sort", "nothing"], ["--model-key", "nowhere"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(words: list[str], capsys: Any) -> None:
    path = str(SAMPLES / "bigram.pt")
    assert cli.main(["diff", path, path, *words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said.splitlines()[0]) <= 200


def test_what_cannot_be_read_cannot_be_compared(tmp_path: Path, capsys: Any) -> None:
    path, text = str(SAMPLES / "bigram.pt"), tmp_path / "x.pt"
    text.write_text("no checkpoint")
    for words in ([path, str(tmp_path / "none.pt")], [str(text), path], [path, "/dev/null"], [path]):
        assert cli.main(["diff", *words]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_a_damaged_file_is_compared_as_far_as_it_goes(capsys: Any) -> None:
    found = told(capsys, str(SAMPLES / "gpt_step50.pt"), str(SAMPLES / "cut_short.pt"), status=1)
    assert {each["where"]["input"] for each in found["findings"]} == {"b"}
    problems = [row["problem"] for row in found["tables"]["tensors"] if row["problem"]]
    assert problems and all(problem.startswith("b: ") for problem in problems)


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_every_format_writes_it(form: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    words = ["--table", "tensors"] if form == "csv" else []
    paths = [str(SAMPLES / f"gpt_step{step}.pt") for step in (40, 41)]
    assert cli.main(["diff", *paths, "-f", form, "-o", str(out), *words, "--chart"]) == 1
    assert "blocks.1.qkv.weight" in out.read_text(encoding="utf-8")
    assert cli.main(["diff", *paths, "-o", paths[0], "--force"]) == 2


@pytest.mark.parametrize(
    "pair", [("gpt_step40", "gpt_step50"), ("bigram", "gan"), ("amsgrad", "bf16"), ("legacy", "legacy")]
)
def test_json_is_as_the_schema_says(pair: tuple[str, str], capsys: Any) -> None:
    paths = [str(SAMPLES / f"{name}.pt") for name in pair]
    cli.main(["diff", *paths, "--json", "--chart"])
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    tables = ["groups", "parameters", "totals", "layers", "tensors", "values"]
    assert list(found["tables"]) == tables
    for key in tables:
        assert all(list(row) == list(SCHEMA["$defs"][f"diff_{key}"]["properties"]) for row in found["tables"][key])


def test_the_chart_has_a_bar_for_every_layer(capsys: Any) -> None:
    paths = [str(SAMPLES / f"gpt_step{step}.pt") for step in (40, 50)]
    rows = told(capsys, *paths, "--chart", status=1)["tables"]["layers"]
    assert [row["layer"] for row in rows] == ["blocks.0", "blocks.1", "norm", "wpe", "wte"]
    largest = max(rows, key=lambda row: row["relative"])
    assert largest["bar"] == 1 and all(0 < row["bar"] <= 1 for row in rows)
    cli.main(["diff", *paths, "--chart"])
    assert "█" * 40 in capsys.readouterr().out


def test_python_gives_the_same_report(capsys: Any) -> None:
    paths = [str(SAMPLES / f"gpt_step{step}.pt") for step in (40, 50)]
    report = optinspect.diff(*paths, only=["groups"])
    assert (report.command, report.status) == ("diff", 1)
    assert {row["key"] for row in report.tables[0].rows} == {"lr"}
    assert optinspect.diff(paths[0], paths[0]).status == 0


def test_it_needs_no_torch() -> None:
    paths = [str(SAMPLES / f"gpt_step{step}.pt") for step in (40, 41)]
    words = ["diff", *paths, "-q"]
    code = (
        f"import sys; from optinspect.cli import main; assert main({words!r}) == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_what_cannot_be_read_is_neither_equal_nor_different(tmp_path: Path, capsys: Any) -> None:
    saved = {"model": {"a": torch.ones(3), "b": torch.empty(4, device="meta")}}
    path = save(tmp_path / "a.pt", saved)
    found = told(capsys, path, path, status=1)
    assert found["summary"]["verdict"] == "identical as far as they could be compared: 1 tensor could not be read"
    assert [(row["name"], row["changes"]) for row in found["tables"]["parameters"]] == [
        ("a", None),
        ("b", ["unreadable"]),
    ]


def test_steps_that_are_not_the_same_for_every_parameter_are_said(
    base: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    other = trained(steps=5)
    other["optimizer"]["state"][2]["step"] = base["optimizer"]["state"][2]["step"].clone()
    paths = save(tmp_path / "a.pt", base), save(tmp_path / "b.pt", other)
    found = told(capsys, *paths, status=1)
    assert (found["summary"]["steps_b"], found["summary"]["steps_between"]) == (5, None)
    cli.main(["diff", *paths])
    assert "not the same number of steps for every parameter" in capsys.readouterr().out


def test_two_optimizers_are_kept_apart(tmp_path: Path, capsys: Any) -> None:
    saved = torch.load(SAMPLES / "gan.pt", weights_only=True)
    first = save(tmp_path / "a.pt", saved)
    optimizers = [key for key, value in saved.items() if isinstance(value, dict) and "param_groups" in value]
    saved[optimizers[1]]["param_groups"][0]["lr"] = 5.0
    found = told(capsys, first, save(tmp_path / "b.pt", saved), status=1)
    assert [(row["optimizer_a"], row["optimizer_b"], row["key"]) for row in found["tables"]["groups"]] == [(1, 1, "lr")]
    assert not found["summary"]["tensors_different"]
