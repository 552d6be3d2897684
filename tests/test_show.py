"""`show`, from files that torch writes here: the report says what torch itself says of them."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import optinspect
from optinspect import cli
from optinspect.commands import show, show_dead, show_statistics, show_tables
from optinspect.commands.ordering import rank
from optinspect.errors import FileChanged, UsageError
from optinspect.render.json import envelope
from optinspect.report import Report

ROOT = Path(__file__).parents[1]
SAMPLES = sorted((ROOT / "sample_checkpoints").rglob("*.pt"))
SCHEMA = json.loads(files("optinspect").joinpath("schema.json").read_text())

TOLERANCE = 1e-6
"""Relative to the tensor's rms, as docs promise; measured here: 2e-15 (float64 sums of float32 values)."""


class Net(torch.nn.Module):
    """Shapes that differ, a buffer, tied weights and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.norm = torch.nn.BatchNorm1d(6)
        self.frozen = torch.nn.Linear(6, 6)
        self.frozen.requires_grad_(False)
        self.out = torch.nn.Linear(6, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.out(self.frozen(self.norm(self.embed(x).mean(1))))
        return hidden


def trained(steps: int = 7) -> tuple[Net, torch.optim.AdamW]:
    torch.manual_seed(3)
    net = Net()
    groups = [
        {"params": [net.embed.weight], "weight_decay": 0.1},
        {"params": [net.norm.weight, net.norm.bias], "weight_decay": 0.0, "lr": 3e-3},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.randint(0, 11, (8, 4))), torch.randint(0, 11, (8,))).backward()
        optimizer.step()
    return net, optimizer


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Net, torch.optim.AdamW]:
    net, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    path = tmp_path_factory.mktemp("show") / "ckpt.pt"
    torch.save(
        {
            "model": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "lr_scheduler": scheduler.state_dict(),
            "epoch": 4,
            "best": math.inf,
        },
        path,
    )
    return path, net, optimizer


def rows(report: Report, table: str) -> list[Mapping[str, Any]]:
    return list(next(each.rows for each in report.tables if each.key == table))


def test_groups_are_those_of_the_optimizer(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, _, optimizer = case
    told = rows(optinspect.show(str(path), stats=False), "groups")
    for row, group in zip(told, optimizer.param_groups, strict=True):
        assert (row["lr"], row["weight_decay"], tuple(row["betas"]), row["eps"]) == (
            group["lr"],
            group["weight_decay"],
            group["betas"],
            group["eps"],
        )
        assert row["initial_lr"] == group["initial_lr"]
        assert row["parameters"] == len(group["params"])
        assert row["elements"] == sum(parameter.numel() for parameter in group["params"])
        held = [tensor for p in group["params"] for tensor in optimizer.state[p].values()]
        assert row["state_bytes"] == sum(tensor.nbytes for tensor in held)
        left = set(group) - {"params", "lr", "initial_lr", "weight_decay", "betas", "eps"}
        assert set(row["hyperparameters"]) == left
        assert row["non_default"] is None


def test_parameters_have_their_names(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, net, optimizer = case
    told = rows(optinspect.show(str(path), stats=False), "parameters")
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(told) == len(held)
    for row, parameter in zip(told, held, strict=True):
        assert row["name"] in (names[id(parameter)], None)
        assert row["evidence"] not in ("live", "step", "recorded", "fingerprint")
        assert tuple(row["shape"]) == parameter.shape
        assert row["step"] == 7 and isinstance(row["step"], int)
        assert row["slots"] == ["step", "exp_avg", "exp_avg_sq"] and row["state"] == "present"
    assert told[0]["name"] == "embed.weight"
    assert told[0]["aliases"] == ["out.weight"]


def test_what_is_in_no_group_is_said(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    told = {row["name"]: row["kind"] for row in rows(optinspect.show(str(case[0]), stats=False), "unoptimized")}
    assert told["frozen.weight"] == "parameter?"
    assert told["norm.num_batches_tracked"] == "buffer?"
    assert told["out.weight"] == "tied"


def check(row: Mapping[str, Any], tensor: torch.Tensor) -> None:
    x = tensor.detach().double()
    rms = x.square().mean().sqrt().item()
    expected = {
        "mean": x.mean(),
        "std": x.std(correction=0),
        "rms": rms,
        "min": x.min(),
        "max": x.max(),
        "abs_max": x.abs().max(),
        "norm": x.norm(),
    }
    for key, value in expected.items():
        scale = rms * (math.sqrt(x.numel()) if key == "norm" else 1)
        assert abs(row[key] - float(value)) <= TOLERANCE * scale, key
    assert (row["count"], row["zeros"], row["nans"], row["infs"]) == (x.numel(), int((x == 0).sum()), 0, 0)
    exponents = [math.frexp(value)[1] - 1 for value in x.flatten().tolist() if value]
    assert row["log2_histogram"] == {e: exponents.count(e) for e in sorted(set(exponents))}


def test_statistics_are_those_of_float64(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, net, optimizer = case
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    told = rows(optinspect.show(str(path), weights=True), "statistics")
    state = [row for row in told if row["kind"] == "state"]
    assert len(state) == 2 * len(held)
    for row in state:
        check(row, optimizer.state[held[row["index"]]][row["slot"]])
    weights = {row["name"]: row for row in told if row["kind"] == "weight"}
    assert set(weights) == {n for n in net.state_dict() if n != "out.weight"}
    for name, row in weights.items():
        check(row, net.state_dict()[name].double())


def test_effective_step_is_the_formula(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    """lr·rms(m̂/(√v̂+eps)) and its ratio to rms(θ), in float64 from torch's own tensors."""
    path, _, optimizer = case
    told = rows(optinspect.show(str(path)), "parameters")
    held = [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]
    for row, (group, parameter) in zip(told, held, strict=True):
        state = {key: value.double() for key, value in optimizer.state[parameter].items()}
        (b1, b2), t = group["betas"], state["step"].item()
        u = state["exp_avg"] / (1 - b1**t) / ((state["exp_avg_sq"] / (1 - b2**t)).sqrt() + group["eps"])
        step = group["lr"] * u.square().mean().sqrt().item()
        assert row["effective_step"] == pytest.approx(step, rel=1e-6)
        if row["name"] is not None:
            assert row["update_ratio"] == pytest.approx(
                step / parameter.double().square().mean().sqrt().item(), rel=1e-6
            )


def test_summary(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path, net, _ = case
    summary = optinspect.show(str(path), stats=False).summary
    assert (summary["optimizers"], summary["step"]) == (1, 7)
    assert summary["model_parameters"] == sum(parameter.numel() for parameter in net.parameters())
    assert summary["companions"]["counters"] == {"epoch": 4}
    assert summary["companions"]["scheduler"]["state"]["last_epoch"] == 0


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"filters": ["norm.*"]}, {"norm.weight", "norm.bias"}),
        ({"filters": ["!norm.*"]}, {"embed.weight"}),
        ({"filters": ["*.weight", "!norm.*"]}, {"embed.weight"}),
        ({"filters": ["out.*"]}, {"embed.weight"}),
        ({"group": 1}, {"norm.weight", "norm.bias"}),
        ({"group": 0, "filters": ["*"]}, {"embed.weight"}),
        ({"filters": ["nothing"]}, set()),
    ],
    ids=lambda value: str(sorted(value)),
)
def test_selection(case: tuple[Path, Net, torch.optim.AdamW], options: dict[str, Any], names: set[str]) -> None:
    report = optinspect.show(str(case[0]), **options)
    assert {row["name"] for row in rows(report, "parameters")} == names
    assert {row["name"] for row in rows(report, "statistics")} == names
    assert rows(report, "groups") or not names


def test_sort_and_limit(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    path = str(case[0])
    steps = [row["effective_step"] for row in rows(optinspect.show(path, sort="effective_step:desc"), "parameters")]
    assert steps == sorted(steps, reverse=True)
    table = next(t for t in optinspect.show(path, sort="rms", limit=2).tables if t.key == "statistics")
    every = sorted(row["rms"] for row in rows(optinspect.show(path), "statistics"))
    assert [row["rms"] for row in table.rows] == every[:2] and table.total == 6
    assert all(len(each.rows) <= 2 for each in optinspect.show(path, limit=2).tables)
    with pytest.raises(UsageError, match="no such column"):
        optinspect.show(path, sort="nothing")


def test_names_sort_with_their_numbers_counted() -> None:
    names = ["h.10.weight", "h.2.weight", "h.2.bias", "ln.weight", "h.1.weight"]
    assert sorted(names, key=rank) == ["h.1.weight", "h.2.bias", "h.2.weight", "h.10.weight", "ln.weight"]


def footer(report: Report) -> str:
    return "\n".join(line.text for line in report.footer)


def altered(path: Path, tmp_path: Path, change: str) -> str:
    """The case with something that stands out."""
    data = torch.load(path, weights_only=True)
    state = data["optimizer"]["state"]
    if change == "nan":
        state[1]["exp_avg"][0] = math.nan
    elif change == "negative":
        state[2]["exp_avg_sq"][0] = -1e-3
    elif change == "step":
        state[2]["step"] -= 3
    elif change == "missing":
        del state[1]
    elif change == "orphan":
        state[17] = state[2]
    elif change == "lr":
        data["optimizer"]["param_groups"][1]["lr"] = math.nan
    elif change == "model":
        del data["model"]
    elif change == "optimizer":
        del data["optimizer"]
    torch.save(data, tmp_path / "a.pt")
    return str(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("nan", "NaN or Inf in 1 parameter"),
        ("negative", "negative second moments"),
        ("step", "steps differ: 7 for 2 parameters, 4 for 1 parameter"),
        ("missing", "no state for 1 parameter"),
        ("lr", "group 1: lr is nan"),
        ("orphan", "1 key of state in no group: 17"),
        ("model", "no model in this file"),
        ("optimizer", "no optimizer in this file"),
    ],
)
def test_what_stands_out_is_said(
    case: tuple[Path, Net, torch.optim.AdamW], tmp_path: Path, change: str, told: str
) -> None:
    assert told not in footer(optinspect.show(str(case[0])))
    report = optinspect.show(altered(case[0], tmp_path, change))
    assert told in footer(report)
    assert report.status == 0


def test_nothing_stands_out_in_a_healthy_file(case: tuple[Path, Net, torch.optim.AdamW]) -> None:
    said = footer(optinspect.show(str(case[0])))
    assert "6 of 6 state tensors, every element" in said
    assert "nothing from the file was executed" in said


def test_a_file_without_model_and_optimizer_can_be_listed(tmp_path: Path) -> None:
    torch.save({"loss": 1.5}, tmp_path / "other.pt")
    report = optinspect.show(str(tmp_path / "other.pt"))
    assert report.next_command is not None and report.next_command.endswith("other.pt --tree")


def test_what_was_covered_is_what_was_read(case: tuple[Path, Net, torch.optim.AdamW], tmp_path: Path) -> None:
    everything = footer(optinspect.show(str(case[0]), weights=True))
    assert "6 of 6 state tensors, every element (624 B), and 8 tensors of the model" in everything
    assert "0 of 6 state tensors;" in footer(optinspect.show(str(case[0]), filters=["nothing"]))
    model = str(tmp_path / "model.pt")
    torch.save(case[1].state_dict(), model)
    assert "the structure; there is no state tensor" in footer(optinspect.show(model))
    assert "8 tensors of the model, every element; there is no" in footer(optinspect.show(model, weights=True))


def test_names_come_from_a_model_in_another_file(case: tuple[Path, Net, torch.optim.AdamW], tmp_path: Path) -> None:
    data = torch.load(case[0], weights_only=True)
    torch.save(data["model"], tmp_path / "model.pt")
    torch.save(data["optimizer"], tmp_path / "optimizer.pt")
    report = optinspect.show(str(tmp_path / "optimizer.pt"), model_state=str(tmp_path / "model.pt"), stats=False)
    assert rows(report, "parameters")[0]["name"] == "embed.weight"
    assert [each.role for each in report.inputs] == ["checkpoint", "model_state"]
    assert report.next_command == f"optinspect show {tmp_path}/optimizer.pt --model-state {tmp_path}/model.pt"


def test_the_next_command_is_one_that_runs(
    case: tuple[Path, Net, torch.optim.AdamW], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "a file; with $signs.pt"
    odd.write_bytes(case[0].read_bytes())
    for options in ({"stats": False}, {}):
        command = optinspect.show(str(odd), **options).next_command
        assert command is not None
        assert cli.main(shlex.split(command)[1:]) == 0
    assert "weight" in capsys.readouterr().out
    assert optinspect.show(str(odd), weights=True).next_command is None


def test_a_file_that_changes_meanwhile_is_no_answer(
    case: tuple[Path, Net, torch.optim.AdamW], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(case[0].read_bytes())
    gather = show.gather

    def and_then_write(*arguments: Any) -> Any:
        facts = gather(*arguments)
        path.write_bytes(case[0].read_bytes() + b"x")
        return facts

    monkeypatch.setattr(show, "gather", and_then_write)
    with pytest.raises(FileChanged):
        optinspect.show(str(path))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_json_is_as_the_schema_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for options in ([], ["--no-stats"], ["--weights"]):
        status = cli.main(["show", str(path), "--json", *options])
        told = json.loads(capsys.readouterr().out)
        validator.validate(told)
        assert told["status"] == status
        assert ("statistics" in told["tables"]) == ("--no-stats" not in options)


def test_errors_are_as_the_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", "no-such-file", "--json"])
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(capsys.readouterr().out))


def test_the_schema_names_every_column() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    columns = {
        "optimizers": show_tables.OPTIMIZERS,
        "groups": show_tables.GROUPS,
        "parameters": show_tables.PARAMETERS,
        "unoptimized": show_tables.UNOPTIMIZED,
        "statistics": show_statistics.COLUMNS,
        "dead": show_dead.COLUMNS,
    }
    manual = (ROOT / "docs" / "json.md").read_text()
    for table, having in columns.items():
        keys = {column.key for column in having}
        assert keys == set(SCHEMA["$defs"][f"show_{table}"]["properties"])
        section = manual.partition(f"### tables.{table}")[2].partition("\n### ")[0]
        assert all(f"`{key}`" in section for key in keys), table


def nested(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nested(item)


def test_odd_hyperparameters_are_told_plainly(tmp_path: Path) -> None:
    """Cycles, tensors, numbers beyond 64 bits, texts with terminal commands: all become plain data."""
    odd: dict[str, Any] = {"big": 2**70, "nan": math.nan, "text": "\x1b[2J", "deep": [[[[]]]], "none": None}
    loop: list[Any] = []
    loop.append(loop)
    odd["loop"] = loop
    odd["wide"] = list(range(50_000))
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([{"params": [weight], **odd}], lr=0.1, momentum=0.9)
    weight.grad = torch.ones(3)
    optimizer.step()
    torch.save({"optimizer": optimizer.state_dict()}, tmp_path / "odd.pt")
    report = optinspect.show(str(tmp_path / "odd.pt"))
    told = json.loads(json.dumps(envelope(report), allow_nan=False))
    settings = told["tables"]["groups"][0]["hyperparameters"]
    assert settings["big"] == 2**70 and settings["nan"] == "NaN" and settings["none"] is None
    assert settings["deep"] == [[[[]]]]
    assert sum(1 for _ in nested(settings["loop"])) < 100
    assert sum(1 for _ in nested(settings["wide"])) <= 10_001


def test_the_table_option_makes_csv(
    case: tuple[Path, Net, torch.optim.AdamW], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["show", str(case[0]), "-f", "csv", "--table", "statistics"]) == 0
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["slot"] for row in read] == ["exp_avg", "exp_avg_sq"] * 3
    check({**read[0], **numbers(read[0])}, case[2].state[case[2].param_groups[0]["params"][0]]["exp_avg"])


def numbers(row: dict[str, str]) -> dict[str, Any]:
    """CSV's cells as they were."""
    keys = ("mean", "std", "rms", "norm", "min", "max", "abs_max")
    told: dict[str, Any] = {key: float(row[key]) for key in keys}
    told |= {key: int(row[key]) for key in ("count", "zeros", "nans", "infs")}
    return told | {"log2_histogram": {int(k): v for k, v in json.loads(row["log2_histogram"]).items()}}
