"""`optinspect replay` as it is run: what it prints, how it exits, what it writes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from replay_cases import Run
from step_cases import same_bits

from optinspect import cli
from optinspect.errors import MAX_MESSAGE

ROOT = Path(__file__).parents[1]
GPT = ROOT / "sample_checkpoints" / "gpt_step40.pt"
CUT = ROOT / "sample_checkpoints" / "cut_short.pt"
PAIR = Path(__file__).parent / "data" / "pairs" / "cs336"

STEPS = {"step", "lr", "bias_correction1", "bias_correction2", "loss", "gradient_norm", "update_norm"}
APART = {"max_abs_difference", "max_ulps"}
SUMMARY = {"steps", "source", "rule", "against", "bit_equal", *APART}

MODULE = """
import torch

def factory():
    layers = torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(7, 3)
    return torch.nn.Sequential(*layers), loss

def loss(module, batch):
    return module(batch).square().mean()

def batches():
    source = torch.Generator().manual_seed(5)
    for _ in range(6):
        yield torch.randn(8, 5, generator=source)

class Own(torch.nn.Linear):
    def forward(self, x, y):
        return {"loss": (super().forward(x) - y).square().mean()}

def own():
    return Own(2, 1)

pairs = [(torch.ones(3, 2), torch.zeros(3, 1))] * 20

def broken():
    raise KeyError("no such thing")

def forgetful():
    return torch.nn.Linear(5, 3), lambda module, batch: batch.sum()
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "OPTINSPECT_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run at step 8, and the gradients of the next 5 steps."""
    folder = tmp_path_factory.mktemp("run")
    run = Run(torch.optim.AdamW)
    run.train(8)
    run.save(folder / "a.pt")
    run.train(5, record=True)
    run.save(folder / "b.pt")
    run.save_recording(folder / "grads.pt")
    return folder


@pytest.fixture
def users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "user_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "user_module", raising=False)
    return tmp_path


def replay(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = cli.main(["replay", *map(str, words)])
    return status, *capsys.readouterr()


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    status, out, _ = replay(capsys, *words, "--json")
    found: dict[str, Any] = json.loads(out)
    assert found["status"] == status
    return found


def test_the_demonstration_in_a_process_of_its_own() -> None:
    started = time.monotonic()
    command = [sys.executable, "-m", "optinspect", "replay", "--steps", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bit-equal: the same weights and moments after each of 10 steps" in done.stdout
    for word in ("bigram", "token_embedding_table", "lm_head", "loss", "weight decay", "momentum", "exp_avg"):
        assert word in done.stdout
    assert time.monotonic() - started < 30  # 2.2 s on an idle machine


def test_json_has_the_keys_of_the_contract(capsys: pytest.CaptureFixture[str], saved: Path) -> None:
    for words in ((), (GPT,), (saved / "a.pt", "--grads", saved / "grads.pt"), (saved / "a.pt", "--zero")):
        found = told(capsys, *words)
        assert found["command"] == "replay"
        assert found["summary"].keys() >= SUMMARY
        assert found["summary"]["steps"] == len(found["tables"]["steps"])
        assert all(row.keys() >= STEPS | APART | {"bit_equal"} for row in found["tables"]["steps"])
        expected = {"name", "shape", "update_norm", "update_ratio", *APART}
        assert all(row.keys() >= expected for row in found["tables"]["parameters"])
    assert len(told(capsys, GPT, "--steps", 1)["tables"]["parameters"]) == 28


def test_every_report_fits_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(files("optinspect").joinpath("schema.json").read_text())
    checks = jsonschema.Draft202012Validator(schema)
    for words in (("--check-gradients", 3), (GPT, "--zero"), (CUT, "--steps", 2), ("no/such.pt",)):
        _, out, _ = replay(capsys, *words, "--json")
        assert list(checks.iter_errors(json.loads(out))) == []


def test_sources_are_called_what_they_are(capsys: pytest.CaptureFixture[str], saved: Path) -> None:
    sources = {
        (): "demo",
        (GPT,): "synthetic",
        (GPT, "--zero"): "zero",
        (saved / "a.pt", "--grads", saved / "grads.pt"): "recorded",
    }
    for words, source in sources.items():
        assert told(capsys, *words)["summary"]["source"] == source
    assert "synthetic: drawn from what the moments describe" in replay(capsys, GPT)[1]


def test_different_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = replay(capsys, PAIR / "ckpt_t.pt", "--grads", PAIR / "grads_t_t1.pt")
    assert status == 1
    assert "not the same" in out
    assert "course-adamw" in out
    words = (PAIR / "ckpt_t.pt", "--grads", PAIR / "grads_t_t1.pt", "--against", "course-adamw")
    assert replay(capsys, *words)[0] == 0


def test_a_saved_replay_is_the_later_checkpoint(
    capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path
) -> None:
    """Weights, moments, step counts and counters of the run that went on; torch's own loader reads it."""
    out = tmp_path / "out.pt"
    words = (saved / "a.pt", "--grads", saved / "grads.pt", "--save", out)
    assert replay(capsys, *words)[0] == 0
    mine, theirs = (torch.load(path, weights_only=True) for path in (out, saved / "b.pt"))
    assert list(mine) == list(theirs)
    assert mine["step"] == theirs["step"] == 13
    assert all(same_bits(mine["model"][name], weight) for name, weight in theirs["model"].items())
    for index, state in theirs["optimizer"]["state"].items():
        assert all(same_bits(mine["optimizer"]["state"][index][slot], value) for slot, value in state.items())
    status, _, err = replay(capsys, *words)
    assert (status, "exists already" in err) == (2, True)
    assert replay(capsys, *words, "--force")[0] == 0


def test_ties_and_strides_are_saved(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert replay(capsys, GPT, "--steps", 2, "--save", tmp_path / "out.pt")[0] == 0
    mine = torch.load(tmp_path / "out.pt", weights_only=True)
    before = torch.load(GPT, weights_only=True)
    assert mine["model"]["lm_head.weight"].data_ptr() == mine["model"]["wte.weight"].data_ptr()
    assert mine["optimizer"]["state"][0]["step"] == before["optimizer"]["state"][0]["step"] + 2
    for name, weight in before["model"].items():
        assert mine["model"][name].stride() == weight.stride()
        assert not torch.equal(mine["model"][name], weight)


def test_counters_that_run_ahead_keep_running_ahead(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("--grads", PAIR / "grads_t_t1.pt", "--grads", PAIR / "grads_t1_t10.pt", "--save", tmp_path / "out.pt")
    replay(capsys, PAIR / "ckpt_t.pt", *words)
    mine, theirs = (torch.load(path, weights_only=True) for path in (tmp_path / "out.pt", PAIR / "ckpt_t10.pt"))
    assert mine["optimizer"]["state"][3]["t"] == theirs["optimizer"]["state"][3]["t"] == 31
    assert torch.allclose(mine["optimizer"]["state"][3]["m"], theirs["optimizer"]["state"][3]["m"], rtol=1e-6)


def test_the_input_is_never_written_over(capsys: pytest.CaptureFixture[str], saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.pt"
    link.symlink_to(saved / "a.pt")
    before = (saved / "a.pt").read_bytes()
    for target in (saved / "a.pt", link):
        status, _, err = replay(capsys, saved / "a.pt", "--save", target, "--force")
        assert (status, "is the file that is replayed" in err) == (2, True)
    assert (saved / "a.pt").read_bytes() == before
    assert replay(capsys, saved / "a.pt", "--save", tmp_path / "none" / "out.pt")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--grads", "x.pt"),
        ("--save", "x.pt"),
        ("--steps", "0"),
        ("--steps", "many"),
        ("--model", "a:b"),
        (GPT, "--zero", "--synthetic"),
        (GPT, "--check-gradients", "3"),
        (GPT, "--against", "foo"),
        (GPT, "--rule", "foo"),
        (GPT, "--grads", GPT),
        (GPT, "--model", "no_such_module_here:f", "--data", "no_such_module_here:d"),
        (GPT, "--model", "json", "--data", "json"),
        ("no/such/file.pt",),
        (ROOT / "sample_checkpoints" / "gan.pt",),
        (ROOT / "sample_checkpoints" / "only_weights.pt", "--scheduler"),
        (ROOT / "sample_checkpoints" / "separate" / "optimizer.pt",),
    ],
    ids=str,
)
def test_refusals_are_one_line_and_a_hint(capsys: pytest.CaptureFixture[str], words: tuple[object, ...]) -> None:
    status, out, err = replay(capsys, *words)
    first, *hints = err.splitlines()
    assert (status, out) == (2, "")
    assert len(first) <= MAX_MESSAGE
    assert len(hints) <= 1
    assert all(hint.startswith("hint: ") for hint in hints)


def test_the_users_model_is_trained_from_its_own_start(capsys: pytest.CaptureFixture[str], users_code: Path) -> None:
    words = ("--model", "user_module:own", "--data", "user_module:pairs", "--steps", 4)
    found = told(capsys, *words)
    losses = [row["loss"] for row in found["tables"]["steps"]]
    assert (found["status"], found["summary"]["source"]) == (0, "model")
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_the_users_model_goes_on_from_a_checkpoint(
    capsys: pytest.CaptureFixture[str], users_code: Path, saved: Path
) -> None:
    """The same steps as a loop that anybody would write, dropout and two groups included."""
    held = torch.load(saved / "a.pt", weights_only=True)
    held["model"] = {name.replace("2.", "3."): weight for name, weight in held["model"].items()}
    torch.save(held, users_code / "a.pt")
    words = ("a.pt", "--model", "user_module:factory", "--data", "user_module:batches", "--steps", 6, "--save", "o.pt")
    found = told(capsys, *words)
    space: dict[str, Any] = {}
    exec(compile(MODULE, "user_module", "exec"), space)  # the test's own text
    torch.manual_seed(0)
    module, loss = space["factory"]()
    module.load_state_dict(held["model"])
    groups = [[p for p in module.parameters() if p.dim() > 1], [p for p in module.parameters() if p.dim() < 2]]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups], foreach=False)
    optimizer.load_state_dict(held["optimizer"])
    losses = []
    for batch in space["batches"]():
        optimizer.zero_grad()
        value = loss(module, batch)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert [row["loss"] for row in found["tables"]["steps"]] == losses
    assert found["summary"]["bit_equal"]
    written = torch.load("o.pt", weights_only=True)["model"]
    assert all(same_bits(written[name], weight) for name, weight in module.state_dict().items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("user_module:broken", "user_module:pairs"), "KeyError"),
        (("user_module:missing", "user_module:pairs"), "user_module has no missing"),
        (("user_module:own", "user_module:missing"), "user_module has no missing"),
        (("user_module:pairs", "user_module:pairs"), "list"),
        (("user_module:forgetful", "user_module:batches"), "depends on the parameters"),
        (("user_module:own", "user_module:batches"), "forward pass: TypeError"),
        (("user_module:factory", "user_module:batches"), "6 batches .expected 10"),
    ],
)
def test_faults_of_the_users_code_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], users_code: Path, words: tuple[str, str], message: str
) -> None:
    status, _, err = replay(capsys, "--model", words[0], "--data", words[1])
    assert status == 2
    assert re.search(message, err.splitlines()[0])
    assert "Traceback" not in err


def test_gradients_are_checked_on_request(capsys: pytest.CaptureFixture[str], users_code: Path) -> None:
    found = told(capsys, "--steps", 1, "--check-gradients", 10)
    assert found["summary"]["gradients_checked"] == 30
    assert found["status"] == 0
    model = ("--model", "user_module:factory", "--data", "user_module:batches", "--steps", 2)
    status, out, _ = replay(capsys, *model, "--check-gradients", 5)
    assert (status, "gradients are right" in out) == (0, True)


def test_an_interrupt_is_answered_in_one_line(saved: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "optinspect",
        "replay",
        str(GPT),
        "--steps",
        "100000",
        "--save",
        str(tmp_path / "o"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    time.sleep(5.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_step_is_taken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("optinspect.replaying.movers.RuleMover.step", interrupt)
    status, out, err = replay(capsys, GPT)
    assert (status, out, err) == (130, "", "interrupted\n")
