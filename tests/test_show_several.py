"""Several paths in one run of `show`: none hides another, the newest is told, machines know which row is whose."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import optinspect
from optinspect import cli

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_checkpoints"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three saves of a run, one that was cut short, and one that is no checkpoint."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for step, sample in ((40, "gpt_step40"), (41, "gpt_step41"), (100, "gpt_step50")):
        shutil.copy(SAMPLES / f"{sample}.pt", tmp_path / f"step_{step}.pt")
    shutil.copy(SAMPLES / "cut_short.pt", tmp_path / "cut.pt")
    (tmp_path / "page.pt").write_text("<html>no such model</html>")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def main(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["show", *words])
    return status, *capsys.readouterr()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The JSON of a run, which is as the shipped schema has it."""
    _, out, _ = main(capsys, *words, "--json")
    value: dict[str, Any] = json.loads(out)
    schema = json.loads((ROOT / "optinspect" / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(value)
    return value


def test_each_has_its_report_below_the_comparison(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = main(capsys, "step_40.pt", "step_41.pt", "--width", "100")
    assert (status, err) == (0, "")
    alone = [main(capsys, name, "--width", "100")[1] for name in ("step_40.pt", "step_41.pt")]
    at = [out.index(text.partition("\n  next")[0]) for text in alone]
    assert 0 < out.index("Checkpoints") < at[0] < at[1]
    assert re.search(r"newest +step_41\.pt: the largest step", out)


def test_a_bad_file_does_not_hide_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = main(capsys, "gone.pt", "step_40.pt", "page.pt", "--no-stats")
    assert status == 2
    assert "step_40.pt  torch-zip" in out and "read      1 of 3 checkpoints" in out
    assert re.search(r"gone\.pt +unreadable .*no such file", out)
    lines = [line for line in err.splitlines() if not line.startswith("hint: ")]
    assert [line.partition(":")[0] for line in lines] == ["gone.pt", "page.pt"]


def test_status_is_that_of_the_worst(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(capsys, "step_40.pt", "step_41.pt", "-q")[0] == 0
    assert main(capsys, "step_40.pt", "cut.pt", "-q")[0] == 1
    assert main(capsys, "cut.pt", "gone.pt", "-q")[0] == 2
    status, out, err = main(capsys, "gone.pt", "page.pt")
    assert status == 2 and out.count("unreadable") == 2 and err.startswith("gone.pt: no such file\n")


def test_json_is_one_object_whose_rows_know_their_file(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = told(capsys, "step_40.pt", "step_41.pt", "cut.pt", "gone.pt")
    assert value["status"] == 2
    assert [each["path"] for each in value["inputs"]] == ["step_40.pt", "step_41.pt", "cut.pt"]
    assert [each["input"] for each in value["failures"]] == ["gone.pt"]
    assert value["failures"][0]["kind"] == "UnreadableFile"
    for path in ("step_40.pt", "step_41.pt", "cut.pt"):
        alone = told(capsys, path)
        for name, rows in alone["tables"].items():
            own = [row for row in value["tables"][name] if row["path"] == path]
            assert [{key: row[key] for key in row if key != "path"} for row in own] == rows
        assert (
            next(each for each in value["summary"]["summaries"] if each["path"] == path)["step"]
            == (alone["summary"]["step"])
        )
        assert [each for each in value["findings"] if each["where"]["input"] == path] == [
            {**each, "where": {**each["where"], "input": path}} for each in alone["findings"]
        ]
    summary = value["summary"]
    assert (summary["checkpoints"], summary["unreadable"], summary["optimizers"]) == (3, 1, 3)


def test_the_comparison_alone(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "step_40.pt", "step_100.pt", "cut.pt", "page.pt", "--table", "checkpoints")["tables"]
    assert list(rows) == ["checkpoints"]
    by_path = {row["path"]: row for row in rows["checkpoints"]}
    truth = torch.load("step_100.pt", weights_only=True)
    row = by_path["step_100.pt"]
    assert row["step"] == 50 and row["lrs"] == [truth["optimizer"]["param_groups"][0]["lr"]]
    assert (
        row["optimizers"] == ["AdamW"]
        and row["result"] == "whole"
        and row["bytes"] == Path("step_100.pt").stat().st_size
    )
    assert [by_path[path]["result"] for path in ("cut.pt", "page.pt")] == ["damaged", "unreadable"]
    _, out, _ = main(capsys, "step_40.pt", "step_100.pt", "--table", "checkpoints", "--sort", "step:desc", "-f", "csv")
    assert [row["path"] for row in csv.DictReader(io.StringIO(out))] == ["step_100.pt", "step_40.pt"]


def test_the_comparison_reads_no_values(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optinspect.measurement.measure", lambda *_, **__: 1 / 0)
    assert cli.main(["show", "step_40.pt", "step_41.pt", "--table", "checkpoints"]) == 0


def test_csv_of_one_table_has_the_path_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = main(capsys, "step_40.pt", "step_41.pt", "-f", "csv", "--table", "groups")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0 and out.startswith("path,")
    assert [(row["path"], row["group"]) for row in rows] == [
        (path, group) for path in ("step_40.pt", "step_41.pt") for group in "01"
    ]
    status, _, err = main(capsys, "step_40.pt", "step_41.pt", "-f", "csv")
    assert status == 2 and "checkpoints|optimizers" in err


def test_a_table_of_all_for_people(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = main(capsys, "step_40.pt", "step_41.pt", "--table", "groups", "--width", "120")
    assert len(re.findall(r"^step_4[01]\.pt +[01] ", out, re.M)) == 4


def test_markdown_has_them_all(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = main(capsys, "step_40.pt", "step_41.pt", "-f", "markdown", "--no-stats")
    assert out.index("### Checkpoints") < out.index("**step\\_40.pt**") < out.index("**step\\_41.pt**")
    assert out.count("### Parameters") == 2


def test_patterns_that_the_shell_left_alone(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [row["path"] for row in told(capsys, "step_*.pt", "--no-stats")["tables"]["checkpoints"]]
    assert paths == ["step_40.pt", "step_41.pt", "step_100.pt"]  # numbers count as numbers
    (runs / "deep" / "er").mkdir(parents=True)
    shutil.copy("step_40.pt", "deep/er/a.pt")
    assert main(capsys, "deep/**/*.pt", "--no-stats")[1].startswith("deep/er/a.pt  torch-zip")
    status, _, err = main(capsys, "none*.pt")
    assert status == 2 and err.startswith("none*.pt: matches nothing")
    status, out, err = main(capsys, "none*.pt", "step_40.pt", "--no-stats")
    assert status == 2 and "step_40.pt  torch-zip" in out and err.startswith("none*.pt: matches nothing")
    Path("step_40.pt").rename("step[40].pt")
    assert main(capsys, "step[40].pt", "--no-stats")[1].startswith("step[40].pt  torch-zip")
    assert len(told(capsys, "step_41.pt", "step_41.pt", "./step_41.pt", "--no-stats")["inputs"]) == 2


def test_the_newest_by_step_by_counter_or_by_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def saved(name: str, value: dict[str, Any], time: int) -> str:
        torch.save(value, tmp_path / name)
        os.utime(tmp_path / name, (time, time))
        return str(tmp_path / name)

    sgd = {
        "state": {0: {"momentum_buffer": torch.ones(2)}},
        "param_groups": [{"lr": 0.1, "momentum": 0.9, "params": [0]}],
    }
    a, b = saved("a.pt", {"optimizer": sgd, "epoch": 7}, 2000), saved("b.pt", {"optimizer": sgd, "epoch": 3}, 3000)
    summary = told(capsys, a, b)["summary"]
    assert (summary["newest"], summary["newest_by"]) == ([a], "counter epoch")
    a, b = saved("a.pt", {"optimizer": sgd}, 2000), saved("b.pt", {"optimizer": sgd}, 3000)
    summary = told(capsys, a, b)["summary"]
    assert (summary["newest"], summary["newest_by"]) == ([b], "time")
    a, b = saved("a.pt", {"optimizer": sgd}, 2000), saved("b.pt", {"optimizer": sgd}, 2000)
    assert told(capsys, a, b)["summary"]["newest"] == []


def test_a_damaged_newest_is_called_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = main(capsys, "step_40.pt", "cut.pt", "--no-stats")
    assert re.search(r"newest +▲ cut\.pt \(damaged\): the largest step", out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--previous", "step_40.pt"], "--previous belongs to one checkpoint"),
        (["--sort", "colour"], "--sort colour: no such column"),
        (["--group", "9"], "--group 9: no such group"),
        (["--table", "nothing"], "--table nothing: no such table"),
        (["-o", "page.pt"], "-o page.pt: exists already"),
    ],
)
def test_what_no_file_can_answer_is_said_once(
    words: list[str], message: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = main(capsys, "step_40.pt", "step_41.pt", *words)
    assert (status, out) == (2, "")
    assert err.startswith(message) and len(err.splitlines()) <= 2


def test_an_input_that_could_not_be_read_is_not_replaced(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (runs / "page.pt").read_bytes()
    status, _, err = main(capsys, "step_40.pt", "page.pt", "-o", "page.pt", "--force")
    assert status == 2 and "is an input of this report" in err
    assert (runs / "page.pt").read_bytes() == before


def test_trees_of_several(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "step_40.pt", "step_41.pt", "--tree", "--depth", "1")["tables"]["tree"]
    assert {row["path"] for row in rows} == {"step_40.pt", "step_41.pt"} and len(rows) == 14
    _, out, _ = main(capsys, "step_40.pt", "step_41.pt", "--tree", "--side-by-side", "--width", "120")
    assert out.count("│ Optimizer state") == 2


def test_from_python(runs: Path) -> None:
    report = optinspect.show("step_40.pt", "gone.pt", stats=False)
    assert report.status == 2 and [each.input for each in report.failures] == ["gone.pt"]
    assert {table.key for table in report.tables} >= {"checkpoints", "groups", "parameters"}
    with pytest.raises(optinspect.errors.UnreadableFile):
        optinspect.show("gone.pt")
