"""Every rule condemns its sick sample at the right place and alone; healthy checkpoints of every optimizer pass."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import check_cases
import jsonschema
import pytest
import torch
from check_cases import SICK, Net, groups, healthy, train
from hypothesis import given
from hypothesis import strategies as st

import optinspect
import optinspect.commands.check
from optinspect import cli
from optinspect.checks import RULES
from optinspect.checks.bounds import bound
from optinspect.checksums import Passing, joined
from optinspect.commands.check_result import CODES
from optinspect.commands.rules import LABELS, PAIRS, page_of
from optinspect.commands.rules_page import FAMILIES, document
from optinspect.report import Finding, Report, Severity
from optinspect.tensors import MemoryBytes

ROOT = Path(__file__).parents[1]
SAMPLES = [path for path in sorted((ROOT / "sample_checkpoints").rglob("*.pt")) if path.stem != "cut_short"]
SCHEMA = json.loads(files("optinspect").joinpath("schema.json").read_text())
NOTES = {rule.code for rule in RULES if rule.severity is Severity.NOTE}


def loud(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]


def test_every_rule_has_a_sick_sample() -> None:
    """Those on what a policy expects (OI0xx) are silent without one, and tested with it."""
    assert set(SICK) == {rule.code for rule in RULES if not rule.code.startswith("OI0")}


@pytest.mark.parametrize("code", SICK)
def test_a_rule_condemns_its_sick_sample(code: str, tmp_path: Path) -> None:
    case = SICK[code]
    report = optinspect.check(str(case.write(tmp_path / "ckpt.pt")))
    found = [finding for finding in report.findings if finding.rule == code]
    assert found, report.findings
    assert any(case.place in (finding.where.route or "") for finding in found), found
    if case.parameter is not None:
        assert any(finding.where.parameter == case.parameter for finding in found), found
    others = {finding.rule for finding in loud(report)} - {code} - case.also
    assert not others, [finding for finding in report.findings if finding.rule in others]


@pytest.mark.parametrize("code", SICK)
def test_a_fault_is_one_finding(code: str, tmp_path: Path) -> None:
    report = optinspect.check(str(SICK[code].write(tmp_path / "ckpt.pt")), select=[code])
    assert 1 <= len(report.findings) <= 3


def test_the_healthy_twin_passes(tmp_path: Path) -> None:
    torch.save(healthy(), tmp_path / "ckpt.pt")
    report = optinspect.check(str(tmp_path / "ckpt.pt"))
    assert report.findings == () and report.status == 0
    assert report.summary["resumable"] is True
    assert report.summary["rules_run"] + report.summary["rules_skipped"] == len(CODES)


OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "Adam": (torch.optim.Adam, {"weight_decay": 0.01}),
    "AdamW amsgrad": (torch.optim.AdamW, {"amsgrad": True}),
    "AdamW betas": (torch.optim.AdamW, {"betas": (0.95, 0.9)}),
    "AdamW beta1 0": (torch.optim.AdamW, {"betas": (0.0, 0.99)}),
    "AdamW foreach": (torch.optim.AdamW, {"foreach": True}),
    "AdamW fused": (torch.optim.AdamW, {"fused": True}),
    "NAdam": (torch.optim.NAdam, {}),
    "RAdam": (torch.optim.RAdam, {}),
    "Adamax": (torch.optim.Adamax, {}),
    "Adagrad": (torch.optim.Adagrad, {}),
    "Adadelta": (torch.optim.Adadelta, {}),
    "Adafactor": (torch.optim.Adafactor, {}),
    "ASGD": (torch.optim.ASGD, {}),
    "RMSprop": (torch.optim.RMSprop, {"momentum": 0.9, "centered": True}),
    "Rprop": (torch.optim.Rprop, {}),
    "SGD": (torch.optim.SGD, {"lr": 0.01}),
    "SGD momentum": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 1, 40])
def test_healthy_optimizers_pass(name: str, steps: int, tmp_path: Path) -> None:
    kind, options = OPTIMIZERS[name]
    torch.manual_seed(5)
    net = Net()
    split = groups(net) if name != "Rprop" else net.parameters()
    optimizer = kind(split, **options)
    train(optimizer, net, steps=steps)
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": steps}, tmp_path / "c.pt")
    report = optinspect.check(str(tmp_path / "c.pt"))
    assert not loud(report), report.findings


SCHEDULERS: dict[str, Any] = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [5, 9], 0.1),
    "ExponentialLR": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "LinearLR": lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 10),
    "CosineAnnealingLR": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 15, 1e-5),
    "CosineAnnealingWarmRestarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=60),
    "CyclicLR": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 1e-4, 1e-2, 5, cycle_momentum=False),
    "PolynomialLR": lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 30),
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, [lambda e: 1 / (1 + e)] * 2),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 17, 30])
def test_healthy_schedules_pass(name: str, steps: int, tmp_path: Path) -> None:
    torch.manual_seed(5)
    net = Net()
    optimizer = torch.optim.AdamW(groups(net), lr=1e-2)
    scheduler = SCHEDULERS[name](optimizer)
    train(optimizer, net, scheduler, steps)
    held = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(held | {"step": steps}, tmp_path / "c.pt")
    assert not loud(optinspect.check(str(tmp_path / "c.pt")))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_healthy_dtypes_pass(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(5)
    net = Net().to(dtype)
    optimizer = torch.optim.AdamW(groups(net), lr=1e-2)
    generator = torch.Generator().manual_seed(7)
    for _ in range(60):
        optimizer.zero_grad()
        net(torch.randn(16, 6, generator=generator).to(dtype)).square().mean().backward()
        optimizer.step()
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 60}, tmp_path / "c.pt")
    assert not loud(optinspect.check(str(tmp_path / "c.pt")))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_that_come_along_pass(path: Path) -> None:
    report = optinspect.check(str(path))
    assert not [each for each in report.findings if each.severity is Severity.ERROR and each.rule != "OI201"]


@given(st.floats(0, 0.999), st.floats(0.5, 0.9999), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_no_gradients_break_the_bound(beta1: float, beta2: float, steps: int, seed: int) -> None:
    """m² ≤ C(t)·v in float64 for random gradients of random size; the best gradients reach it."""
    generator = torch.Generator().manual_seed(seed)
    m = v = torch.zeros(64, dtype=torch.float64)
    for _ in range(steps):
        g = torch.randn(64, generator=generator, dtype=torch.float64) * 10 ** torch.randn(64, generator=generator)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    assert bool((m * m <= bound(beta1, beta2, steps) * v * (1 + 1e-9)).all())


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.9, 0.95), (0.9, 0.81), (0.95, 0.9)])
def test_the_bound_is_reached(beta1: float, beta2: float) -> None:
    """Equality for g_i ∝ (β1/β2)^(t−i): no smaller bound would do."""
    steps, m, v = 30, 0.0, 0.0
    for i in range(1, steps + 1):
        g = (beta1 / beta2) ** (steps - i)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    assert m * m == pytest.approx(bound(beta1, beta2, steps) * v, rel=1e-12)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_sums_join(a: bytes, b: bytes) -> None:
    assert joined(zlib.crc32(a), zlib.crc32(b), len(b)) == zlib.crc32(a + b)


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(1, 20_000)), max_size=12), st.integers(0, 2**16))
def test_sums_of_pieces_in_any_order_are_the_sum_of_the_whole(pieces: list[tuple[int, int]], seed: int) -> None:
    data = bytes((i * 2654435761 + seed) >> 7 & 255 for i in range(1000)) * 100
    passing = Passing()
    for offset, length in pieces:
        part = data[offset : offset + length]
        passing(offset, memoryview(part))
    assert passing.crc32(MemoryBytes(data[5_000:80_000]), 5_000, 75_000) == zlib.crc32(data[5_000:80_000])


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """Of the bytes of records: torch.load would take them."""
    whole = tmp_path / "whole.pt"
    torch.save(healthy(), whole)
    data = whole.read_bytes()
    tensor = healthy()["model"]["second.weight"].numpy().tobytes()
    where = data.index(tensor)
    for place in range(where, where + len(tensor), 13):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path = tmp_path / "damaged.pt"
        path.write_bytes(damaged)
        assert [each.rule for each in optinspect.check(str(path)).findings] == ["OI104"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(list(words))
    return status, *capsys.readouterr()


@pytest.fixture
def warned(tmp_path: Path) -> str:
    """A file with one warning."""
    return str(SICK["OI507"].write(tmp_path / "ckpt.pt"))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 0),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "note"], 1),
        (["--fail-on", "never"], 0),
        (["--fail-on", "warning", "--exit-zero"], 0),
        (["--fail-on", "warning", "--ignore", "OI507"], 0),
        (["--fail-on", "warning", "--ignore", "oi5"], 0),
        (["--fail-on", "warning", "--select", "OI1,OI2"], 0),
        (["--fail-on", "warning", "--select", "OI507"], 1),
        (["--fail-on", "sometimes"], 2),
        (["--select", "OI999"], 2),
        (["-f", "csv"], 2),
        (["-f", "csv", "--table", "rules"], 0),
    ],
    ids=str,
)
def test_exit_statuses(words: list[str], status: int, warned: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", warned, *words)[0] == status


def test_ignored_findings_are_counted(warned: str) -> None:
    report = optinspect.check(warned, ignore=["OI507"])
    assert report.summary["ignored"] == 1 and report.findings == ()


def test_what_is_no_checkpoint_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.pt"
    path.write_text("<!DOCTYPE html><html></html>")
    status, out, err = run(capsys, "check", str(path), "--json")
    assert status == 2 and json.loads(out)["error"]["kind"] == "NotACheckpoint" and "HTML" in err


def test_several_paths_are_told_apart(warned: str, tmp_path: Path) -> None:
    torch.save(healthy(), tmp_path / "fine.pt")
    report = optinspect.check(str(tmp_path / "fine.pt"), warned)
    assert [finding.where.input for finding in report.findings] == [warned]
    assert len(report.inputs) == 2


@pytest.mark.parametrize("code", ["OI101", "OI304", "OI405", "OI507"])
def test_json_is_as_the_schema_says(code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SICK[code].write(tmp_path / "ckpt.pt"))
    found = json.loads(run(capsys, "check", path, "--json")[1])
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert list(found["summary"]) == SCHEMA["$defs"]["check_summary"]["required"]
    assert all(list(row) == SCHEMA["$defs"]["check_rules"]["required"] for row in found["tables"]["rules"])
    assert len(found["tables"]["rules"]) == len(CODES)


def test_annotations_are_github_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = SICK["OI304"].write(tmp_path / "a,b:100%.pt")
    lines = run(capsys, "check", str(path), "-f", "github")[1].splitlines()
    assert re.fullmatch(r"::error file=[^,]*a%2Cb%3A100%25\.pt,title=OI304 [^,:]*::optimizer\.state\[0\].*", lines[0])
    assert not lines[1].startswith("::")


def test_annotations_are_for_checks_only(warned: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "show", warned, "-f", "github")
    assert status == 2 and "not for `show`" in err


def test_names_from_a_file_cannot_write_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c = healthy()
    c["model"]["x\n::error ::injected"] = torch.full((4, 4), torch.nan)
    torch.save(c, tmp_path / "c.pt")
    out = run(capsys, "check", str(tmp_path / "c.pt"), "-f", "github")[1]
    assert not any(line.startswith("::error ::injected") for line in out.splitlines())


def test_quiet_says_nothing(warned: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", warned, "-q") == (0, "", "")


def test_statistics_list_every_rule(warned: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "check", warned, "--statistics")[1]
    assert all(rule.code in out for rule in RULES)
    assert "OI304" not in run(capsys, "check", warned)[1]


def test_check_leaves_torch_alone(warned: str) -> None:
    code = (
        "import sys; from optinspect.cli import main; status = main(['check', sys.argv[1], '-q'])\n"
        "assert status == 0 and 'torch' not in sys.modules, status"
    )
    subprocess.run([sys.executable, "-c", code, warned], check=True, cwd=ROOT)


def test_codes_are_unique_and_causes_come_first() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    for place, rule in enumerate(RULES):
        assert re.fullmatch(r"OI[0-57-8]\d\d", rule.code)
        assert set(rule.requires) <= set(codes[:place]), rule.code


@pytest.mark.parametrize("rule", [*RULES, *PAIRS], ids=lambda rule: rule.code)
def test_every_rule_has_a_manual_page(rule: Any, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [label for label in LABELS if re.search(rf"^{label}: ", page_of(rule), re.MULTILINE)]
    assert labels[-3:] == ["Harmless when", "Repair", "Seen"] and len(labels) == 4
    status, out, _ = run(capsys, "rules", rule.code.lower())
    assert status == 0 and rule.title in out


def test_rules_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "rules", "--json")[1])
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert [row["rule"] for row in found["tables"]["rules"]] == sorted(CODES)
    assert run(capsys, "rules", "OI000")[0] == 2


def test_the_document_is_written_from_the_docstrings() -> None:
    path = ROOT / "docs" / "rules.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(document(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == document()
    assert all(any(rule.code.startswith(prefix) for prefix, _ in FAMILIES) for rule in RULES)


def test_a_second_optimizer_keeps_its_own_findings(tmp_path: Path) -> None:
    c, other = healthy(), healthy()
    check_cases.slot("exp_avg", check_cases.first(torch.nan))(other)
    both = {"generator": c["model"], "discriminator": other["model"]}
    both |= {"optimizer_g": c["optimizer"], "optimizer_d": other["optimizer"]}
    torch.save(both, tmp_path / "gan.pt")
    found = loud(optinspect.check(str(tmp_path / "gan.pt")))
    assert [(each.rule, each.where.route) for each in found] == [("OI301", "optimizer_d.state[0].exp_avg")]


def test_a_changed_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    torch.save(healthy(), path)
    real = optinspect.commands.check.gather  # type: ignore[attr-defined]

    def gather(*given: Any) -> Any:
        facts = real(*given)
        buffer = io.BytesIO()
        torch.save(healthy(), buffer)
        path.write_bytes(buffer.getvalue() + b" ")
        return facts

    monkeypatch.setattr("optinspect.commands.check.gather", gather)
    with pytest.raises(optinspect.errors.FileChanged):  # type: ignore[attr-defined]
        optinspect.check(str(path))
