"""optinspect.yaml: every word that is not understood is an error at its place; what is understood decides the check."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from check_cases import SICK, Net, first, groups, healthy, slot, train
from hypothesis import given
from hypothesis import strategies as st

import optinspect
from optinspect import cli
from optinspect.checks.thresholds import LIMITS
from optinspect.errors import OptinspectError
from optinspect.policy.reader import read_policy
from optinspect.policy.search import found_upward
from optinspect.report import Finding, Report

ROOT = Path(__file__).parents[1]


def said(text: str) -> str:
    """The error that a policy gives."""
    with pytest.raises(OptinspectError) as caught:
        read_policy(text, "optinspect.yaml")
    assert caught.value.status == 2 and len(caught.value.message) <= 200 and "\n" not in caught.value.message
    return caught.value.message


WRONG = {
    "unknown key": ("fail_on: note\nselct: [OI1]\n", "2:1", "unknown key 'selct' (select expected)"),
    "unknown key inside": ("expect:\n  lr: 1\n  group: 2\n", "3:3", "unknown key 'group' of expect (groups expected)"),
    "unknown key, far": ("zzz: 1\n", "1:1", "one of select, ignore, severity"),
    "twice": ("fail_on: note\nselect: OI1\nfail_on: error\n", "3:1", "'fail_on' stands in line 1 already"),
    "twice inside": ("severity: {OI1: note, OI1: error}\n", "1:23", "'OI1' stands in line 1 already"),
    "no mapping": ("- OI1\n", "1:1", "the policy is a list (a mapping expected)"),
    "text at the top": ("OI304\n", "1:1", "is 'OI304' (a mapping expected)"),
    "wrong type": ("expect:\n  groups: two\n", "2:11", "expect.groups is 'two' (a whole number from 0 on expected)"),
    "number in quotes": ('expect: {min_step: "5"}\n', "1:20", "a whole number from 0 on expected"),
    "part of a step": ("expect: {min_step: 1.5}\n", "1:20", "'1.5' (a whole number from 0 on expected)"),
    "a class of other case": ("expect: {family: Adamw}\n", "1:18", "(AdamW expected)"),
    "octal or not": ("expect: {min_step: 010}\n", "1:20", "'010'"),
    "not finite": ("expect: {lr: .inf}\n", "1:14", "'.inf'"),
    "too large to be finite": ("expect: {lr: 1e999}\n", "1:14", "'1e999'"),
    "negative": ("expect: {lr: -0.1}\n", "1:14", "'-0.1' (a number from 0 on expected)"),
    "half a group": ("expect: {groups: 1.5}\n", "1:18", "'1.5'"),
    "empty value": ("select:\nfail_on: error\n", "1:8", "select is empty"),
    "null": ("fail_on: ~\n", "1:10", "fail_on is '~'"),
    "empty list": ("select: []\n", "1:9", "select is a list (a list of one or more expected)"),
    "list for one": ("fail_on: [error]\n", "1:10", "fail_on is a list"),
    "level": ("fail_on: eror\n", "1:10", "fail_on is 'eror' (error expected)"),
    "rule": ("select: [OI1, OI999]\n", "1:15", "select[1] is 'OI999': no rule has such a code"),
    "severity of no rule": ("severity: {XX1: note}\n", "1:12", "no rule has such a code"),
    "severity": ("severity: {OI1: fatal}\n", "1:17", "severity.OI1 is 'fatal' (one of error, warning, note expected)"),
    "no reason": ("ignore:\n  - rule: OI802\n", "2:5", "ignore[0] has no reason"),
    "empty reason": ("ignore:\n  - rule: OI802\n    reason: ' '\n", "3:13", "ignore[0].reason is"),
    "no rule": ("ignore: [{reason: r}]\n", "1:10", "ignore[0] has no rule"),
    "ignore by code": ("ignore: [OI802]\n", "1:10", "ignore[0] is 'OI802' (a mapping with rule and reason expected)"),
    "names on pairs": (
        "ignore: [{rule: OI601, reason: r, names: a}]\n",
        "1:10",
        "OI601 is not about single parameters",
    ),
    "bad glob": ("expect: {weight_decay: {'h.[0-9.weight': 0}}\n", "1:25", "[ is never closed"),
    "bad glob in ignore": ("ignore: [{rule: OI1, reason: r, names: ['[']}]\n", "1:41", "[ is never closed"),
    "turned range": ("expect: {lr: [1e-3, 1e-5]}\n", "1:14", "is [0.001, 1e-05]: nothing lies between"),
    "three ends": ("expect: {lr: [1, 2, 3]}\n", "1:14", "has 3 numbers ([low, high] expected)"),
    "words in a range": ("expect: {lr: [a, b]}\n", "1:15", "expect.lr[0] is 'a'"),
    "family": ("expect: {family: AdmaW}\n", "1:18", "no optimizer that is known (AdamW expected)"),
    "dtype": ("expect: {moments: float31}\n", "1:19", "no dtype of torch (float32 expected)"),
    "companion": ("expect: {companions: [sched]}\n", "1:23", "expect.companions[0] is 'sched' (scheduler expected)"),
    "no ranges": ("expect: {weight_decay: {}}\n", "1:24", "expect.weight_decay is a mapping"),
    "threshold": ("thresholds: {lr_tolerence: 1}\n", "1:14", "unknown key 'lr_tolerence' of thresholds (lr_tolerance"),
    "threshold out of range": ("thresholds: {skipped_steps: 2}\n", "1:29", "'2' (a number from 0 to 1 expected)"),
    "layout": ("layout: {modell: a}\n", "1:10", "unknown key 'modell' of layout (model expected)"),
    "layout of lists": ("layout: {model: [a]}\n", "1:17", "layout.model is a list (a text expected)"),
    "names twice": ("names: [a, b, a]\n", "1:15", "names[2] is 'a', as in line 1 already"),
    "names of a number of kinds": ("names: [[a], b]\n", "1:14", "names[1] is 'b' (a list expected)"),
    "no such file of names": ("names: nowhere.txt\n", "1:8", "no such file"),
    "merge key": ("<<: {select: OI1}\n", "1:1", "unknown key '<<'"),
    "tag": ("fail_on: !!python/name:os.system error\n", "1:10", "is not read"),
    "tag of a mapping": ("expect: !!python/object:x.Y {lr: 1}\n", "1:9", "is not read"),
    "alias": ("select: &x [OI1]\nignore: *x\n", "2:9", "an alias (write the value out)"),
    "list as a key": ("? [a]\n: 1\n", "1:3", "a key is a list"),
    "no YAML": ("select: [OI1\nfail_on: error\n", "2:8", "expected"),
    "tab": ("expect:\n\tlr: 1\n", "2:1", "cannot start any token"),
    "two documents": ("fail_on: note\n---\nfail_on: error\n", "2:1", "single document"),
    "control character": ("fail_on: note\nselect: '\x07'\n", "2:10", "U+0007"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_line_and_column(case: str) -> None:
    text, place, words = WRONG[case]
    message = said(text)
    assert message.startswith(f"optinspect.yaml:{place}: ") and words in message, message


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (BOMB.encode(), "an alias"),
        (b"[" * 5000, "nested deeper than 16 levels"),
        (b"a: " * 5000, "mapping values"),
        (b"select: [" + b"OI1," * 100_000 + b"]", "larger than 256 KiB"),
        (b"fail_on: note\nselect: \xff\n", ":2:9: not UTF-8"),
        ("fail_on: note\n".encode("utf-16"), ":1:1: not UTF-8"),
        (b"\x00" * 64, "U+0000"),
        (b"PK\x03\x04" + b"\x00" * 64, ":1:3: "),
    ],
    ids=["bomb", "depth", "colons", "size", "latin-1", "utf-16", "zeros", "a checkpoint"],
)
def test_files_that_are_no_policy(data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(data)
    assert cli.main(["check", str(ROOT / "sample_checkpoints/bigram.pt"), "--config", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err.splitlines()[0] and len(err.splitlines()) == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufefffail_on: error\n"])
def test_a_policy_may_say_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    report = optinspect.check(str(ROOT / "sample_checkpoints/bigram.pt"), config=str(path))
    assert report.status == 0 and report.summary["policy"] == {"path": str(path), "accepted": []}


@pytest.mark.parametrize("what", ["a directory", "nothing", "a pipe"])
def test_what_is_no_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    if what == "a directory":
        path.mkdir()
    elif what == "a pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes in this file system")
        os.mkfifo(path)
    with pytest.raises(OptinspectError, match=r"p\.yaml: "):
        optinspect.check("ckpt.pt", config=str(path))


WHOLE = max(re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/policy.md").read_text("utf-8"), re.M | re.S), key=len)
PIECES = st.sampled_from(
    ["{", "}", "[", "]", ": ", "- ", "\n", "  ", "'", '"', "&a ", "*a", "!!x ", "? ", "|", ">", "#", "\t"]
)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 9), PIECES | st.text(max_size=3)), max_size=4))
def test_law_a_policy_is_read_or_refused_in_one_line(edits: list[tuple[int, int, str]]) -> None:
    text = WHOLE
    for place, length, piece in edits:
        text = text[:place] + piece + text[place + length :]
    try:
        read_policy(text, "optinspect.yaml")
    except OptinspectError as problem:
        assert re.match(r"optinspect\.yaml:\d+:\d+: ", problem.message), problem.message
        line, column = map(int, problem.message.split(":")[1:3])
        assert 1 <= line <= text.count("\n") + 2 and column >= 1
        assert len(problem.message) <= 200 and "\n" not in problem.message


@given(st.binary(max_size=200))
def test_law_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    with contextlib.suppress(OptinspectError):
        read_policy(text, "p")


def test_names_of_anything(tmp_path: Path) -> None:
    """What YAML would take for a number or a boolean is a name all the same."""
    (told,) = read_policy("names: [0, on, 1.5, 'no', a.b]\n", "p").terms.told
    assert told.groups == (("0", "on", "1.5", "no", "a.b"),) and told.flat


# Which policy


def test_the_first_upward_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "repo" / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    (tmp_path / "optinspect.yaml").touch()
    assert found_upward() == str(Path("..", "..", "..", "optinspect.yaml"))
    (tmp_path / "repo" / ".git").mkdir()
    assert found_upward() is None  # what lies above a repository is not its policy
    (tmp_path / "repo" / "optinspect.yml").touch()
    assert found_upward() == str(Path("..", "..", "optinspect.yml"))
    (tmp_path / "repo" / "optinspect.yaml").touch()
    assert found_upward() == str(Path("..", "..", "optinspect.yaml"))
    (inner / "optinspect.yaml").mkdir()  # a directory is none
    assert found_upward() == str(Path("..", "..", "optinspect.yaml"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = cli.main(["check", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_the_command_line_against_the_policy(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--select and --fail-on replace, --ignore adds."""
    path = str(SICK["OI507"].write(here / "ckpt.pt"))
    (here / "optinspect.yaml").write_text("select: OI3\nfail_on: warning\n")
    status, found = asked(capsys, path)
    assert (status, found["findings"], found["summary"]["ignored"]) == (0, [], 1)
    assert found["summary"]["policy"] == {"path": "optinspect.yaml", "accepted": []}
    assert asked(capsys, path, "--select", "OI5")[0] == 1
    assert asked(capsys, path, "--select", "OI5", "--fail-on", "error")[0] == 0
    assert asked(capsys, path, "--select", "OI5", "--ignore", "OI507")[0] == 0
    assert asked(capsys, path, "--no-config")[1]["summary"]["policy"] is None
    (here / "other.yaml").write_text("ignore: [{rule: OI507, reason: CPU}]\nfail_on: note\n")
    status, found = asked(capsys, path, "--config", "other.yaml", "--ignore", "OI3")
    assert status == 0 and found["summary"]["ignored"] == 1
    accepted = [{"rule": "OI507", "reason": "CPU", "findings": 1}]
    assert found["summary"]["policy"] == {"path": "other.yaml", "accepted": accepted}
    assert cli.main(["check", path, "--config", "other.yaml", "--no-config"]) == 2


def test_a_policy_that_is_found_is_not_passed_over_when_it_is_wrong(here: Path) -> None:
    (here / "optinspect.yaml").write_text("selct: OI3\n")
    assert cli.main(["check", str(ROOT / "sample_checkpoints/bigram.pt")]) == 2


def test_people_are_told_which_policy_and_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SICK["OI507"].write(here / "ckpt.pt"))
    (here / "optinspect.yaml").write_text("ignore: [{rule: OI5, reason: ours reads it}]\n")
    assert cli.main(["check", path]) == 0
    out = capsys.readouterr().out
    assert "optinspect.yaml: 1 finding accepted (OI507: ours reads it)" in out and "1 ignored" in out


# What it says, obeyed


def check(tmp_path: Path, checkpoint: Any, text: str) -> Report:
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    torch.save(checkpoint, tmp_path / "ckpt.pt")
    return optinspect.check(str(tmp_path / "ckpt.pt"), config=str(tmp_path / "p.yaml"))


def codes(report: Report) -> list[str]:
    return [each.rule for each in report.findings]


def nans(*indices: int) -> dict[str, Any]:
    c = healthy()
    for index in indices:
        slot("exp_avg", first(torch.nan), index)(c)
    return c


IGNORED = "ignore: [{{rule: OI301, reason: known, names: {}}}]\n"


def test_findings_are_ignored_by_the_names_of_their_parameters(tmp_path: Path) -> None:
    """Index 0 is first.weight, 1 second.weight (the group of matrices)."""
    report = check(tmp_path, nans(0, 1), IGNORED.format("'first.*'"))
    assert [each.where.parameter for each in report.findings] == ["second.weight"]
    assert report.status == 1 and report.summary["ignored"] == 1
    report = check(tmp_path, nans(0, 1), IGNORED.format("['*.weight']"))
    assert report.findings == () and report.summary["ignored"] == 2 and report.status == 0
    assert report.summary["policy"]["accepted"] == [{"rule": "OI301", "reason": "known", "findings": 2}]
    report = check(tmp_path, nans(0, 1), IGNORED.format("nothing"))
    assert len(report.findings) == 2 and report.summary["ignored"] == 0


def test_a_finding_on_many_is_split(tmp_path: Path) -> None:
    """Of six parameters in one finding two are accepted: the finding goes on to tell of four."""
    report = check(tmp_path, nans(*range(6)), IGNORED.format("'first.*'"))
    (left,) = report.findings
    assert "in 4 of 6 parameters" in left.message and "first" not in left.message + str(left.where.parameter)
    assert report.summary["ignored"] == 2


def test_what_is_ignored_still_explains_its_consequences(tmp_path: Path) -> None:
    """NaN in a moment silences the rules on sizes of moments, whether it counts or not."""
    whole = check(tmp_path, nans(0), "fail_on: never\n")
    report = check(tmp_path, nans(0), IGNORED.format("'*'"))
    assert codes(whole) == ["OI301"] and report.findings == ()


@pytest.mark.parametrize("code", SICK)
def test_law_what_is_accepted_hides_nothing_else(code: str, tmp_path: Path) -> None:
    """Of every sick sample: the accepted finding is counted, whatever its form, and no other appears in its place."""
    path = str(SICK[code].write(tmp_path / "ckpt.pt"))
    plain = optinspect.check(path)
    for names in ("'*'", "'first.*'"):
        (tmp_path / "p.yaml").write_text(f"ignore: [{{rule: {code}, reason: known, names: {names}}}]\n")
        report = optinspect.check(path, config=str(tmp_path / "p.yaml"))
        assert {each.rule for each in report.findings} <= {each.rule for each in plain.findings}
        assert code in codes(report) or report.summary["ignored"]
        others = [each for each in report.findings if each.rule != code]
        assert others == [each for each in plain.findings if each.rule != code]


def test_findings_on_groups_are_ignored_where_all_their_members_are(tmp_path: Path) -> None:
    c = healthy()
    c["optimizer"]["param_groups"][1]["weight_decay"] = 0.1
    assert codes(check(tmp_path, c, "")) == ["OI802"]
    text = "ignore: [{{rule: OI802, reason: small, names: {}}}]\n"
    assert codes(check(tmp_path, c, text.format("'*.bias'"))) == ["OI802"]  # norm.weight is left
    assert codes(check(tmp_path, c, text.format("['*.bias', norm.weight]"))) == []


def test_severities_are_moved(tmp_path: Path) -> None:
    report = check(tmp_path, nans(0), "severity: {OI3: note, OI301: warning}\n")
    assert [each.severity.value for each in report.findings] == ["warning"]  # the longest beginning decides
    assert report.status == 0 and report.summary["resumable"] is True
    report = check(tmp_path, nans(0), "severity: {OI3: note}\nfail_on: note\n")
    assert report.summary["notes"] == 1 and report.status == 1


def moved(edit: Any) -> dict[str, Any]:
    c = healthy()
    edit(c)
    return c


def off_by(c: dict[str, Any], factor: float) -> None:
    for group in c["optimizer"]["param_groups"]:
        group["lr"] *= factor


def off_its_course(c: dict[str, Any]) -> None:
    off_by(c, 1.01)
    c["scheduler"]["_last_lr"] = [group["lr"] for group in c["optimizer"]["param_groups"]]


def spike(name: str) -> Any:
    def edit(c: dict[str, Any]) -> None:
        target = c["model"] if name == "weight" else c["optimizer"]["state"][0]
        key = "first.weight" if name == "weight" else "exp_avg_sq"
        target[key] = first(1e9 if name == "weight" else 1e5)(target[key])

    return edit


def all_skipped(c: dict[str, Any]) -> None:
    c["step"] = c["scheduler"]["last_epoch"] = 27
    c["scheduler"]["_step_count"] = 28


def bf16() -> dict[str, Any]:
    torch.manual_seed(3)
    net = Net()
    optimizer = torch.optim.AdamW(groups(net), lr=1e-6)
    train(optimizer, net)
    return {"model": net.bfloat16().state_dict(), "optimizer": optimizer.state_dict(), "step": 20}


THRESHOLDS: dict[str, tuple[Any, str, float]] = {
    "lr_tolerance": (lambda: moved(lambda c: off_by(c, 1.0001)), "OI701", 1e-3),
    "schedule_tolerance": (lambda: moved(off_its_course), "OI702", 0.1),
    "step_slack": (lambda: moved(lambda c: c.update(step=24)), "OI405", 4),
    "skipped_steps": (lambda: moved(all_skipped), "OI405", 0.3),
    "collapsed_scale": (lambda: moved(lambda c: c["scaler"].update(scale=2.0**-16)), "OI711", 1e-9),
    "outlier_gap": (lambda: moved(spike("weight")), "OI316", 60),
    "outlier_weight": (lambda: moved(spike("weight")), "OI316", 1e10),
    "outlier_state": (lambda: moved(spike("state")), "OI316", 1e6),
    "inert_updates": (bf16, "OI318", 1),
}


def test_every_threshold_is_tried() -> None:
    assert set(THRESHOLDS) == {each.name for each in LIMITS}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_moves_its_rule(name: str, tmp_path: Path) -> None:
    make, code, value = THRESHOLDS[name]
    assert code in codes(check(tmp_path, make(), ""))
    report = check(tmp_path, make(), f"thresholds: {{{name}: {value}}}\n")
    loud = [each for each in report.findings if each.rule == code and each.severity.value != "note"]
    assert code not in codes(report) or (code == "OI405" and not loud)
    assert code in dict(LIMITS[[each.name for each in LIMITS].index(name)].metadata)["about"]


def hidden() -> dict[str, Any]:
    """A checkpoint whose two models and optimizers are told apart by the user alone."""
    return {"first": healthy()["model"], "second": healthy()["model"], "optimizer": healthy()["optimizer"]}


def test_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptinspectError, match="no optimizer at 'opt'"):
        check(tmp_path, hidden(), "layout: {model: second, optimizer: opt}\n")
    report = check(tmp_path, hidden(), "layout: {model: second, optimizer: optimizer}\n")
    assert report.status == 0
    path = str(tmp_path / "ckpt.pt")  # the command line goes before it
    assert cli.main(["check", path, "--config", str(tmp_path / "p.yaml"), "--optimizer-key", "nowhere"]) == 2
    assert "'nowhere'" in capsys.readouterr().err


# What is expected


def expect(tmp_path: Path, text: str, checkpoint: Any = None) -> list[Finding]:
    report = check(tmp_path, checkpoint or healthy(), f"expect: {text}\n")
    assert not [each for each in report.findings if not each.rule.startswith("OI0")]
    return list(report.findings)


HELD = {
    "family": ("{family: AdamW}", "{family: [SGD, Lion]}", "OI001", "AdamW (SGD or Lion expected)"),
    "groups": ("{groups: 2}", "{groups: 3}", "OI002", "2 groups (3 expected)"),
    "lr": ("{lr: [1e-5, 1e-2]}", "{lr: [1e-5, 1e-3]}", "OI003", "(in groups 0, 1)"),
    "lr by names": ("{lr: {'*': [0, 1]}}", "{lr: {'second.*': 1, 'norm.*': [0, 1]}}", "OI003", "(1 expected of"),
    "decay": ("{weight_decay: [0, 0.1]}", "{weight_decay: 0.1}", "OI004", "weight_decay is 0 (0.1 expected)"),
    "decay by names": (
        "{weight_decay: {'*.bias': 0, norm.weight: 0, '*': 0.1}}",
        "{weight_decay: {'*.bias': 0, '*': 0.1}}",
        "OI004",
        "weight_decay is 0 (0.1 expected of '*')",
    ),
    "step": ("{min_step: 20}", "{min_step: 21}", "OI005", "step 20 (at least 21 expected)"),
    "moments": ("{moments: float32}", "{moments: [bfloat16, float64]}", "OI006", "exp_avg is float32 (bfloat16 or"),
    "moments by slots": (
        "{moments: {exp_avg: float32, exp_avg_sq: [float32]}}",
        "{moments: {'*_sq': bfloat16}}",
        "OI006",
        "exp_avg_sq is float32 (bfloat16 expected)",
    ),
    "companions": ("{companions: [scheduler, scaler, rng]}", "{companions: ema}", "OI007", "no ema in the file"),
    "route": ("{optimizer: optimizer, groups: 2}", "{optimizer: opt}", "OI001", "no optimizer at 'opt' (found: 'opt"),
    "two blocks": ("[{groups: 2}, {lr: [0, 1]}]", "[{groups: 2}, {lr: 1}]", "OI003", "(1 expected)"),
}


@pytest.mark.parametrize("case", HELD)
def test_an_expectation_is_met_or_not(case: str, tmp_path: Path) -> None:
    right, wrong, code, words = HELD[case]
    assert expect(tmp_path, right) == []
    found = expect(tmp_path, wrong)
    assert {each.rule for each in found} == {code} and words in found[0].message, found
    assert all(each.severity.value == "error" for each in found)


def test_without_a_policy_they_are_skipped() -> None:
    report = optinspect.check(str(ROOT / "sample_checkpoints/bigram.pt"))
    reasons = {each.reason for each in report.skipped if each.rule.startswith("OI0")}
    assert reasons == {"no policy expects anything here"}


def test_a_glob_that_fits_nothing_is_told(tmp_path: Path) -> None:
    (found,) = expect(tmp_path, "{weight_decay: {'*.biass': 0, '*': [0, 1]}}")
    assert found.severity.value == "warning" and "no parameter is called '*.biass'" in found.message


def test_a_slot_that_there_is_not_is_told(tmp_path: Path) -> None:
    (found,) = expect(tmp_path, "{moments: {exp_avg: float32, exp_avg_sqr: float32}}")
    assert found.severity.value == "warning"
    assert "no slot of the state is called 'exp_avg_sqr' (there are 'exp_avg', 'exp_avg_sq')" in found.message


def test_the_cause_is_told_once(tmp_path: Path) -> None:
    """An lr that is NaN is OI501's: that it is not in the range goes without saying."""
    c = moved(lambda c: c["optimizer"]["param_groups"][0].update(lr=float("nan")))
    assert codes(check(tmp_path, c, "expect: {lr: [0, 1]}\n")) == ["OI501"]


def test_parameters_without_names_are_not_judged_by_names(tmp_path: Path) -> None:
    held = {"optimizer": healthy()["optimizer"], "step": 20}
    report = check(tmp_path, held, "expect: {weight_decay: {'*': 0.5, 'a': 1}}\n")
    assert "OI004" not in codes(report)
    assert {each.rule: each.reason for each in report.skipped}["OI004"] == "no parameter has a name to go by"
    assert "OI004" in codes(check(tmp_path, held, "expect: {weight_decay: 0.5}\n"))


def gan() -> dict[str, Any]:
    c, other = healthy(), healthy()
    for group in other["optimizer"]["param_groups"]:
        group["weight_decay"] = 0.3
    both = {"generator": c["model"], "discriminator": other["model"]}
    return both | {"optimizer_g": c["optimizer"], "optimizer_d": other["optimizer"]}


def test_each_optimizer_has_its_own(tmp_path: Path) -> None:
    both = "expect: [{{optimizer: optimizer_g, weight_decay: {}}}, {{optimizer: optimizer_d, weight_decay: {}}}]\n"
    assert "OI004" not in codes(check(tmp_path, gan(), both.format("[0, 0.1]", 0.3)))
    report = check(tmp_path, gan(), both.format("[0, 0.1]", 0.1))
    assert [each.where.route for each in report.findings if each.rule == "OI004"] == [
        "optimizer_d.param_groups[0].weight_decay"
    ]


# Names


MATRICES, VECTORS = ["first.weight", "second.weight"], ["first.bias", "norm.weight", "norm.bias", "second.bias"]


def alone() -> dict[str, Any]:
    return {"optimizer": healthy()["optimizer"], "step": 20}


@pytest.mark.parametrize(
    "names",
    [
        json.dumps([MATRICES, VECTORS]),
        json.dumps(MATRICES + VECTORS),
        json.dumps({"optimizer": [MATRICES, VECTORS]}),
        "names.txt",
    ],
    ids=["groups", "flat", "by route", "file"],
)
@pytest.mark.parametrize("model", [False, True], ids=["no model", "model"])
def test_names_that_the_user_tells(names: str, model: bool, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join([*MATRICES, "", *VECTORS, ""]))
    c = alone() | ({"model": healthy()["model"]} if model else {})
    slot("exp_avg", first(torch.nan), 3)(c)
    report = check(tmp_path, c, f"names: {names}\n")
    assert [(each.rule, each.where.parameter) for each in report.findings if each.rule != "OI706"] == [
        ("OI301", "norm.weight")
    ]


def test_their_evidence_is_an_order() -> None:
    """Nothing proves a list: the word must be the one for what needs an order."""
    from optinspect.naming import name_parameters  # noqa: PLC0415

    told = read_policy("names: [a, b, c, d]\n", "p").terms.told
    with optinspect.open(str(ROOT / "sample_checkpoints/separate/optimizer.pt")) as checkpoint:
        count = len(checkpoint.optimizers[0].parameters)
        told = read_policy(f"names: {[f'p{n}' for n in range(count)]}\n", "p").terms.told
        (naming,) = name_parameters(checkpoint, listed=told)
    assert {row.evidence for row in naming.parameters} == {"order"}
    assert {row.convention for row in naming.parameters} == {"names told by the policy"}
    assert [row.name for row in naming.parameters] == [f"p{n}" for n in range(count)]
    assert all(row.solutions is None for row in naming.parameters)


TOLD_WRONG = {
    "too few": ([MATRICES, VECTORS[:3]], "3 names for the 4 parameters of group 1"),
    "one list more": ([MATRICES, VECTORS, ["x"]], "3 lists of names for 2 groups"),
    "flat, too many": ([*MATRICES, *VECTORS, "x"], "7 names for 6 parameters"),
    "another shape": ([MATRICES[::-1], VECTORS], "'second.weight' has shape [7, 12], the state [12, 6]"),
    "not in the model": ([["first.weight", "third.weight"], VECTORS], "the model has no 'third.weight'"),
    "under two names": ([["first.weight", "module.first.weight"], VECTORS], "'module.first.weight'"),
    "another route": ({"opt": [MATRICES, VECTORS]}, "names are told for 'opt' (found: 'optimizer')"),
}


@pytest.mark.parametrize("case", TOLD_WRONG)
def test_names_that_do_not_fit_are_an_error_and_not_used(case: str, tmp_path: Path) -> None:
    names, words = TOLD_WRONG[case]
    report = check(tmp_path, healthy(), f"names: {json.dumps(names)}\n")
    assert codes(report) and set(codes(report)) == {"OI008"} and report.status == 1
    assert any(words in each.message for each in report.findings), report.findings


def test_names_against_those_that_the_file_records(tmp_path: Path) -> None:
    c = healthy()
    for group, names in zip(c["optimizer"]["param_groups"], (MATRICES, VECTORS), strict=True):
        group["param_names"] = names
    swapped = [MATRICES, [VECTORS[1], VECTORS[0], *VECTORS[2:]]]
    report = check(tmp_path, c, f"names: {json.dumps(swapped)}\n")
    assert codes(report) == ["OI008", "OI008"]
    assert report.findings[0].message == "'norm.weight', but the file records 'first.bias'"


def test_one_list_for_two_optimizers_is_an_error(tmp_path: Path) -> None:
    report = check(tmp_path, gan(), "names: [a]\n")
    (found,) = [each for each in report.findings if each.rule == "OI008"]
    assert found.message == "names are told for one optimizer (found: 'optimizer_g', 'optimizer_d')"


@pytest.mark.parametrize(
    ("text", "words"), [("a\nb\na\n", "names.txt:3:1: 'a' stands in line 1 already"), ("\n\n", "no name in it")]
)
def test_files_of_names_that_are_wrong(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(OptinspectError) as caught:
        read_policy("names: names.txt\n", str(tmp_path / "p.yaml"))
    assert words in caught.value.message


# What it costs


def test_yaml_is_loaded_for_a_policy_only(tmp_path: Path) -> None:
    code = (
        "import sys; from optinspect.cli import main; status = main(['check', *sys.argv[2:], '-q'])\n"
        "assert status == 0 and 'torch' not in sys.modules and ('yaml' in sys.modules) == bool(int(sys.argv[1]))"
    )
    (tmp_path / "p.yaml").write_text("fail_on: error\n")
    path = str(ROOT / "sample_checkpoints/bigram.pt")
    for loaded, words in (("0", ["--no-config"]), ("1", ["--config", str(tmp_path / "p.yaml")])):
        subprocess.run([sys.executable, "-c", code, loaded, path, *words], check=True, cwd=ROOT)
