"""`check --model`: the user's own objects against a file, and a step of a real resume."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import optinspect
from optinspect.cli import main
from optinspect.errors import UsageError
from optinspect.live.registry import LIVE_RULES
from tests.live_cases import Block, adamw, corpus_objects, same, save, trained, truth_of, two_groups

TRAIN = """
import torch
from tests.live_cases import Block, adamw, two_groups

print("importing")

def model():
    print("building")
    return Block()

def grown():
    return Block(head=True)

def optimizer(model):
    return adamw(model)

def grouped(model):
    return two_groups(model)

def both():
    made = Block()
    return made, two_groups(made)

def broken():
    return torch.nn.Linear("a", 3)

def nothing():
    return None

def leaves():
    raise SystemExit(5)

class Skipped(BaseException):
    pass

def skips():
    raise Skipped("not here")

def lazy():
    return torch.nn.Sequential(torch.nn.LazyLinear(3))

def on_meta():
    with torch.device("meta"):
        return Block()

def elsewhere():
    import os
    os.chdir("/")
    torch.set_grad_enabled(False)
    made = Block()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    return made
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train_of_a_user.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[1])])
    sys.modules.pop("train_of_a_user", None)
    return tmp_path


def saved(path: Path, make: Any = adamw, **kinds: Any) -> str:
    model = Block(**kinds)
    return str(save(path / "c.pt", model, trained(model, make)))


def codes(report: Any) -> list[str]:
    return [each.rule for each in report.findings if each.rule.startswith("OI9")]


def test_a_healthy_file_resumes_bit_equal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(folder)
    assert main(["check", path, "--model", "train_of_a_user:model", "--optimizer", "train_of_a_user:optimizer"]) == 0
    told = capsys.readouterr()
    assert "8 parameters bit-equal with the AdamW rule" in told.out
    assert "building" not in told.out
    assert "building" in told.err


@pytest.mark.parametrize("make", [adamw, two_groups, lambda m: torch.optim.SGD(m.parameters(), 0.1, 0.9)])
def test_an_optimizer_stands_in(folder: Path, make: Any) -> None:
    report = optinspect.check(saved(folder, make), model="train_of_a_user:model")
    assert codes(report) == []
    assert "8 parameters bit-equal" in next(line.text for line in report.footer if line.label == "resumed")


def test_a_factory_may_return_both(folder: Path) -> None:
    assert codes(optinspect.check(saved(folder, two_groups), model="train_of_a_user:both")) == []
    assert "OI902" in codes(optinspect.check(saved(folder), model="train_of_a_user:both"))


def test_what_is_missing_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(folder)
    for optimizer in ([], ["--optimizer", "train_of_a_user:optimizer"]):
        assert main(["check", path, "--json", "--model", "train_of_a_user:grown", *optimizer]) == 1
        report = json.loads(capsys.readouterr().out)
        assert [each["rule"] for each in report["findings"] if each["severity"] == "error"] == ["OI903", "OI914"]
        told = next(each["message"] for each in report["findings"] if each["rule"] == "OI903")
        assert told.startswith("group 0: the optimizer has 10, the file 8: `head.weight` and `head.bias` are missing")
        silent = {each["rule"] for each in report["skipped"] if each["reason"] == "OI903 names the cause"}
        assert silent == {"OI920", "OI921"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "train_of_a_user:broken"], "train_of_a_user.py:25: TypeError"),
        (["--model", "train_of_a_user:nothing"], "gave NoneType (expected a Module"),
        (["--model", "train_of_a_user:leaves"], "train_of_a_user.py:31: SystemExit: 5"),
        (["--model", "train_of_a_user:absent"], "train_of_a_user has no absent"),
        (["--model", "no_such_module:model"], "ModuleNotFoundError"),
        (["--model", "train_of_a_user"], "expected pkg.mod:name"),
        (["--model", "train_of_a_user:optimizer"], "cannot be called with no arguments"),
        (
            ["--model", "train_of_a_user:model", "--optimizer", "train_of_a_user:model"],
            "be called with the model",
        ),
        (["--optimizer", "train_of_a_user:optimizer"], "needs --model"),
        (["--model", "train_of_a_user:skips"], "Skipped: not here"),
        (["--model", "train_of_a_user:lazy"], "`0.weight` has no shape yet"),
        (["--model", "./train_of_a_user.py:model"], "expected a module, not a file's path: train_of_a_user:model"),
        (["--model", "a/b.py:model"], "expected a module, not a file's path: a.b:model"),
    ],
)
def test_errors_of_the_user_s_code_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(["check", saved(folder), *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line for line in told.err.splitlines() if line not in ("importing", "building")]
    assert expected in lines[0]
    assert all(len(line) <= 200 for line in lines)
    assert "Traceback" not in told.err


def test_a_syntax_error_has_its_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad_of_a_user.py").write_text("x = 1\ndef (:\n")
    assert main(["check", saved(folder), "--model", "bad_of_a_user:model"]) == 2
    assert "bad_of_a_user.py:2: SyntaxError" in capsys.readouterr().err


def test_what_the_user_s_code_sets_for_the_process_is_set_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(folder)
    relative = next(path.name for path in folder.iterdir() if path.suffix in (".pt", ".pth"))
    assert main(["check", relative, "--model", "train_of_a_user:elsewhere"]) == 0, capsys.readouterr().err
    assert Path.cwd() == folder
    assert torch.is_grad_enabled()
    assert (torch.get_default_dtype(), torch.empty(1).device.type) == (torch.float32, "cpu")
    assert "bit-equal" in capsys.readouterr().out


def test_a_model_on_meta_is_compared_and_not_stepped(folder: Path) -> None:
    report = optinspect.check(saved(folder), model="train_of_a_user:on_meta")
    assert report.status == 0
    told = {line.label: line.text for line in report.footer}
    assert told["resumed"] == "not tried: `first.weight` is on the meta device, where no step is taken"
    assert optinspect.check(saved(folder), model=Block(width=5).to("meta")).status == 1


@pytest.mark.parametrize("live", [{"model": Block}, {"model": 3}, {"model": Block(), "optimizer": adamw}])
def test_what_is_no_model_and_no_optimizer_is_refused(folder: Path, live: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected a"):
        optinspect.check(saved(folder), **live)


def test_live_objects_are_copied_not_changed(folder: Path) -> None:
    path = saved(folder)
    model = Block()
    optimizer = trained(model, adamw, steps=2, seed=9)
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    gradients = [p.grad.clone() if p.grad is not None else None for p in model.parameters()]
    report = optinspect.check(path, model=model, optimizer=optimizer)
    assert codes(report) == []
    assert same(before, (optimizer.state_dict(), model.state_dict()))
    assert same(gradients, [p.grad for p in model.parameters()])
    assert optinspect.check(path, optimizer=optimizer).status == 0


def test_a_copy_has_every_attribute_and_no_scheduler_s_step(folder: Path) -> None:
    """torch's copy of an optimizer leaves attributes out; a patched `step` would step the original."""
    model = Block()
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(5, 4)).pow(2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    path = str(save(folder / "c.pt", model, optimizer))
    assert codes(optinspect.check(path, model=model, optimizer=optimizer)) == []
    optimizer = adamw(model)
    torch.optim.lr_scheduler.ConstantLR(optimizer)
    path = str(save(folder / "c.pt", model, optimizer))
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    assert codes(optinspect.check(path, model=model, optimizer=optimizer)) == ["OI908"]
    assert same(before, (optimizer.state_dict(), model.state_dict()))


class Scales(torch.optim.AdamW):
    """Loses a bit of every first moment on loading: nothing but the step shows it."""

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        for state in self.state.values():
            state["exp_avg"].mul_(1 + 2**-20)


class Drifts(torch.optim.AdamW):
    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        with torch.no_grad():
            self.param_groups[0]["params"][4].add_(1e-6)


class Raises(torch.optim.AdamW):
    def step(self, closure: Any = None) -> Any:
        raise ValueError("no step today")


class Refuses(torch.optim.AdamW):
    def load_state_dict(self, state_dict: Any) -> None:
        raise KeyError("mine")


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [
        (Scales, "OI921", "8 of 8"),
        (Drifts, "OI921", "differs from the AdamW rule"),
        (Raises, "OI920", "test_check_model.py"),
        (Refuses, "OI920", "loading raised"),
    ],
)
def test_the_step_shows_what_no_comparison_does(folder: Path, kind: Any, code: str, word: str) -> None:
    model = Block()
    report = optinspect.check(saved(folder), model=model, optimizer=kind(model.parameters(), lr=1e-3))
    assert codes(report) == [code]
    finding = next(each for each in report.findings if each.rule == code)
    assert word in finding.message
    assert finding.where.parameter == ("last.weight" if kind is Drifts else "first.weight" if kind is Scales else None)


def test_adam_that_takes_the_flag_of_an_adamw_file_is_another_kind(folder: Path) -> None:
    """torch leaks decoupled_weight_decay through load_state_dict (2.7 on): the class alone would not show it."""
    model = Block()
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.1)
    assert codes(optinspect.check(saved(folder), model=model, optimizer=optimizer)) == ["OI901"]


def test_without_a_built_in_rule_the_step_is_taken_and_said_not_to_be_compared(folder: Path) -> None:
    report = optinspect.check(
        saved(folder, lambda m: torch.optim.RMSprop(m.parameters())), model="train_of_a_user:model"
    )
    assert codes(report) == []
    assert "no step rule for RMSprop" in next(line.text for line in report.footer if line.label == "resumed")
    assert "OI921" in {each.rule for each in report.skipped}


def test_an_optimizer_of_another_model_is_an_error(folder: Path) -> None:
    """Unless it may be one over float32 copies of the weights, whose steps are written back."""
    path, other = saved(folder), adamw(Block())
    report = optinspect.check(path, model=Block(), optimizer=other)
    assert report.status == 1 and codes(report) == ["OI919"]
    assert "the model does not have parameter 0 [6, 4], parameter 1 [6] and 6 more" in report.findings[-1].message
    with pytest.raises(optinspect.errors.Mismatch, match="OI919"):
        optinspect.load(other, path, Block())
    mixed = optinspect.check(path, model=Block().bfloat16(), optimizer=other)
    assert {each.severity.value for each in mixed.findings if each.rule == "OI919"} == {"warning", "note"}
    half = [*Block().parameters()]
    half[0] = (model := Block()).first.weight
    some = optinspect.check(path, model=model, optimizer=torch.optim.AdamW(half, lr=1e-3))
    assert "error" not in {each.severity.value for each in some.findings if each.rule == "OI919"}


def test_one_wrong_width_is_one_finding_a_rule(folder: Path) -> None:
    path = saved(folder)
    report = optinspect.check(path, model=Block(width=5), optimizer="train_of_a_user:optimizer")
    assert codes(report) == ["OI905", "OI915"]
    shapes, live = report.findings[-1], dict(Block(width=5).named_parameters())
    assert "`first.weight` has shape [6, 4] in the file, [5, 4] in the model; so it is with 8 (also " in shapes.message
    held = torch.load(path, weights_only=True)["model"]
    assert [name for _, name in shapes.places] == [name for name in held if held[name].shape != live[name].shape]
    assert shapes.places[1] == ("model.first.bias", "first.bias")
    state = next(each for each in report.findings if each.rule == "OI905")
    assert [name for _, name in state.places] == [*live] and state.places[1][0] == "optimizer.state[1].exp_avg"
    few = Block()
    few.first = torch.nn.Linear(3, 6)
    assert codes(optinspect.check(path, model=few, optimizer=adamw(few))) == ["OI905", "OI915"]


class Twins(torch.nn.Module):
    def __init__(self, count: int, tied: bool) -> None:
        super().__init__()
        self.a = torch.nn.ModuleList(torch.nn.Linear(4, 4, bias=False) for _ in range(count))
        self.b = torch.nn.ModuleList(torch.nn.Linear(4, 4, bias=False) for _ in range(count))
        for a, b in zip(self.a, self.b, strict=True) if tied else ():
            b.weight = a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for each in (*self.a, *self.b):
            x = each(x)
        return x


@pytest.mark.parametrize(("count", "findings"), [(3, 3), (5, 1)])
def test_many_ties_of_one_side_are_one_finding(folder: Path, count: int, findings: int) -> None:
    model = Twins(count, tied=True)
    path = save(folder / "t.pt", model, trained(model, adamw))
    report = optinspect.check(str(path), model=Twins(count, tied=False))
    told = [each for each in report.findings if each.rule == "OI917"]
    assert len(told) == findings
    assert [name for each in told for _, name in each.places] == [f"a.{number}.weight" for number in range(count)]


def test_a_long_finding_is_told_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", saved(folder), "--model", "train_of_a_user:model", "--optimizer", "train_of_a_user:grouped"]
    assert main([*words, "--width", "0"]) == 1
    line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("OI902"))
    assert len(line) > 200 and "…" not in line and line.endswith("`middle.bias` and 3 more")


def test_groups_that_the_names_do_not_give_need_an_optimizer(folder: Path) -> None:
    model = Block()
    optimizer = trained(model, two_groups)
    path = save(folder / "c.pt", None, optimizer)
    report = optinspect.check(str(path), model="train_of_a_user:model")
    reasons = {each.rule: each.reason for each in report.skipped}
    assert "--optimizer" in reasons["OI903"]
    assert codes(optinspect.check(str(path), model="train_of_a_user:model", optimizer="train_of_a_user:grouped")) == []


def test_a_file_without_an_optimizer_names_the_cause(folder: Path) -> None:
    torch.save({"model": Block().state_dict(), "optimizer": None}, folder / "c.pt")
    report = optinspect.check(str(folder / "c.pt"), model=Block())
    assert codes(report) == []
    assert {each.reason for each in report.skipped if each.rule.startswith("OI9")} == {"OI201 names the cause"}


def test_one_fault_one_finding(folder: Path) -> None:
    """What the file alone shows is not told again by the live objects, and the warning gives way to the error."""
    model = Block()

    def drop(whole: dict[str, Any]) -> None:
        del whole["optimizer"]["state"][4]
        del whole["optimizer"]["state"][2]["exp_avg_sq"]

    path = save(folder / "c.pt", model, trained(model, adamw), drop)
    report = optinspect.check(str(path), model=Block(), optimizer=None)
    assert sorted(each.rule for each in report.findings if each.rule != "OI802") == ["OI209", "OI908"]


def test_objects_that_cannot_be_copied_are_refused(folder: Path) -> None:
    model = Block()
    model.register_buffer("odd", torch.ones(2, requires_grad=True) * 2)
    with pytest.raises(UsageError, match="cannot be copied"):
        optinspect.check(saved(folder), model=model, optimizer=adamw(model))


def test_assert_resumable_takes_live_objects(folder: Path) -> None:
    model = Block()
    path = saved(folder)
    optinspect.assert_resumable(path, model=model, optimizer=adamw(model))
    with pytest.raises(AssertionError, match="OI902"):
        optinspect.assert_resumable(path, model=model, optimizer=two_groups(model))


def test_every_rule_has_a_page_and_can_be_ignored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rule in LIVE_RULES:
        assert main(["rules", rule.code.lower()]) == 0
        page = capsys.readouterr().out
        assert rule.title in page
        assert "harmless when" in page
        assert "repair" in page
    arguments = ["--model", "train_of_a_user:grown", "--optimizer", "train_of_a_user:optimizer"]
    assert main(["check", saved(folder), *arguments, "--ignore", "OI9"]) == 0


def test_torch_is_imported_for_the_model_alone(folder: Path) -> None:
    code = "import sys, optinspect; optinspect.check('c.pt'); sys.exit('torch' in sys.modules)"
    saved(folder)
    root = str(Path(__file__).parents[1])
    assert (
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=False).returncode
        == 0
    )


CORPUS = os.environ.get("OPTINSPECT_CORPUS")


@pytest.mark.skipif(CORPUS is None, reason="OPTINSPECT_CORPUS is not set")
@pytest.mark.parametrize(
    "case", ["base_full", "base_named", "base_plain", "base_amsgrad", "base_small", "trap_int_step"]
)
def test_the_corpus_s_healthy_files_resume(case: str) -> None:
    folder = Path(CORPUS or "") / "faults" / case
    model, (optimizer,) = corpus_objects(truth_of(folder))
    report = optinspect.check(str(folder / "ckpt.pt"), model=model, optimizer=optimizer)
    assert not [each for each in report.findings if each.severity.value != "note"]
    assert "bit-equal" in next(line.text for line in report.footer if line.label == "resumed")


def test_frozen_and_tied_models_resume(folder: Path) -> None:
    model = Block()
    model.first.requires_grad_(False)
    model.last.weight = model.middle.weight
    optimizer = trained(model, adamw)
    path = str(save(folder / "c.pt", model, optimizer))
    report = optinspect.check(path, model=model, optimizer=optimizer)
    assert codes(report) == []
    assert "5 parameters bit-equal" in next(line.text for line in report.footer if line.label == "resumed")
    untied = Block()
    untied.first.requires_grad_(False)
    report = optinspect.check(path, model=untied, optimizer=adamw(untied))
    assert codes(report) == ["OI903"]
    assert "tie them before" in next(each.repair or "" for each in report.findings if each.rule == "OI903")
