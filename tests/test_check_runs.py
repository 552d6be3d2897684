"""Runs of `check` over several paths, against a baseline, for the newest of a directory, and for a CI job's page."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import torch
from check_cases import SICK, healthy
from hypothesis import given
from hypothesis import strategies as st

import optinspect
from optinspect import cli
from optinspect.commands.latest import BY_EPOCH, BY_NAME, BY_STEP, BY_TIME, Candidate, newest_first

SCHEMA = json.loads(files("optinspect").joinpath("schema.json").read_text())


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["check", *words])
    out, err = capsys.readouterr()
    return status, out, err


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status, out, _ = run(capsys, *words, "--json")
    found = json.loads(out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert found["status"] == status
    return status, found


def save(path: Path, checkpoint: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return str(path)


def at(step: int, **other: Any) -> dict[str, Any]:
    """A healthy checkpoint that states this step."""
    made = healthy()
    for state in made["optimizer"]["state"].values():
        state["step"] = torch.tensor(float(step))
    del made["scheduler"]
    return made | {"step": step} | other


def sick(path: Path, index: int = 0, factor: float = 50.0) -> str:
    made = healthy()
    made["optimizer"]["state"][index]["exp_avg"] *= factor
    return save(path, made)


def cut(path: Path, keep: int = 300) -> str:
    path.write_bytes(path.read_bytes()[:keep])
    return str(path)


# several paths


def test_one_unreadable_path_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = save(tmp_path / "a.pt", healthy()), sick(tmp_path / "c.pt")
    empty = tmp_path / "b.pt"
    empty.touch()
    status, found = told(capsys, good, str(empty), bad, str(tmp_path / "none.pt"))
    assert status == 2
    assert [row["result"] for row in found["tables"]["paths"]] == [
        "resumable",
        "unreadable",
        "not resumable",
        "unreadable",
    ]
    assert [each["kind"] for each in found["failures"]] == ["TruncatedCheckpoint", "UnreadableFile"]
    assert {each["where"]["input"] for each in found["findings"]} == {bad}
    assert found["summary"]["unreadable"] == 2 and found["summary"]["resumable"] is False


def test_a_single_unreadable_path_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = told(capsys, str(tmp_path / "none.pt"))
    assert status == 2 and found["error"]["kind"] == "UnreadableFile"


def test_exit_zero_does_not_hide_that_a_path_was_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = sick(tmp_path / "c.pt")
    assert run(capsys, bad, bad, "--exit-zero")[0] == 0
    assert run(capsys, bad, str(tmp_path / "none.pt"), "--exit-zero")[0] == 2


def test_people_see_a_row_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, missing = save(tmp_path / "a.pt", healthy()), sick(tmp_path / "c.pt"), str(tmp_path / "none.pt")
    status, out, err = run(capsys, good, bad, missing)
    assert status == 2 and "1 error, 1 unreadable in 3 checkpoints" in out
    assert f"OI304 error: {bad}: optimizer.state[0].exp_avg first.weight: " in out
    assert err.startswith(f"{missing}: no such file")


def test_patterns_are_expanded_in_natural_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("c10.pt", "c9.pt", "sub/c1.pt", "other.txt"):
        save(Path(name), healthy())
    _, found = told(capsys, "c*.pt", "**/c1.pt", "c9.pt")
    assert [row["path"] for row in found["tables"]["paths"]] == ["c9.pt", "c10.pt", "sub/c1.pt"]


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = save(tmp_path / "a.pt", healthy())
    pattern = str(tmp_path / "*.ckpt")
    status, out, err = run(capsys, pattern)
    assert (status, out) == (2, "") and err.startswith(f"{pattern}: matches nothing\nhint: ")
    status, found = told(capsys, good, pattern)
    assert status == 2 and [row["result"] for row in found["tables"]["paths"]] == ["resumable", "unreadable"]


def test_brackets_in_a_name_are_no_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, save(tmp_path / "run[1]" / "a*.pt", healthy()), "-q")[0] == 0


def test_a_pattern_that_matches_one_is_one_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.pt", healthy())
    _, found = told(capsys, str(tmp_path / "*.pt"), "--previous", str(tmp_path / "a.pt"))
    assert "paths" not in found["tables"]


@pytest.mark.parametrize(
    "words",
    [[], ["a.pt", "--latest", "runs"], ["a.pt", "--update-baseline"], ["--latest", "runs", "--previous", "a.pt"]],
    ids=" ".join,
)
def test_calls_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "") and len(err.splitlines()[0]) <= 200


def test_a_report_never_replaces_what_could_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, page = save(tmp_path / "a.pt", healthy()), tmp_path / "b.pt"
    page.write_text("<html></html>")
    assert run(capsys, good, str(page), "-o", str(page), "--force")[0] == 2
    assert page.read_text() == "<html></html>"


# baseline


def test_known_findings_do_not_fail_and_new_ones_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, path = str(tmp_path / "known.json"), sick(tmp_path / "a.pt")
    assert run(capsys, path)[0] == 1
    status, out, _ = run(capsys, path, "--baseline", known, "--update-baseline")
    assert status == 0 and "written, 1 entry (1 new, 0 taken out)" in out
    sick(tmp_path / "a.pt", factor=77.0)  # other figures, the same place
    status, found = told(capsys, path, "--baseline", known)
    assert status == 0 and found["findings"] == [] and found["summary"]["known"] == 1
    assert [row["state"] for row in found["tables"]["known"]] == ["known"]
    sick(tmp_path / "a.pt", index=2)
    status, found = told(capsys, path, "--baseline", known)
    assert status == 1 and [each["where"]["route"] for each in found["findings"]] == ["optimizer.state[2].exp_avg"]
    assert found["summary"]["fixed"] == 1


def test_from_one_checkpoint_a_baseline_holds_for_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = str(tmp_path / "known.json")
    run(capsys, sick(tmp_path / "step_10.pt"), "--baseline", known, "--update-baseline")
    assert run(capsys, sick(tmp_path / "step_20.pt"), "--baseline", known)[0] == 0


def test_from_several_each_keeps_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = str(tmp_path / "known.json")
    a, b = sick(tmp_path / "runs" / "a.pt"), save(tmp_path / "runs" / "b.pt", healthy())
    assert run(capsys, a, b, "--baseline", known, "--update-baseline")[0] == 0
    sick(tmp_path / "runs" / "b.pt")
    status, found = told(capsys, a, b, "--baseline", known)
    assert status == 1 and {each["where"]["input"] for each in found["findings"]} == {b}
    monkeypatch.chdir(tmp_path / "runs")  # paths are those from the baseline's folder
    assert run(capsys, "a.pt", "--baseline", "../known.json")[0] == 0
    assert run(capsys, "b.pt", "--baseline", "../known.json")[0] == 1


def test_what_is_fixed_is_said_and_taken_out_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = tmp_path / "known.json"
    run(capsys, sick(tmp_path / "a.pt"), "--baseline", str(known), "--update-baseline")
    path, before = save(tmp_path / "a.pt", healthy()), known.read_text()
    status, out, _ = run(capsys, path, "--baseline", str(known))
    assert status == 0 and "OI304 optimizer.state[0].exp_avg first.weight is found no more" in out
    assert known.read_text() == before
    run(capsys, path, "--baseline", str(known), "--update-baseline")
    assert json.loads(known.read_text())["findings"] == []


def test_what_was_not_looked_at_is_not_fixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = tmp_path / "known.json"
    a, b = sick(tmp_path / "a.pt"), sick(tmp_path / "b.pt")
    run(capsys, a, b, "--baseline", str(known), "--update-baseline")
    entries = known.read_text()
    save(tmp_path / "a.pt", healthy())
    _, found = told(capsys, b, "--baseline", str(known))  # a is not among them
    assert sorted(row["state"] for row in found["tables"]["known"]) == ["known", "not looked at"]
    page = tmp_path / "page.pt"
    page.write_text("<html></html>")
    shutil.copy(page, a)
    status, found = told(capsys, a, b, "--baseline", str(known), "--update-baseline")
    assert status == 2 and known.read_text() == entries
    half = Path(save(tmp_path / "a.pt", healthy()))  # rules that find nothing in half a file prove nothing
    cut(half, half.stat().st_size // 2)
    assert told(capsys, a, b, "--baseline", str(known))[1]["summary"]["fixed"] == 0


def test_a_fault_that_spreads_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, made = str(tmp_path / "known.json"), healthy()
    for index in range(4):
        made["optimizer"]["state"][index]["exp_avg"] *= 50
    path = save(tmp_path / "a.pt", made)
    run(capsys, path, "--baseline", known, "--update-baseline")
    assert run(capsys, path, "--baseline", known)[0] == 0
    made["optimizer"]["state"][5]["exp_avg"] *= 50
    assert run(capsys, save(tmp_path / "a.pt", made), "--baseline", known)[0] == 1


def test_a_baseline_is_good_to_review(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, made = tmp_path / "known.json", healthy()
    for index in (2, 0, 1):
        made["optimizer"]["state"][index]["exp_avg"] *= 50
    path = save(tmp_path / "a.pt", made)
    run(capsys, path, "--baseline", str(known), "--update-baseline")
    first = known.read_text()
    lines = [line for line in first.splitlines() if '"rule"' in line]
    assert lines == sorted(lines) and len(lines) == 3 and first.endswith("}\n")
    times = known.stat().st_mtime_ns
    run(capsys, path, "--baseline", str(known), "--update-baseline")
    assert known.read_text() == first and known.stat().st_mtime_ns == times
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".part")] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "no json",
        '{"optinspect_baseline": 2, "findings": []}',
        '{"optinspect_baseline": 1}',
        '{"optinspect_baseline": 1, "findings": {}}',
        '{"optinspect_baseline": 1, "findings": [], "more": 1}',
        '{"optinspect_baseline": 1, "findings": [{"rule": "OI304"}]}',
        '{"optinspect_baseline": 1, "findings": [{"rule": 3, "checkpoint": null, "route": null, "parameter": null}]}',
        "[" * 100_000,
        "\ufffd\x00",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("update", [False, True])
def test_a_malformed_baseline_is_status_2(
    text: str, update: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "known.json"
    known.write_text(text, encoding="utf-8")
    words = ["--update-baseline"] if update else []
    status, _, err = run(capsys, save(tmp_path / "a.pt", healthy()), "--baseline", str(known), *words)
    assert status == 2 and "not a baseline" in err and known.read_text(encoding="utf-8") == text


def test_a_missing_baseline_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "a.pt", healthy())
    assert run(capsys, path, "--baseline", str(tmp_path / "none.json"))[0] == 2
    assert run(capsys, path, "--baseline", str(tmp_path))[0] == 2
    assert run(capsys, path, "--baseline", path, "--update-baseline")[0] == 2
    assert torch.load(path, weights_only=False)


def test_fail_on_asks_of_new_findings_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, path = str(tmp_path / "known.json"), str(SICK["OI405"].write(tmp_path / "a.pt"))
    assert run(capsys, path, "--fail-on", "warning")[0] == 1
    run(capsys, path, "--baseline", known, "--update-baseline")
    assert run(capsys, path, "--fail-on", "warning", "--baseline", known)[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a b.pt", "a b.pt"),
        ("50%, x:y.pt", "50%25%2C x%3Ay.pt"),
        ("two\r\nlines.pt", "two%0D%0Alines.pt"),
        ("::error::ü.pt", "%3A%3Aerror%3A%3Aü.pt"),
        ("-e\x1b[31m.pt", "-e\\x1b[31m.pt"),
    ],
)
def test_any_name_is_one_annotation_and_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, escaped: str
) -> None:
    """As the runner reads them: `%0A`, `%0D`, `%3A`, `%2C` and `%25` of a property are turned back."""
    monkeypatch.chdir(tmp_path)
    sick(Path(name))
    Path(f"{name}.pth").write_bytes(b"")
    status, out, err = run(capsys, "-f", "github", "--", name, f"{name}.pth")
    lines = out.splitlines()
    assert status == 2 and lines[0].startswith(f"::error file={escaped}.pth,title=not read::")
    assert lines[1].startswith(f"::error file={escaped},title=OI304 ")
    assert len(err.split("\n")) == 3 and "\x1b" not in out + err
    found = json.loads(run(capsys, "--json", "--", name, f"{name}.pth")[1])
    assert found["tables"]["paths"][1]["problem"] == "the file is empty"


def test_what_comes_next_takes_a_name_that_looks_like_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("-h.pt"), at(10))
    out = run(capsys, "--ignore", "OI", "--", "-h.pt")[1]
    words = shlex.split(out.splitlines()[-1])
    assert words[:3] == ["next", "optinspect", "show"] and cli.main(words[2:]) == 0


# --latest


def test_the_newest_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (100, 200, 1000):
        save(tmp_path / f"checkpoint-{step}.pt", at(step))
    newest = cut(Path(save(tmp_path / "checkpoint-2000.pt", at(2000))))
    bad = at(1500)
    bad["optimizer"]["state"][0]["exp_avg"][0] = torch.nan
    save(tmp_path / "checkpoint-1500.pt", bad)
    expected = str(tmp_path / "checkpoint-1000.pt")
    assert run(capsys, "--latest", str(tmp_path), "-q")[:2] == (0, f"{expected}\n")
    status, found = told(capsys, "--latest", str(tmp_path))
    assert status == 0 and found["summary"]["latest"] == expected and found["summary"]["resumable"] is True
    rows = [(Path(row["path"]).stem, row["result"]) for row in found["tables"]["candidates"]]
    assert [row["step"] for row in found["tables"]["candidates"]] == [2000, 1500, 1000, 200, 100]
    assert rows == [
        ("checkpoint-2000", "unreadable"),
        ("checkpoint-1500", "fails"),
        ("checkpoint-1000", "passes"),
        ("checkpoint-200", "not checked"),
        ("checkpoint-100", "not checked"),
    ]
    assert found["tables"]["candidates"][1]["reason"].startswith("OI301 ")
    assert [row["ordered_by"] for row in found["tables"]["candidates"]] == [BY_NAME, *[BY_STEP] * 4]
    out = run(capsys, "--latest", str(tmp_path))[1]
    assert f"latest  {expected}, step 1,000" in out and newest in out


def test_the_step_counts_and_not_the_name_nor_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "best_9000.pt", at(10))
    save(tmp_path / "b.pt", at(30))
    late = save(tmp_path / "z_1.pt", at(20))
    os.utime(late, (2e9, 2e9))
    assert run(capsys, "--latest", str(tmp_path), "-q")[1] == f"{tmp_path / 'b.pt'}\n"


def sgd(**other: Any) -> dict[str, Any]:
    net = torch.nn.Linear(4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict(), **other}


def test_epochs_where_there_are_no_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, epoch in (("a", 3), ("b", 11), ("c", 7)):
        save(tmp_path / f"{name}.pt", sgd(epoch=epoch))
    _, found = told(capsys, "--latest", str(tmp_path))
    assert [Path(row["path"]).stem for row in found["tables"]["candidates"]] == ["b", "c", "a"]
    assert {row["ordered_by"] for row in found["tables"]["candidates"]} == {BY_EPOCH}


def test_steps_that_start_again_in_each_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, epoch, step in (("a", 1, 900), ("b", 2, 10), ("c", 2, 500)):
        save(tmp_path / f"{name}.pt", sgd(epoch=epoch, step=step))
    _, found = told(capsys, "--latest", str(tmp_path))
    assert [Path(row["path"]).stem for row in found["tables"]["candidates"]] == ["c", "b", "a"]


def test_names_then_times_where_nothing_is_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, when in (("model_9.pt", 5), ("model_10.pt", 4), ("last.pt", 9), ("first.pt", 1)):
        os.utime(save(tmp_path / name, sgd()), (1e9 + when, 1e9 + when))
    _, found = told(capsys, "--latest", str(tmp_path))
    rows = [(Path(row["path"]).stem, row["ordered_by"]) for row in found["tables"]["candidates"]]
    assert [name for name, _ in rows] == ["last", "model_10", "model_9", "first"]
    assert {by for _, by in rows} <= {BY_NAME, BY_TIME}


def trainer(folder: Path, step: int) -> Path:
    made = at(step)
    for group in made["optimizer"]["param_groups"]:
        group["lr"] = group["initial_lr"] = 0.01
    save(folder / "optimizer.pt", made["optimizer"])
    save(folder / "pytorch_model.bin", made["model"])
    save(folder / "scheduler.pt", {"last_epoch": step, "_last_lr": [0.01, 0.01], "base_lrs": [0.01, 0.01]})
    save(folder / "rng_state.pth", {"cpu": torch.get_rng_state()})
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "epoch": 1.0}))
    save(folder / "training_args.bin", {"lr": 0.01})
    return folder


def test_directories_are_one_checkpoint_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (500, 1000):
        trainer(tmp_path / f"checkpoint-{step}", step)
    save(tmp_path / "pytorch_model.bin", at(1)["model"])  # what save_model() leaves beside them at the end
    save(tmp_path / "training_args.bin", {"lr": 0.01})
    _, found = told(capsys, "--latest", str(tmp_path))
    paths = [row["path"] for row in found["tables"]["candidates"]]
    assert paths == [str(tmp_path / "checkpoint-1000"), str(tmp_path / "checkpoint-500")]


def test_a_directory_from_which_the_optimizer_is_missing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (500, 1000):
        trainer(tmp_path / f"checkpoint-{step}", step)
    (tmp_path / "checkpoint-1000" / "optimizer.pt").unlink()
    status, found = told(capsys, "--latest", str(tmp_path))
    assert found["tables"]["candidates"][0]["path"].endswith("checkpoint-1000")
    assert found["tables"]["candidates"][0]["result"] == "fails"
    assert status == 0 and found["summary"]["latest"] == str(tmp_path / "checkpoint-500")


def test_nested_runs_links_and_unfinished_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "lightning_logs" / "version_0" / "checkpoints"
    newest = save(runs / "epoch=3-step=120.ckpt", at(120))
    save(runs / "epoch=2-step=90.ckpt", at(90))
    (runs / "last.ckpt").symlink_to("epoch=3-step=120.ckpt")
    (tmp_path / "loop").symlink_to(tmp_path)
    cut(Path(save(runs / "epoch=4-step=150.ckpt.tmp", at(150))))
    (runs / "weights.csv").write_text("1,2,3")
    save(runs / "dataset.bin", [1, 2, 3])
    status, found = told(capsys, "--latest", str(tmp_path))
    assert status == 0 and found["summary"]["latest"] == newest
    assert len(found["tables"]["candidates"]) == 2
    assert "unfinished by its name" in run(capsys, "--latest", str(tmp_path))[1]


def test_a_folder_that_links_lead_to_is_looked_into_once_by_its_own_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "first.pt", at(5))
    newest = save(tmp_path / "run_2" / "state.pt", at(20))
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "current").symlink_to("run_2")
    _, found = told(capsys, "--latest", str(tmp_path))
    assert [row["path"] for row in found["tables"]["candidates"]] == [newest, str(tmp_path / "first.pt")]


def test_nothing_to_resume_from_is_status_1_and_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--latest", str(tmp_path), "-q") == (1, "", "")
    assert "there is none" in run(capsys, "--latest", str(tmp_path))[1]
    sick(tmp_path / "a.pt")
    assert run(capsys, "--latest", str(tmp_path), "-q") == (1, "", "")
    status, found = told(capsys, "--latest", str(tmp_path))
    assert status == 1 and found["summary"]["latest"] is None and found["summary"]["resumable"] is False
    assert run(capsys, "--latest", str(tmp_path), "-q", "--exit-zero")[:2] == (0, "")


def test_a_directory_that_is_not_there_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--latest", str(tmp_path / "none"), "-q")[:2] == (2, "")
    assert run(capsys, "--latest", save(tmp_path / "a.pt", healthy()), "-q")[:2] == (2, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model", "no_such_module_here:f"], "ModuleNotFoundError"),
        (["--model-key", "net"], "no model at 'net' (found: model); so it is with 2 more"),
        (["--optimizer-key", "opt"], "no optimizer at 'opt' (found: optimizer); so it is with 2 more"),
        (["--max-memory", "1K"], "so it is with 2 more"),
        (["--config", "optinspect.yaml"], "no optimizer at 'opt' (found: optimizer); so it is with 2 more"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_the_call_is_at_fault_for_is_status_2_and_said_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "optinspect.yaml").write_text("layout: {optimizer: opt}\n" if "--config" in words else "")
    paths = [save(tmp_path / "runs" / f"step_{step}.pt", at(step)) for step in (10, 20, 30)]
    for where in (["--latest", "runs"], paths):
        status, out, err = run(capsys, *where, "-q", *words)
        assert (status, out) == (2, "")
        assert err.count("\n") == 2 and expected in err.splitlines()[0], err
    cut(Path(save(tmp_path / "runs" / "step_40.pt", at(40))))
    assert run(capsys, "--latest", "runs", "-q", *words, "--exit-zero")[:2] == (2, "")


def test_a_function_that_raises_is_called_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "raises_of_a_user.py").write_text("def make():\n    print('called')\n    raise ValueError('no data')\n")
    for step in (10, 20):
        save(tmp_path / "runs" / f"step_{step}.pt", at(step))
    status, out, err = run(capsys, "--latest", "runs", "-q", "--model", "raises_of_a_user:make")
    assert (status, out) == (2, "")
    assert err.splitlines()[:2] == [
        "called",
        "--model raises_of_a_user:make: raises_of_a_user.py:3: ValueError: no data",
    ]


def test_a_route_that_one_checkpoint_lacks_is_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = at(10)
    old["opt"] = old.pop("optimizer")
    path = save(tmp_path / "step_10.pt", old)
    save(tmp_path / "step_20.pt", at(20))
    words = ("--latest", str(tmp_path), "--optimizer-key", "opt")
    assert run(capsys, *words, "-q")[:2] == (0, f"{path}\n")
    assert told(capsys, *words)[1]["tables"]["candidates"][0]["reason"] == "no optimizer at 'opt' (found: optimizer)"


def test_status_2_where_no_checkpoint_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (10, 20):
        cut(Path(save(tmp_path / f"step_{step}.pt", at(step))), 0)
    status, out, err = run(capsys, "--latest", str(tmp_path), "-q")
    assert (status, out) == (2, "") and err.count("the file is empty") == 2
    out = run(capsys, "--latest", str(tmp_path))[1]
    assert "none of 2 checkpoints could be checked" in out
    sick(tmp_path / "step_5.pt")
    assert run(capsys, "--latest", str(tmp_path), "-q")[0] == 1


def test_latest_obeys_fail_on_and_ignore_and_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = save(tmp_path / "runs" / "a.pt", at(10)), sick(tmp_path / "runs" / "b.pt")
    where = ("--latest", str(tmp_path / "runs"), "-q")
    assert run(capsys, *where)[1] == f"{old}\n"
    assert run(capsys, *where, "--fail-on", "never")[1] == f"{new}\n"
    assert run(capsys, *where, "--ignore", "OI304")[1] == f"{new}\n"
    known = str(tmp_path / "known.json")
    run(capsys, new, "--baseline", known, "--update-baseline")
    assert run(capsys, *where, "--baseline", known)[1] == f"{new}\n"


def test_a_report_may_go_into_a_file_beside_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only, out = save(tmp_path / "runs" / "a.pt", at(10)), tmp_path / "report.json"
    words = ("--latest", str(tmp_path / "runs"), "-q", "--json", "-o", str(out))
    assert run(capsys, *words) == (0, f"{only}\n", "")
    assert json.loads(out.read_text())["summary"]["latest"] == only


@pytest.mark.skipif(sys.platform == "win32", reason="names there are not bytes")
def test_a_script_gets_the_very_path(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/r\xff \xe9")
    os.mkdir(name)  # noqa: PTH102
    save(Path(name) / "a b.pt", at(10))
    words = [sys.executable, "-m", "optinspect", "check", "--latest", name, "-q"]
    done = subprocess.run(words, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.stdout == os.fsencode(name) + b"/a b.pt\n"


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.integers(0, 5)), max_size=12, unique_by=lambda x: x[0]))
def test_names_and_steps_of_one_run_give_one_order(saves: list[tuple[int, bool, int]]) -> None:
    """However many of them cannot be read, whatever their times: checkpoint-N are in the order of N."""
    every = [
        Candidate(f"runs/checkpoint-{step}", float(time), float(step) if whole else None) for step, whole, time in saves
    ]
    found = [each.numbers[0] for each in newest_first(every)]
    assert found == sorted(found, reverse=True)


# --summary


def test_the_job_page_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# what another step wrote")
    path = sick(tmp_path / "a.pt")
    assert run(capsys, path, "-q", "--summary", str(page)) == (1, "", "")
    assert run(capsys, save(tmp_path / "b.pt", healthy()), "--summary", str(page), "-f", "sarif")[0] == 0
    text = page.read_text()
    assert text.startswith("# what another step wrote\n## optinspect check\n\n") and text.count("## optinspect") == 2
    assert "- **OI304** error: optimizer.state\\[0\\].exp\\_avg first.weight: " in text
    assert "resumable: yes" in text and "resumable: no" in text


def test_a_run_without_an_answer_is_on_the_page_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    assert run(capsys, str(tmp_path / "none.pt"), "--summary", str(page))[0] == 2
    assert page.read_text().startswith("## optinspect check\n\n- no answer: ") and "no such file" in page.read_text()


def test_nothing_is_appended_to_what_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "a.pt", healthy())
    before = Path(path).read_bytes()
    for wrong in (path, "", str(tmp_path), str(tmp_path / "none" / "page.md")):
        assert run(capsys, path, "--summary", wrong)[0] == 2
    assert Path(path).read_bytes() == before and run(capsys, path, "-q")[0] == 0


def test_python_has_the_same(tmp_path: Path) -> None:
    report = optinspect.check(save(tmp_path / "a.pt", healthy()), str(tmp_path / "none.pt"))
    assert report.status == 2 and [each.kind for each in report.failures] == ["UnreadableFile"]


# what cannot be answered


@pytest.mark.parametrize(
    "words", [["", "-q"], ["--latest", ""], ["a.pt", "--previous", ""], ["a.pt", "--baseline", "", "--update-baseline"]]
)
def test_an_empty_path_is_named_as_such(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "") and err.startswith("an empty path was given\n")


@pytest.mark.parametrize("form", ["github", "sarif", "junit"])
def test_the_only_path_that_cannot_be_read_is_in_the_report(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, target = str(tmp_path / "none.pt"), tmp_path / "report"
    status, out, err = run(capsys, missing, "--format", form, "-q")
    assert status == 2 and err.startswith(f"{missing}: no such file")
    assert run(capsys, missing, "-f", form, "-o", str(target), "--summary", str(tmp_path / "page.md"))[:2] == (2, "")
    assert target.read_text() == out and (tmp_path / "page.md").read_text().count("no such file") == 1
    if form == "github":
        assert out == f"::error file={missing},title=not read::{missing}: no such file\n"
    elif form == "sarif":
        (only,) = json.loads(out)["runs"][0]["invocations"]
        assert not only["executionSuccessful"] and "no such file" in str(only["toolExecutionNotifications"])
    else:
        root = ElementTree.fromstring(out)
        assert root.get("errors") == "1" and root.find("testsuite/testcase/error") is not None


def test_of_a_call_that_is_not_understood_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = save(tmp_path / "a.pt", healthy()), tmp_path / "report.xml"
    assert run(capsys, path, "--select", "XX1", "-f", "junit", "-o", str(target))[:2] == (2, "")
    assert not target.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_page_that_cannot_be_written_leaves_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, save(tmp_path / "a.pt", healthy()), "--json", "--summary", "/dev/full")
    assert status == 2 and json.loads(out)["error"]["message"].startswith("/dev/full: not written")
