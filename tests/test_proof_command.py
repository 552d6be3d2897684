"""`optinspect replay A --to B` and `show --previous`: verdicts, exit statuses, what is said, the schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import optinspect
from optinspect.cli import main

DATA = Path(__file__).parent / "data" / "pairs"
CORPUS = os.environ.get("OPTINSPECT_CORPUS")
ROOM = Path(CORPUS, "pairs") if CORPUS else DATA
PAIRS = sorted(path.parent for path in ROOM.glob("*/truth.json"))

VARIANTS = {
    "torch.optim.adamw.AdamW": "adamw",
    "torch.optim.adam.Adam": "adam",
    "torch.optim.nadam.NAdam": "nadam",
    "corpus_models.CS336AdamW": "course-adamw",
    "corpus_models.VariantAdamW": "adamw",
}
WRONG = {
    "bug_decay_after": "adamw-decay-after",
    "bug_decay_no_lr": "adamw-decay-without-lr",
    "bug_no_bias_correction": "adamw-no-bias-correction",
}
NAMED = {"torn_save": "OI601", "stale_copy": "OI602", "weights_rounded": "OI606"} | dict.fromkeys(WRONG, "OI607")
"""A fault of the corpus → the one finding that says it."""


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    status = main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, json.loads(files("optinspect").joinpath("schema.json").read_text()))
    assert told["status"] == status
    return status, told


def truth_of(folder: Path) -> Any:
    return json.loads((folder / "truth.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", PAIRS, ids=lambda path: path.name)
def test_the_verdict_on_a_recorded_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = truth_of(folder)
    status, told = asked(capsys, "replay", str(folder / "ckpt_t.pt"), "--to", str(folder / "ckpt_t1.pt"))
    summary, fault = told["summary"], truth["fault"]
    errors = [found["rule"] for found in told["findings"] if found["severity"] == "error"]
    names = truth["optimizers"][0]["index_to_name"]
    for row in told["tables"]["parameters"]:
        assert row["evidence"] != "step" or row["name"] == names[str(row["index"])]
    if fault in NAMED:
        assert (status, summary["verdict"], errors) == (1, "refuted", [NAMED[fault]])
        assert summary["variant"] == WRONG.get(fault)
        return
    skipped = folder.name == "gradscaler_skip"
    assert (status, errors, summary["verdict"]) == (0, [], "consistent" if skipped else "verified")
    assert ("OI613" in [found["rule"] for found in told["findings"]]) == (fault == "lr_jump")
    if skipped:
        return
    assert summary["variant"] == VARIANTS[truth["optimizers"][0]["cls"]]
    inferred = [group["lr_inferred"] for group in told["tables"]["groups"]]
    narrow = "bf16" in folder.name
    if "lrs_t_to_t1" in truth["pair"]:
        lrs = truth["pair"]["lrs_t_to_t1"]
        assert inferred == pytest.approx(lrs, rel=0.1 if narrow else 1e-6, abs=1e-12)
    assert summary["clipped_at"] == (truth["pair"].get("clip") if folder.name == "adamw_clip" else None)


@pytest.mark.parametrize("folder", PAIRS, ids=lambda path: path.name)
def test_ten_steps_of_a_healthy_run_are_consistent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    healthy = truth_of(folder)["fault"] == "healthy"
    status, told = asked(capsys, "replay", str(folder / "ckpt_t.pt"), "--to", str(folder / "ckpt_t10.pt"))
    assert not healthy or (status, told["summary"]["verdict"]) == (0, "consistent")
    assert told["summary"]["steps_between"] in (9, 10)
    assert told["tables"]["tests"]


@pytest.mark.skipif(not CORPUS, reason="OPTINSPECT_CORPUS is not set: no framework's checkpoints")
def test_safetensors_have_no_order_and_the_step_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    room = Path(str(CORPUS), "frameworks", "hf_gpt2_adamw")
    a, b = room / "checkpoint-5", room / "checkpoint-6"
    words = ["replay", str(a / "optimizer.pt"), "--model-state-a", str(a / "model.safetensors"), "--to"]
    status, told = asked(capsys, *words, str(b / "optimizer.pt"), "--model-state-b", str(b / "model.safetensors"))
    assert (status, told["summary"]["verdict"]) == (0, "verified")
    groups = truth_of(room)["optimizers"][0]["groups"]
    names = {i: n for g in groups for i, n in zip(g["indices"], g["param_names_in_index_order"], strict=True)}
    rows = told["tables"]["parameters"]
    assert len(rows) == 148
    assert {row["evidence"] for row in rows} == {"step"}
    assert {row["index"]: row["name"] for row in rows} == names
    assert told["summary"]["gradient_norm"] == pytest.approx(1.0, rel=1e-5)
    assert told["summary"]["clipped_at"] == 1.0


def pair(name: str = "adamw_lambda_cosine") -> tuple[str, str]:
    return str(DATA / name / "ckpt_t.pt"), str(DATA / name / "ckpt_t1.pt")


def test_the_files_the_wrong_way_round_are_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pair()
    assert main(["replay", b, "--to", a]) == 2
    told = capsys.readouterr().err
    assert "earlier" in told
    assert "hint: swap the two files" in told


@pytest.mark.parametrize(
    "words",
    [["--steps", "3"], ["--zero"], ["--synthetic"], ["--rule", "adamw"], ["--save", "x.pt"], ["--scheduler"]],
    ids=" ".join,
)
def test_options_of_the_other_question_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pair()
    assert main(["replay", a, "--to", b, *words]) == 2
    assert "two questions" in capsys.readouterr().err


def test_strict_belongs_to_a_proof(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", pair()[0], "--strict"]) == 2
    assert "--to" in capsys.readouterr().err


def test_undecided_is_an_answer_only_without_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch  # noqa: PLC0415

    net = torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    paths = []
    for number in range(2):
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        paths.append(str(tmp_path / f"{number}.pt"))
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": number}, paths[-1])
    status, told = asked(capsys, "replay", paths[0], "--to", paths[1])
    assert (status, told["summary"]["verdict"]) == (0, "undecided")
    assert told["skipped"]
    assert asked(capsys, "replay", paths[0], "--to", paths[1], "--strict")[0] == 2


def test_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", pair()[0], "--to", pair()[1], "--width", "0"]) == 0
    told = capsys.readouterr().out
    assert "verified: every weight is where the rule puts it" in told
    assert "17 of 17 proved by the step itself" in told
    assert "the step used the one stored in A" in told


def test_show_takes_the_names_that_the_step_proves(capsys: pytest.CaptureFixture[str]) -> None:
    a, b = pair()
    status, told = asked(capsys, "show", b, "--previous", a, "--no-stats")
    names = truth_of(DATA / "adamw_lambda_cosine")["optimizers"][0]["index_to_name"]
    rows = told["tables"]["parameters"]
    assert status == 0
    assert {row["evidence"] for row in rows} == {"step"}
    assert {str(row["index"]): row["name"] for row in rows} == names


def test_python_proves_without_torch() -> None:
    a, b = pair("nadam")
    code = (
        "import sys, optinspect\n"
        f"with optinspect.open({a!r}) as a, optinspect.open({b!r}) as b:\n"
        "    proof = optinspect.prove(a, b)\n"
        "assert (proof.verdict, proof.variant) == ('verified', 'nadam')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_proof_reads_through_threads_alike() -> None:
    a, b = pair("cs336")
    proofs = []
    for threads in (1, 3):
        with optinspect.open(a) as first, optinspect.open(b) as second:
            proofs.append(optinspect.prove(first, second, threads=threads))
    assert proofs[0] == proofs[1]
