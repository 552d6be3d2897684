"""`show --tree`: every object once, where torch and Python find it; sizes; what is left out; no values are read."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import optinspect
from optinspect import cli
from optinspect.commands.show_tree_nodes import grow
from optinspect.containers.held_file import HeldFile
from optinspect.opaque import Opaque
from optinspect.render.base import ASCII, UNICODE
from optinspect.render.branches import branches, continued

ROOT = Path(__file__).parents[1]
SAMPLES = sorted((ROOT / "sample_checkpoints").glob("*.pt"))
SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "optinspect" / "schema.json").read_text(encoding="utf-8")))
GPT = str(ROOT / "sample_checkpoints" / "gpt_step50.pt")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def rows(path: Path | str, **wanted: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in optinspect.show(str(path), tree=True, **wanted).tables[0].rows]


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def pickled(path: Path, value: Any) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["show", *words]) in (0, 1)
    return capsys.readouterr().out


STEP = re.compile(r'\.?(?P<name>[^\W\d]\w*)|\[(?P<number>-?\d+)\]|\["(?P<text>[^"]*)"\]')


def found(root: Any, route: str) -> Any:
    """The object at a route, by a parser of our own."""
    at = 0
    while at < len(route):
        step = STEP.match(route, at)
        assert step, route
        key = step["name"] or step["text"]
        root = root[int(step["number"])] if step["number"] else root[key if key is not None else ""]
        at = step.end()
    return root


def objects(value: Any) -> Iterator[Any]:
    """Everything that a listing has a row for; a list of single values is one row."""
    yield value
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, dict) or not all(isinstance(each, str | int | float | bool | None) for each in members):
        for each in members:
            yield from objects(each)


# --- what is listed


def test_every_object_of_a_checkpoint_has_a_row_with_torchs_shape_and_dtype() -> None:
    truth = torch.load(GPT, weights_only=True)
    listed = rows(GPT)
    assert len(listed) == sum(1 for _ in objects(truth))
    for row in listed:
        value = found(truth, row["route"])
        if isinstance(value, torch.Tensor):
            assert (row["type"], row["shape"]) == ("tensor", list(value.shape))
            assert row["dtype"] == str(value.dtype).removeprefix("torch.")
            assert row["bytes"] == value.nbytes and row["value"] is None
        elif isinstance(value, dict | list | tuple):
            assert row["members"] == len(value)
            assert row["type"] == ("dict" if isinstance(value, OrderedDict) else type(value).__name__)
        else:
            assert row["value"] == value and row["type"] == ("None" if value is None else type(value).__name__)


names = st.text(st.characters(codec="ascii", exclude_characters='"\\'), max_size=6)
single = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | names
nested = st.recursive(
    single, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=25
)


@settings(max_examples=60)
@given(nested)
def test_any_plain_pickle_is_listed_where_python_finds_it(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = pickled(tmp_path_factory.mktemp("plain") / "any.pkl", value)
    listed = rows(path)
    for row in listed:
        truth = found(value, row["route"])
        assert row["type"] == ("None" if truth is None else type(truth).__name__)
        if isinstance(truth, list | dict):
            assert row["members"] == len(truth)
        else:
            assert row["value"] == truth
    assert len({row["route"] for row in listed}) == len(listed)
    assert len(listed) == sum(1 for _ in objects(value))


def test_inert_objects_are_told_by_their_names(tmp_path: Path) -> None:
    inner = argparse.Namespace(depth=2)
    path = pickled(tmp_path / "a.pkl", {"args": argparse.Namespace(lr=0.1, sub=inner), "kind": argparse.ArgumentParser})
    listed = {row["route"]: row for row in rows(path)}
    assert listed["args"]["type"] == "argparse.Namespace" and listed["args"]["kept"] == "inert"
    assert listed["args.lr"]["value"] == 0.1
    assert listed["args.sub.depth"]["value"] == 2
    assert (listed["kind"]["type"], listed["kind"]["kept"]) == ("argparse.ArgumentParser", "name only")


def test_a_cycle_ends_and_says_where_it_began(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"a": [{"x": 1}]}
    loop["a"].append(loop["a"])
    loop["self"] = loop
    listed = {row["route"]: row for row in rows(pickled(tmp_path / "loop.pkl", loop))}
    assert listed["a[1]"]["same_as"] == "a"
    assert listed["self"]["same_as"] == "the root"
    assert len(listed) == 6


def test_shared_tensors_are_marked_and_counted_once(tmp_path: Path) -> None:
    tied, base = torch.randn(8, 4), torch.randn(100)
    path = saved(
        tmp_path / "tied.pt", {"a": tied, "b": tied, "left": base[:30], "all": base, "only": torch.randn(50)[:5]}
    )
    listed = {row["route"]: row for row in rows(path)}
    assert listed["b"]["same_as"] == "a" and listed["a"]["same_as"] is None
    assert listed["left"]["same_as"] is None and listed["all"]["same_as"] is None
    assert listed["left"]["storage_bytes"] == 400 and listed["left"]["storage"] == listed["all"]["storage"]
    assert listed["only"]["bytes"] == 20 and listed["only"]["storage_bytes"] == 200
    # a and b once; left and all together are no more than the storage
    assert listed[""]["bytes"] == 128 + 400 + 20


def test_bytes_of_every_subtree_are_those_of_its_tensors(tmp_path: Path) -> None:
    shared = torch.randn(10)
    value = {"x": {"s": shared, "t": torch.ones(3)}, "y": {"s": shared}, "z": [torch.ones(2), {"s": shared}], "n": {}}
    listed = {row["route"]: row["bytes"] for row in rows(saved(tmp_path / "s.pt", value))}
    assert (listed["x"], listed["y"], listed["z"]) == (52, 40, 48)
    assert listed[""] == 40 + 12 + 8
    assert listed["n"] is None


def test_composite_tensors_have_their_parts_as_members(tmp_path: Path) -> None:
    sparse = torch.eye(4).to_sparse()
    listed = {row["route"]: row for row in rows(saved(tmp_path / "c.pt", {"w": sparse}))}
    assert listed["w"]["type"] == "sparse_coo" and listed["w"]["shape"] == [4, 4]
    assert listed["w.values"]["shape"] == [4] and listed["w.indices"]["dtype"] == "int64"
    assert listed["w"]["bytes"] == 4 * 4 + 2 * 4 * 8


def test_long_lists_and_texts_take_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pickled(
        tmp_path / "l.pkl", {"losses": [i / 7 for i in range(5000)], "text": "x" * 9000, "raw": bytes(70000)}
    )
    listed = {row["route"]: row for row in rows(path)}
    assert len(listed) == 4
    assert listed["losses"]["members"] == 5000 and listed["losses"]["value"][-1] == "…"
    assert listed["raw"]["bytes"] == 70000
    out = printed(capsys, str(path), "--tree", "--width", "100")
    assert "5,000" in out and "9,000 characters" in out and max(map(len, out.splitlines()[1:])) <= 100


def test_no_tensor_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = saved(tmp_path / "big.pt", {"model": {"w": torch.zeros(1 << 20)}, "h": [torch.zeros(1 << 18)]})
    largest = 0
    read = HeldFile.read_into

    def watched(self: HeldFile, offset: int, buffer: memoryview) -> None:
        nonlocal largest
        largest = max(largest, len(buffer))
        read(self, offset, buffer)

    monkeypatch.setattr(HeldFile, "read_into", watched)
    assert len(rows(path)) == 5
    assert 0 < largest < 1 << 17


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_as_people_and_machines_read_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--tree"], ["--tree", "--side-by-side"]):
        out = printed(capsys, str(path), *words, "--width", "100")
        assert max(map(len, out.splitlines()[1:])) <= 100
        told = json.loads(printed(capsys, str(path), *words, "--json"))
        assert all(rows for name, rows in told["tables"].items() if name == "tree")
        SCHEMA.validate(told)


def test_what_a_pickled_module_holds_is_not_buried_by_its_empty_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, str(ROOT / "sample_checkpoints" / "whole_module.pt"), "--tree", "--width", "120")
    assert (
        "in_features" in out and "weight" in out and "_load_state_dict_post_hooks" not in out.partition("_modules")[2]
    )


# --- how much is listed


def test_what_is_left_out_is_counted_where_it_would_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"w": {f"layer.{i}": i for i in range(1000)}, "s": {i: {"m": 1, "v": [1, 2]} for i in range(40)}}
    path = pickled(tmp_path / "wide.pkl", value)
    out = printed(capsys, str(path), "--tree", "--width", "120")
    assert "… 984 more" in out and "… 38 more like these" in out
    assert "25 of 1,123 entries shown" in out
    out = printed(capsys, str(path), "--tree", "--limit", "3", "--width", "120")
    assert "… 997 more" in out and "… 37 more like these" in out
    out = printed(capsys, str(path), "--tree", "--limit", "2000")
    assert "more" not in out and out.count("layer.") == 1000
    assert len(rows(path)) == 1123
    assert [row["left_out"] for row in rows(path, limit=3) if row["route"] == "w"] == [997]


def test_depth_stops_where_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, GPT, "--tree", "--depth", "1", "--json"))["tables"]["tree"]
    assert {row["depth"] for row in told} == {0, 1}
    assert [row["route"] for row in told] == ["", "model", "optimizer", "step", "loss", "scheduler", "rng"]
    assert "7 of 186 entries shown" in printed(capsys, GPT, "--tree", "--depth", "1")


def test_a_filter_keeps_what_matches_all_below_it_and_the_way_there(capsys: pytest.CaptureFixture[str]) -> None:
    routes = [row["route"] for row in rows(GPT, filters=("exp_avg", "scheduler", "!base_lrs"))]
    assert routes[:4] == ["", "optimizer", "optimizer.state", "optimizer.state[0]"]
    assert sum(route.endswith(".exp_avg") for route in routes) == 28
    assert not any(route.endswith("exp_avg_sq") or "base_lrs" in route or route.startswith("model") for route in routes)
    assert "scheduler.last_epoch" in routes
    out = printed(capsys, GPT, "--tree", "--filter", "model[[]*qkv*")
    assert "blocks.0.qkv.weight" in out and "fc_in" not in out


def test_a_deep_tree_stays_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value: Any = {"end": 1}
    for _ in range(90):
        value = {"in": value}
    path = pickled(tmp_path / "deep.pkl", value)
    assert len(rows(path)) == 92
    out = printed(capsys, str(path), "--tree", "--width", "0")
    assert "   " * 89 + "└─ in" in out and "   " * 90 + "└─ end" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--side-by-side"], "--side-by-side: belongs to --tree"),
        (["--depth", "2"], "--depth: belongs to --tree"),
        (["--tree", "--depth", "x"], "--depth x: expected a whole number"),
        (["--tree", "--sort", "bytes"], "--sort: not with --tree"),
        (["--tree", "--group", "0"], "--group: not with --tree"),
        (["--tree", "--weights"], "--weights: not with --tree"),
        (["--tree", "--where", "lr>1"], "--where: not with --tree"),
        (["--tree", "--side-by-side", "--depth", "1"], "--depth: not with --tree --side-by-side"),
        (["--tree", "--side-by-side", "--group", "9"], "--group 9: no such group"),
        (["--tree", "-f", "csv", "--side-by-side"], "--format csv holds one table"),
    ],
)
def test_what_does_not_apply_to_a_tree_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["show", GPT, *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(told)


def test_no_collapse_lists_every_object(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = (printed(capsys, GPT, "--tree", *more).splitlines() for more in ((), ("--no-collapse",)))
    count = len(rows(GPT))
    assert any("like these" in line for line in short)
    assert not any("more" in line or "entries shown" in line for line in whole)
    assert len(whole[whole.index("Tree") + 3 : -4]) == count
    assert any("--no-collapse" in line for line in short)


def test_other_formats(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, GPT, "--tree", "-f", "csv").splitlines()
    assert lines[0].startswith("path,depth,route,entry,type") and len(lines) == 187
    lines = printed(capsys, GPT, "--tree", "-f", "csv", "--columns", "route,bytes").splitlines()
    assert lines[:2] == ["route,bytes", ",192080"]
    text = printed(capsys, GPT, "--tree", "-f", "markdown")
    assert "| │\u00a0\u00a0├─\u00a0wte.weight | tensor |  | 29×24 | float32 |" in text


def test_a_broken_tensor_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(ROOT / "sample_checkpoints" / "cut_short.pt")
    assert cli.main(["show", path, "--tree"]) == 1
    assert "cut off: the file ends before its bytes do" in capsys.readouterr().out


def test_names_from_a_file_cannot_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pickled(tmp_path / "evil.pkl", {"\x1b]0;x\x07": {"a\nb": "\x1b[2J"}, "├─ fake": 1, "w" * 300: 2})
    out = printed(capsys, str(path), "--tree", "--width", "80")
    assert "\x1b" not in out and "\x07" not in out
    assert "\\x1b]0;x\\x07" in out and "a\\nb" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


# --- side by side


def test_each_parameter_stands_beside_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, GPT, "--tree", "--side-by-side", "--width", "130")
    lines = [line.split(" │ ") for line in out.splitlines() if " │ " in line]
    index = {row["name"]: row["index"] for row in optinspect.show(GPT, stats=False).tables[2].rows}
    seen = 0
    for left, *right in lines:
        name = re.search(r"[├└]─ ([\w.]+)", left)
        if name:
            assert re.search(r"[├└]─ (\d+)", " │ ".join(right))[1] == str(index[name[1]])
            seen += 1
    assert seen == 16 and "… 12 more" in out


def test_a_narrow_screen_has_them_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    narrow = printed(capsys, GPT, "--tree", "--side-by-side", "--width", "60")
    assert re.search(r"^Model$", narrow, re.M) and re.search(r"^Optimizer state$", narrow, re.M)
    assert re.search(r"wte\.weight +.*\b0 +forced", narrow) and re.search(r"├─ 0 +wte\.weight", narrow)
    wide = printed(capsys, GPT, "--tree", "--side-by-side", "--width", "130")
    assert re.search(r"^Model +│ Optimizer state$", wide, re.M)


def test_several_models_stand_beside_their_own_optimizers() -> None:
    report = optinspect.show(str(ROOT / "sample_checkpoints" / "gan.pt"), side_by_side=True)
    model, state = (list(table.rows) for table in report.tables)
    assert [row["entry"] for row in model if row["depth"] == 0] == ["generator", "discriminator"]
    assert [row["entry"] for row in state if row["depth"] == 0] == ["opt_g.state", "opt_d.state"]
    pairs = {(row["optimizer"], row["index"]): row["name"] for row in model if row["depth"] == 1}
    assert pairs == {(row["optimizer"], row["index"]): row["name"] for row in state if row["depth"] == 1}


def test_what_has_no_counterpart_stands_alone(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net[0].parameters())
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    path = saved(tmp_path / "part.pt", {"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    model, state = (list(table.rows) for table in optinspect.show(str(path), side_by_side=True).tables)
    by_name = {row["name"]: row["index"] for row in model}
    assert (by_name["0.weight"], by_name["1.running_mean"], by_name["2.weight"]) == (0, None, None)
    assert [row["name"] for row in state if row["depth"] == 1] == ["0.weight", "0.bias"]
    assert len([row for row in state if row["depth"] == 2]) == 6


def test_side_by_side_without_one_of_the_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = str(ROOT / "sample_checkpoints" / "only_weights.pt")
    assert "Model" in printed(capsys, only, "--tree", "--side-by-side")
    whole = torch.load(GPT, weights_only=True)
    path = saved(tmp_path / "opt.pt", whole["optimizer"])
    out = printed(capsys, str(path), "--tree", "--side-by-side", "--width", "100")
    assert "Optimizer state" in out and re.search(r"├─ 0 ", out)
    assert "… 12 more" in out
    printed(capsys, str(pickled(tmp_path / "five.pkl", 5)), "--tree", "--side-by-side")


# --- how it is drawn


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_branches_lead_to_the_entry_above(steps: list[int]) -> None:
    """Read back from the drawing alone: each entry hangs from the nearest row above it that is one level higher."""
    depths = [0]
    for step in steps:
        depths.append(max(1, min(step, depths[-1] + 1)))
    lines = branches([{"depth": depth} for depth in depths], UNICODE)
    assert [len(line) // 3 for line in lines] == depths
    for number, depth in enumerate(depths):
        below = next((d for d in depths[number + 1 :] if d <= depth), 0)
        if depth:
            assert lines[number].endswith("├─ " if below == depth else "└─ ")
        assert continued(lines[number], UNICODE)[-3:] in ("", "│  ", "   ")
    ascii_lines = branches([{"depth": depth} for depth in depths], ASCII)
    assert all(line.isascii() and len(line) == len(other) for line, other in zip(ascii_lines, lines, strict=True))


def test_a_name_too_long_for_its_line_goes_on_behind_its_branches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"model": {".".join(["transformer_block"] * 8): 1, "b": 2}, "end": 3}
    out = printed(capsys, str(pickled(tmp_path / "long.pkl", value)), "--tree", "--width", "70")
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("│  ├─ transformer_block"))
    assert lines[start + 1].startswith("│  │  ")
    assert "".join(re.findall(r"transformer_block\.?", "".join(lines))).count("transformer_block") == 8


def test_a_hundred_thousand_objects_take_seconds(tmp_path: Path) -> None:
    """1.2 s measured for the nodes and their bytes on two shared cores: nothing is quadratic."""
    shared = {f"l.{i}": i for i in range(50)}
    value = {"s": {i: {"m": [i, i], "v": {"x": i}, "n": shared} for i in range(25_000)}}
    start = time.perf_counter()
    top = grow(value)
    assert sum(1 for _ in top.every()) == 2 + 25_000 * 5 + 50
    assert time.perf_counter() - start < 20


def test_an_inert_object_may_hold_tensors_and_itself() -> None:
    loop = Opaque("a.B", ())
    loop.state = {"me": loop, "items": [1, 2]}
    labels = [(node.label, node.first is not None) for node in grow(loop).every()][1:]
    assert labels == [("me", True), ("items", False)]
