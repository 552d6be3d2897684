"""`show --collapse`, `--columns` and `--where`, against the values themselves, in float64."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from fnmatch import fnmatchcase
from importlib.resources import files
from math import isnan, sqrt
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import optinspect
from optinspect import cli
from optinspect.checkpoint import Checkpoint
from optinspect.commands import opened, show
from optinspect.commands.columns import parse as parse_columns
from optinspect.commands.conditions import number, parse
from optinspect.commands.selection import Selection
from optinspect.commands.show_collapse import collapsed
from optinspect.errors import UsageError
from optinspect.render.json import envelope
from optinspect.report import Report, Runs, Span, Table
from tests.test_folding import unfolded

TOLERANCE = 1e-6
"""Relative to the rms, as the statistics promise (measured here: 4e-8)."""


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(6, 8)
        self.down = torch.nn.Linear(8, 6, bias=False)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(6, 4, bias=False) for _ in range(3))


class Net(torch.nn.Module):
    def __init__(self, layers: int = 5) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.h = torch.nn.ModuleList(Block() for _ in range(layers))
        self.register_buffer("scale", torch.ones(6))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Net, torch.optim.AdamW]:
    torch.manual_seed(9)
    net = Net()
    layers = [
        {"params": list(block.parameters()), "lr": 1e-3 * 0.8**depth, "weight_decay": 0.1}
        for depth, block in enumerate(net.h)
    ]
    optimizer = torch.optim.AdamW([{"params": [net.embed.weight], "lr": 2e-4}, *layers], betas=(0.8, 0.9))
    for _ in range(3):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter) * torch.rand_like(parameter) ** 3
        optimizer.step()
    path = tmp_path_factory.mktemp("rows") / "ckpt.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    return path, net, optimizer


def shown(path: Path, **options: Any) -> Report:
    return show.build(str(path), show.Options(**options))


def tables(report: Report) -> dict[str, Table]:
    return {table.key: table for table in report.tables}


def printed(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    assert cli.main([str(word) for word in words]) == status
    said = capsys.readouterr()
    return said.out if status == 0 else said.err


# --collapse


def test_folded_statistics_are_those_of_all_the_elements(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, net, optimizer = case
    index = {id(p): n for n, p in enumerate(p for g in optimizer.param_groups for p in g["params"])}
    by_name = {name: optimizer.state_dict()["state"][index[id(p)]] for name, p in net.named_parameters()}
    whole, folded = (tables(shown(path, collapse=beyond))["statistics"] for beyond in (None, 0))
    assert len(folded.rows) < len(whole.rows) / 3
    for row in folded.rows:
        names = unfolded(row["name"])
        values = np.concatenate([by_name[name][row["slot"]].double().numpy().ravel() for name in names])
        scale = sqrt(float(np.mean(values**2)))
        assert row["folded"] == len(names)
        assert row["count"] == values.size
        for key, expected in {
            "mean": values.mean(),
            "std": values.std(),
            "rms": scale,
            "norm": float(np.linalg.norm(values)),
            "min": values.min(),
            "max": values.max(),
            "abs_max": np.abs(values).max(),
        }.items():
            assert row[key] == pytest.approx(expected, abs=TOLERANCE * max(scale, abs(expected))), (names, key)
        exponents = np.frexp(np.abs(values[values != 0]))[1] - 1
        found, counts = np.unique(exponents, return_counts=True)
        assert row["log2_histogram"] == dict(zip(found.tolist(), counts.tolist(), strict=True))
        assert row["zeros"] == np.count_nonzero(values == 0)
    told = sorted((name, row["slot"]) for row in folded.rows for name in unfolded(row["name"]))
    assert told == sorted((row["name"], row["slot"]) for row in whole.rows)


def test_folded_steps_are_those_of_all_parameters_together(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, net, optimizer = case
    lrs = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    rows = {row["name"]: row for row in tables(shown(path, collapse=0))["parameters"].rows}
    assert set(rows) == {
        "embed.weight",
        "h.{0..4}.up.weight",
        "h.{0..4}.up.bias",
        "h.{0..4}.down.weight",
        "h.{0..4}.experts.{0..2}.weight",
    }
    parameters = dict(net.named_parameters())
    for folded, row in rows.items():
        steps, weights, ratios = [], [], []
        for name in unfolded(folded):
            state = optimizer.state[parameters[name]]
            m, v = state["exp_avg"].double() / (1 - 0.8**3), state["exp_avg_sq"].double() / (1 - 0.9**3)
            step = lrs[id(parameters[name])] * m / (v.sqrt() + 1e-8)
            steps.append(step.numpy().ravel())
            weights.append(parameters[name].detach().double().numpy().ravel())
            ratios.append(np.linalg.norm(steps[-1]) / np.linalg.norm(weights[-1]))
        step, weight = np.concatenate(steps), np.concatenate(weights)
        assert row["effective_step"] == pytest.approx(np.sqrt(np.mean(step**2)), rel=1e-6)  # float32 moments: 3e-8
        assert row["update_ratio"] == pytest.approx(np.linalg.norm(step) / np.linalg.norm(weight), rel=1e-6)
        assert row["update_ratio_max"] == pytest.approx(max(ratios), rel=1e-6)
        assert row["elements"] == step.size


def test_groups_fold_to_ranges(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, _, optimizer = case
    whole, folded = (tables(shown(path, collapse=beyond))["groups"] for beyond in (None, 0))
    assert [row["indices"] for row in whole.rows] == [[[0, 0]], *([[1 + 6 * n, 6 + 6 * n]] for n in range(5))]
    first, layers = folded.rows
    assert (first["group"], first["lr"], first["folded"]) == (0, 2e-4, 1)
    assert (layers["group"], layers["indices"], layers["folded"]) == (Runs([[1, 5]]), [[1, 30]], 5)
    assert layers["lr"] == Span(optimizer.param_groups[5]["lr"], 1e-3)
    assert (layers["parameters"], layers["weight_decay"]) == (30, 0.1)
    assert layers["state_bytes"] == sum(row["state_bytes"] for row in whole.rows[1:])


def test_different_dtypes_slots_and_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another shape, dtype or slot stays a row of its own; steps become a range."""
    torch.manual_seed(0)
    parameters = {f"h.{n}.weight": torch.nn.Parameter(torch.randn(3, 3)) for n in range(6)}
    optimizer = torch.optim.AdamW(parameters.values())
    for step in range(3):
        for place, parameter in enumerate(parameters.values()):
            parameter.grad = None if place == 5 or (place == 1 and step) else torch.ones_like(parameter)
        optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][2]["exp_avg"] = saved["state"][2]["exp_avg"].bfloat16()
    model = {name: p.detach() for name, p in parameters.items()}
    model["h.3.weight"] = model["h.3.weight"].half()
    saved["param_groups"][0]["param_names"] = list(parameters)
    torch.save({"model": model, "optimizer": saved}, tmp_path / "a.pt")
    found = tables(shown(tmp_path / "a.pt", collapse=0))
    rows = {row["name"]: row for row in found["parameters"].rows}
    assert set(rows) == {"h.{0..2,4}.weight", "h.3.weight", "h.5.weight"}
    assert rows["h.{0..2,4}.weight"]["step"] == Span(1, 3)
    moments = {(row["name"], row["slot"]): row["dtype"] for row in found["statistics"].rows}
    assert moments["h.2.weight", "exp_avg"] == "bfloat16"
    assert moments["h.{0,1,3,4}.weight", "exp_avg"] == "float32"
    assert "1 to 3" in printed(capsys, "show", tmp_path / "a.pt", "--collapse", "--width", "0")


def test_what_is_not_finite_folds(tmp_path: Path) -> None:
    parameters = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(4)]
    optimizer = torch.optim.AdamW([(f"h.{n}.w", p) for n, p in enumerate(parameters)])
    for value, parameter in zip((1.0, float("nan"), float("inf"), 1.0), parameters, strict=True):
        parameter.grad = torch.full((2, 2), value)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "a.pt")
    first, second = tables(shown(tmp_path / "a.pt", collapse=0))["statistics"].rows
    assert (first["count"], first["nans"], first["infs"], first["max"]) == (16, 4, 4, pytest.approx(0.1))
    assert (second["nans"], second["infs"]) == (4, 4)


def test_tables_fold_by_themselves_where_the_screen_is_short(
    case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = case[0]
    monkeypatch.delenv("LINES", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert "folded" not in printed(capsys, "show", path)  # no terminal, no height
    monkeypatch.setenv("LINES", "40")
    told = printed(capsys, "show", path)
    assert "62 rows folded to 10 (--no-collapse shows every row)" in " ".join(told.split())
    assert "31 rows folded" not in told  # that table fits
    assert "folded" not in printed(capsys, "show", path, "--no-collapse")
    assert "folded" not in printed(capsys, "show", path, "--sort", "rms:desc")
    assert "folded" not in printed(capsys, "show", path, "--limit", "60")
    assert "31 rows folded to 5" in printed(capsys, "show", path, "--collapse", "--sort", "name")
    monkeypatch.setenv("LINES", "400")
    assert "folded" not in printed(capsys, "show", path)


def test_machines_always_get_every_row(
    case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINES", "10")
    path = case[0]
    assert len(json.loads(printed(capsys, "show", path, "--json"))["tables"]["statistics"]) == 62
    for form in ("csv", "markdown"):
        told = printed(capsys, "show", path, "--format", form, "--table", "parameters")
        assert "h.3.up.weight" in told
    for form in ("csv", "json"):
        refused = printed(capsys, "show", path, "--collapse", "--format", form, "--table", "groups", status=2)
        assert refused.startswith(f"--collapse: not for {form}, which has every row\n")
    assert "h.{0..4}.up.weight" in re.sub(r"\\", "", printed(capsys, "show", path, "--collapse", "-f", "markdown"))


def test_ten_thousand_experts_are_readable_and_quick() -> None:
    names = [f"layers.{n}.experts.{e}.{w}" for n in range(32) for e in range(104) for w in ("w1", "w2", "w3")]
    rows = [
        dict.fromkeys((c.key for c in show.show_tables.PARAMETERS), None)
        | {"optimizer": 0, "index": n, "name": name, "shape": [4, 8], "slots": ["step", "exp_avg"], "group": n % 7}
        for n, name in enumerate(names)
    ]
    facts = show.Facts(Checkpoint((), (), ()), (), (), (), (), 0, ())
    start = time.perf_counter()
    folded = collapsed(facts, Table("parameters", "Parameters", show.show_tables.PARAMETERS, rows))
    assert time.perf_counter() - start < 5  # 0.1 s where nothing else runs
    assert [row["name"] for row in folded.rows] == [f"layers.{{0..31}}.experts.{{0..103}}.w{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize("options", [[], ["--collapse"], ["--collapse", "--dead"], ["--no-stats", "--collapse"]])
def test_on_80_columns_no_line_is_longer_and_no_number_is_cut(
    case: tuple[Path, Net, torch.optim.AdamW], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = case[0]
    told = printed(capsys, "show", path, "--width", "80", *options)
    assert all(len(line) <= 80 for line in told.splitlines()[1:]), told  # the first is the path
    assert not re.search(r"[\d.]…|…[\d.]", told)  # of a long list of numbers some are left out, of a number nothing
    wide = printed(capsys, "show", path, "--width", "0", *options)
    for figure in re.findall(r"\d\.\d{3}e[+-]\d+", told):
        assert figure in wide


# --columns


def test_columns_leave_the_tables_that_have_them_all(
    case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str]
) -> None:
    path = case[0]
    told = json.loads(printed(capsys, "show", path, "--json", "--columns", "rms, name,p50"))["tables"]
    assert list(told) == ["statistics"]
    assert all(list(row) == ["rms", "name", "p50"] for row in told["statistics"])
    assert set(json.loads(printed(capsys, "show", path, "--json", "--columns", "name"))["tables"]) == {
        "parameters",
        "unoptimized",
        "statistics",
    }
    rows = list(csv.reader(io.StringIO(printed(capsys, "show", path, "-f", "csv", "--columns", "name,rms,slot"))))
    assert rows[0] == ["name", "rms", "slot"]
    assert len(rows) == 63
    narrow = printed(capsys, "show", path, "--table", "parameters", "--columns", "name,key,device", "--width", "80")
    assert re.search(r"^name +key +device$", narrow, re.MULTILINE)
    marked = printed(capsys, "show", path, "--table", "groups", "--columns", "group,indices", "-f", "markdown")
    assert "| 1 | 1..6 |" in marked


@pytest.mark.parametrize("words", [["--columns", "name,p5"], ["--dead"], ["--columns", "dead_rows,index", "--dead"]])
def test_json_is_as_the_schema_says(
    words: list[str], case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str]
) -> None:
    schema = json.loads(files("optinspect").joinpath("schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(printed(capsys, "show", case[0], "--json", *words)))


def test_python_gives_the_same(case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--where", "rms>1e-3", "--columns", "name,rms")
    told = json.loads(printed(capsys, "show", case[0], "--json", *words))
    report = optinspect.show(str(case[0]), where=["rms>1e-3"], columns=["name", "rms"])
    assert envelope(report) == told
    assert [table.key for table in optinspect.show(str(case[0]), dead=True).tables][-1] == "dead"
    with pytest.raises(UsageError):
        optinspect.diff(str(case[0]), str(case[0]), where=["nme>1"])


def test_a_column_without_values_is_said(
    case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str]
) -> None:
    told = printed(capsys, "show", case[0], "--columns", "name,aliases,shape", "--table", "parameters")
    assert "no row has a value of aliases" in told


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["--columns", "nme"], "--columns nme: no such column\n", "statistics has optimizer, index, name, kind, slot,"),
        (["--columns", "family,rms"], "--columns family,rms: no table has all of them\n", "groups has"),
        (
            ["--columns", "rms", "--table", "groups"],
            "--columns rms: no such column in groups\n",
            "groups has optimizer",
        ),
        (["--columns", "a,,b"], "--columns a,,b: expected names of columns", ""),
        (["--where", "nme=1"], "--where nme: no such column\n", "parameters has"),
        (["--where", "rms"], "--where rms: no condition (expected COLUMN OP VALUE", ""),
        (["--where", "rms>"], "--where rms>: no value (expected COLUMN OP VALUE", ""),
        (["--where", "rms>big"], "--where rms>big: 'big' is no number, as rms is\n", ""),
        (["--where", "shape>3"], "--where shape>3: shape holds lists (expected =, != or ~)\n", ""),
        (["--where", "rms=big"], "--where rms=big: 'big' is no number, as rms is\n", "optinspect show --help"),
        (["--where", "rms=>1"], "--where rms=>1: '>1' is no number, as rms is\n", ""),
        (["--where", "rms>1", "--no-stats"], "--where rms: needs statistics, which --no-stats", "leave out --no-stats"),
        (["--sort", "update_ratio:desc", "--no-stats"], "--sort update_ratio: needs statistics", "leave out --no-st"),
        (["--columns", "name,p50", "--no-stats"], "--columns p50: needs statistics", "leave out --no-stats"),
        (["--weights", "--no-stats"], "--weights: statistics of the weights, which --no-stats", "or --weights"),
        (["--where", "dead_rows>0"], "--where dead_rows: a column of the table dead\n", "add --dead"),
        (
            ["--columns", "step/weight"],
            "--columns step/weight: no such column\n",
            "did you mean update_ratio? optimizers",
        ),
        (["--where", "norms>1"], "--where norms: no such column\n", "did you mean norm? "),
        (["--where", "__import__('os')>1"], "--where __import__('os')>1: no condition", ""),
        (["--sort", "nme"], "--sort nme: no such column\n", "groups has"),
    ],
)
def test_what_does_not_exist_is_refused_in_a_line_before_anything_is_read(
    words: list[str],
    said: str,
    hint: str,
    case: tuple[Path, Net, torch.optim.AdamW],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(opened, "open_checkpoint", never)
    told = printed(capsys, "show", case[0], *words, status=2)
    assert told.startswith(said)
    assert hint in told
    assert len(told.splitlines()) <= 2


# --where


def where(path: Path, *conditions: str, **options: Any) -> dict[str, Table]:
    return tables(shown(path, selection=Selection(where=tuple(map(parse, conditions))), **options))


def test_conditions_take_the_rows_that_hold_and_their_parameters(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path = case[0]
    everything = tables(shown(path, weights=True))
    ratios = sorted(row["update_ratio"] for row in everything["parameters"].rows)
    bound = ratios[20]
    found = where(path, f"update_ratio>{bound!r}", weights=True)
    assert [row["index"] for row in found["parameters"].rows] == [
        row["index"] for row in everything["parameters"].rows if row["update_ratio"] > bound
    ]
    assert len(found["parameters"].rows) == 10
    kept = {row["index"] for row in found["parameters"].rows}
    assert {row["index"] for row in found["statistics"].rows} == kept  # the buffer has no update_ratio
    assert found["parameters"].total == 31
    assert found["groups"].rows == everything["groups"].rows


def test_conditions_of_several_tables_hold_together(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    found = where(case[0], "slot=exp_avg", "name~*.experts.*", "group>=3")
    assert len(found["parameters"].rows) == len(found["statistics"].rows) == 9
    assert {row["group"] for row in found["groups"].rows} == {3, 4, 5}
    assert all(row["slot"] == "exp_avg" for row in found["statistics"].rows)
    assert not found["unoptimized"].rows


def test_nothing_left_is_said(case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "show", case[0], "--where", "rms>1e30")
    assert "nothing in parameters, statistics matches rms>1e30" in told
    told = printed(capsys, "show", case[0], "--where", "rms>1e-30", "--collapse")
    assert "where rms>1e-30" in told
    assert "31 rows folded to 5" in told


def test_where_and_columns_of_diff(
    case: tuple[Path, Net, torch.optim.AdamW], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, net, optimizer = case
    model = {name: value.clone() for name, value in net.state_dict().items()}
    model["h.1.up.weight"] += 1
    model["h.2.up.weight"] += 1e-3
    torch.save({"model": model, "optimizer": optimizer.state_dict()}, tmp_path / "b.pt")
    assert (
        cli.main(["diff", str(path), str(tmp_path / "b.pt"), "--where", "max_abs>=0.5", "--columns", "name,kind"]) == 1
    )
    told = capsys.readouterr().out
    assert "h.1.up.weight" in told
    assert "h.2.up.weight" not in told.partition("Tensors")[2]
    assert cli.main(["diff", str(path), str(path), "--where", "nme=1"]) == 2


CELLS = st.none() | st.integers(-5, 5) | st.floats() | st.booleans() | st.text("ab1.", max_size=4)
ORDERS = {">": "gt", ">=": "ge", "<": "lt", "<=": "le", "=": "eq", "!=": "ne"}


@given(st.floats() | st.integers(-5, 5), st.sampled_from(list(ORDERS)), st.floats(allow_nan=False) | st.integers(-5, 5))
def test_numbers_compare_as_numbers(cell: float, operator: str, value: float) -> None:
    """As Python's own operators do; NaN has no order and differs from all numbers."""
    expected = getattr(float(cell), f"__{ORDERS[operator]}__")(float(value))
    assert parse(f"x{operator}{value!r}").takes(cell) == expected


@given(CELLS, st.sampled_from([*ORDERS, "~"]), st.text("ab1.*?", min_size=1, max_size=4))
def test_a_cell_without_a_value_never_matches_and_nothing_fails(cell: Any, operator: str, value: str) -> None:
    condition = parse(f"x {operator} {value}")
    taken = condition.takes(cell)
    if cell is None:
        assert not taken
    elif isinstance(cell, str) and operator == "~":
        assert taken == fnmatchcase(cell, value)
    elif isinstance(cell, str) and operator in ("=", "!="):
        assert taken == ((cell == value) == (operator == "="))
    elif isinstance(cell, float) and isnan(cell):
        assert taken == (operator == "!=") or operator == "~"


@pytest.mark.parametrize(
    ("text", "cell", "taken"),
    [
        ("a=nan", float("nan"), True),
        ("a!=nan", float("nan"), False),
        ("a>nan", 1.0, False),
        ("a<inf", float("inf"), False),
        ("a=-inf", float("-inf"), True),
        ("a>=1MiB", 1048576, True),
        ("a>=1MB", 1000000, True),
        ("a>1.5k", 1501, True),
        ("a>=50%", 0.5, True),
        ("a=1e-3", 0.001, True),
        ("a==3", 3, True),
        ("a=3.0", 3, True),
        ("a='x y'", "x y", True),
        ('a != "x"', "y", True),
        ("a~*.weight", "h.0.weight", True),
        ("a~*.weight", "h.0.bias", False),
        ("a>h.9", "h.10", True),
        ("a=768x3072", [768, 3072], True),
        ("a=768×3072", [768, 3072], True),
        ("a~768x*", [768, 3072], True),
        ("a=exp_avg", ["step", "exp_avg"], True),
        ("a!=exp_avg", ["step", "exp_avg"], False),
        ("a=scalar", [], True),
        ("a=0.9,0.95", [0.9, 0.95], True),
        ("a=true", True, True),
        ("a=1", True, False),
        ("a~amsgrad=*", {"amsgrad": True}, True),
        ("a>3", None, False),
        ("a!=3", None, False),
    ],
)
def test_what_conditions_mean(text: str, cell: Any, taken: bool) -> None:
    assert parse(text).takes(cell) == taken


@pytest.mark.parametrize("text", ["", "a", "a>", ">3", "a b>3", "a>>", "1a>2", "a=", "a%2"])
def test_what_is_no_condition(text: str) -> None:
    if text == "a>>":  # a comparison with ">", which is a text
        assert parse(text).value == ">"
        return
    with pytest.raises(UsageError):
        parse(text)


def test_numbers() -> None:
    assert [number(text) for text in ("2GiB", "1_000", "-.5", "3e2", "7T", "x", "1e", "0x10", "1 k")] == [
        2 << 30,
        1000,
        -0.5,
        300.0,
        7 * 10**12,
        None,
        None,
        None,
        1000,
    ]


def test_columns_are_parsed() -> None:
    assert parse_columns(" a, b ,a") == ("a", "b")
    assert parse_columns(None) == ()
