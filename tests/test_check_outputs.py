"""What `check` writes for others: SARIF as its schema has it, JUnit as a parser reads it, annotations, an assert."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import jsonschema
import pytest
import torch
from check_cases import SICK, Net, groups, healthy, train
from hypothesis import given
from hypothesis import strategies as st
from reports import report

import optinspect
from optinspect import cli
from optinspect.checks import RULES
from optinspect.commands.rules import PAIRS, repair_of
from optinspect.errors import UsageError
from optinspect.live.registry import MANUAL
from optinspect.render import RENDERERS, Screen
from optinspect.report import Failure, Finding, Location, Manual, Report, Severity

ROOT = Path(__file__).parents[1]
SARIF = Path(os.environ.get("OPTINSPECT_SARIF_SCHEMA") or ROOT / "tests" / "data" / "sarif" / "sarif-2.1.0-rtm.4.json")
VALIDATOR = jsonschema.Draft4Validator(json.loads(SARIF.read_text(encoding="utf-8-sig")))
NASTY = "a\n\r\t\0\x07\x1b]0;x\x07<&>\"']]>\u202e\ud800\ufffe\U000e0001é日"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(list(words))
    out, err = capsys.readouterr()
    return status, out, err


def sarif(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status, out, _ = run(capsys, "check", *words, "-f", "sarif")
    log = json.loads(out)
    VALIDATOR.validate(log)
    assert len(log["runs"]) == 1
    return status, log["runs"][0]


def junit(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, ET.Element]:
    status, out, _ = run(capsys, "check", *words, "-f", "junit")
    root = ET.fromstring(out.encode())
    for each in (root, *root.iter("testsuite")):  # the counts are those of the elements
        assert int(each.get("tests", "")) == len(list(each.iter("testcase")))
        assert int(each.get("failures", "")) == len(list(each.iter("failure")))
        assert int(each.get("errors", "")) == len(list(each.iter("error")))
    return status, root


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """code → page of every rule, as `optinspect rules` tells them."""
    return {row["rule"]: row["page"] for row in json.loads(run(capsys, "rules", "--json")[1])["tables"]["rules"]}


def write(path: Path, checkpoint: Any) -> str:
    torch.save(checkpoint, path)
    return str(path)


def rendered(form: str, told: Report) -> str:
    return next(each for each in RENDERERS if each.name == form).render(told, Screen())


@pytest.mark.parametrize("code", ["OI101", "OI304", "OI405", "OI712", "OI203"])
def test_sarif_is_as_its_schema_says(code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = SICK[code].write(tmp_path / "a b%#é.pt")
    status, told = sarif(capsys, str(path))
    report = optinspect.check(str(path))
    assert status == report.status == told["invocations"][0]["exitCode"]
    assert [each["ruleId"] for each in told["results"]] == [each.rule for each in report.findings]
    for result, finding in zip(told["results"], report.findings, strict=True):
        assert result["level"] == finding.severity.value
        where = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert unquote(urlparse(where).path) == str(path)
        logical = result["locations"][0].get("logicalLocations", [])
        assert [each["name"] for each in logical if each["kind"] == "parameter"] == [
            name for name in [finding.where.parameter] if name
        ]
        assert any(each.get("fullyQualifiedName") == finding.where.route for each in logical) or not finding.where.route


def test_sarif_carries_every_rule_with_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, told = sarif(capsys, write(tmp_path / "c.pt", healthy()))
    rules = told["tool"]["driver"]["rules"]
    pages = listed(capsys)
    assert [each["id"] for each in rules] == sorted(pages) and len(pages) > len(RULES)
    for each in rules:
        assert each["help"]["text"] == pages[each["id"]] or each["help"]["text"].startswith(
            each["shortDescription"]["text"]
        )
        assert each["shortDescription"]["text"] and each["defaultConfiguration"]["level"] in (
            "error",
            "warning",
            "note",
        )
    assert told["results"] == [] and told["invocations"][0]["executionSuccessful"] is True


def test_sarif_points_to_the_rules_it_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, told = sarif(capsys, str(SICK["OI304"].write(tmp_path / "c.pt")))
    for each in told["results"]:
        assert told["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] == each["ruleId"]


def marks(run: dict[str, Any]) -> list[dict[str, str]]:
    return [each["partialFingerprints"] for each in run["results"]]


def test_fingerprints_stay_while_figures_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    for factor in (50.0, 70.0):
        sick = healthy()
        sick["optimizer"]["state"][0]["exp_avg"] *= factor
        write(Path("c.pt"), sick)
        _, told = sarif(capsys, "c.pt", "--select", "OI304")
        seen.append((marks(told), told["results"][0]["message"]["text"]))
    assert seen[0][0] == seen[1][0] and seen[0][1] != seen[1][1]
    sick = healthy()
    sick["optimizer"]["state"][1]["exp_avg"] *= 50.0
    write(Path("c.pt"), sick)
    assert marks(sarif(capsys, "c.pt", "--select", "OI304")[1]) != seen[0][0]


def test_a_relative_path_is_a_relative_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    SICK["OI304"].write(tmp_path / "runs" / "a:b.pt")
    _, told = sarif(capsys, "runs/a:b.pt")
    artifact = told["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": "runs/a%3Ab.pt", "uriBaseId": "%SRCROOT%"}


def test_a_finding_about_many_parameters_has_all_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sick = healthy()
    for state in sick["optimizer"]["state"].values():
        state["exp_avg"] *= 50.0
    path = write(tmp_path / "c.pt", sick)
    _, told = sarif(capsys, path, "--select", "OI304")
    (result,) = told["results"]
    routes = [each["logicalLocations"][0]["fullyQualifiedName"] for each in result["locations"]]
    assert sorted(routes) == [f"optimizer.state[{index}].exp_avg" for index in range(6)]
    (finding,) = optinspect.check(path, select=["OI304"]).findings
    assert [route for route, _ in finding.places] == routes


def test_what_cannot_be_read_is_a_notification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, missing = write(tmp_path / "a.pt", healthy()), str(tmp_path / "none.pt")
    status, told = sarif(capsys, good, missing)
    (invocation,) = told["invocations"]
    assert status == 2 and invocation["executionSuccessful"] is False and invocation["exitCode"] == 2
    (note,) = invocation["toolExecutionNotifications"]
    assert "no such file" in note["message"]["text"] and note["level"] == "error"


def test_junit_has_a_case_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SICK["OI304"].write(tmp_path / "c.pt"))
    status, root = junit(capsys, path)
    (suite,) = root.iter("testsuite")
    assert status == 1 and suite.get("name") == path
    cases = {each.get("name", "").partition(" ")[0]: each for each in suite.iter("testcase")}
    assert sorted(cases) == sorted(listed(capsys))
    found = cases["OI304"].find("failure")
    assert found is not None and found.get("type") == "error" and "optimizer.state[0]" in (found.text or "")
    assert cases["OI601"].find("skipped") is not None
    assert list(cases["OI203"]) == []


@pytest.mark.parametrize(("level", "fails"), [("error", 0), ("warning", 1), ("note", 1), ("never", 0)])
def test_junit_fails_where_the_level_says(
    level: str, fails: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(SICK["OI405"].write(tmp_path / "c.pt"))
    status, root = junit(capsys, path, "--fail-on", level)
    case = next(each for each in root.iter("testcase") if each.get("name", "").startswith("OI405"))
    assert status == fails == len(case.findall("failure"))
    assert len(case.findall("system-out")) == 1 - fails


def test_junit_has_a_suite_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, sick = write(tmp_path / "a.pt", healthy()), str(SICK["OI304"].write(tmp_path / "b.pt"))
    page = tmp_path / "page.pt"
    page.write_text("<!DOCTYPE html><html></html>")
    status, root = junit(capsys, good, sick, str(page))
    suites = {each.get("name"): each for each in root.iter("testsuite")}
    assert status == 2 and list(suites) == [good, sick, str(page)]
    assert [suites[name].get("failures") for name in (good, sick, str(page))] == ["0", "1", "0"]
    error = suites[str(page)].find("testcase/error")
    assert error is not None and "HTML" in error.get("message", "")


def test_skipped_rules_are_told_of_each_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = healthy()
    del plain["scheduler"]
    paths = write(tmp_path / "a.pt", healthy()), write(tmp_path / "b.pt", plain)
    _, root = junit(capsys, *paths)
    skips = [int(each.get("skipped", "")) for each in root.iter("testsuite")]
    assert skips[1] > skips[0]


def nasty() -> Report:
    text = NASTY
    finding = Finding("OI304", text, Severity.ERROR, text, Location(text, text, text), text, ((text, text),))
    manual = Manual("OI304", text, Severity.ERROR, text)
    failure = Failure(text, "NotACheckpoint", text, text)
    return report(command="check", findings=(finding,), failures=(failure,), manual=(manual,))


def test_control_characters_break_neither_xml_nor_json() -> None:
    VALIDATOR.validate(json.loads(rendered("sarif", nasty())))
    root = ET.fromstring(rendered("junit", nasty()))
    assert root.get("errors") == "1"
    assert rendered("junit", nasty()).isascii() and rendered("sarif", nasty()).isascii()


@given(st.text(st.characters(codec=None), max_size=30))
def test_any_text_passes_through(text: str) -> None:
    finding = Finding("OI304", "title", Severity.ERROR, text, Location("checkpoint", text, text))
    told = report(command="check", findings=(finding,), failures=(Failure(text, "UnreadableFile", text),))
    VALIDATOR.validate(json.loads(rendered("sarif", told)))
    ET.fromstring(rendered("junit", told))
    assert rendered("github", told).count("\n") == 2 + len(told.headline)


def test_a_file_of_names_that_attack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sick = healthy()
    sick["model"][NASTY.replace("\ud800", "")] = torch.full((4, 4), torch.nan)
    path = write(tmp_path / "c.pt", sick)
    junit(capsys, path)
    assert sarif(capsys, path)[1]["results"]


@pytest.mark.parametrize("form", ["sarif", "junit", "github"])
def test_formats_of_findings_are_for_checks_only(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "show", write(tmp_path / "c.pt", healthy()), "-f", form)
    assert status == 2 and out == "" and "not for `show`" in err


@pytest.mark.parametrize("form", ["sarif", "junit", "github"])
def test_formats_of_findings_hold_no_table(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "c.pt", healthy())
    status, out, err = run(capsys, "check", path, "-f", form, "--table", "rules")
    assert status == 2 and out == "" and "holds findings" in err


def test_a_report_goes_into_a_file_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = str(SICK["OI304"].write(tmp_path / "c.pt")), tmp_path / "out.sarif"
    assert run(capsys, "check", path, "-f", "sarif", "-o", str(out)) == (1, "", "")
    VALIDATOR.validate(json.loads(out.read_text()))


def test_annotations_name_the_file_that_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, sick = write(tmp_path / "a.pt", healthy()), str(SICK["OI304"].write(tmp_path / "b.pt"))
    status, out, _ = run(capsys, "check", good, sick, str(tmp_path / "none.pt"), "-f", "github")
    lines = [line for line in out.splitlines() if line.startswith("::")]
    assert status == 2 and len(lines) == 2
    assert lines[0].startswith(f"::error file={tmp_path / 'none.pt'},title=not read::")
    assert lines[1].startswith(f"::error file={sick},title=OI304")


def test_assert_resumable_passes_what_check_passes(tmp_path: Path) -> None:
    assert optinspect.assert_resumable(write(tmp_path / "c.pt", healthy())).status == 0


def test_assert_resumable_says_what_is_wrong(tmp_path: Path) -> None:
    path = str(SICK["OI304"].write(tmp_path / "c.pt"))
    with pytest.raises(AssertionError) as caught:
        optinspect.assert_resumable(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: resumable: no: 1 error"
    assert lines[1].startswith("  OI304 error: optimizer.state[0].exp_avg first.weight: ")
    optinspect.assert_resumable(path, ignore=["OI304"])


def test_assert_resumable_takes_the_options_of_check(tmp_path: Path) -> None:
    path = str(SICK["OI405"].write(tmp_path / "c.pt"))
    optinspect.assert_resumable(path)
    with pytest.raises(AssertionError, match="OI405 warning"):
        optinspect.assert_resumable(path, fail_on="warning")
    with pytest.raises(UsageError, match="no option fail_one"):
        optinspect.assert_resumable(path, fail_one="warning")
    with pytest.raises(UsageError, match="no such level"):
        optinspect.assert_resumable(path, fail_on="sometimes")


@pytest.mark.parametrize("code", sorted(SICK))
def test_every_finding_has_a_repair(code: str, tmp_path: Path) -> None:
    (found, *_) = [each for each in optinspect.check(SICK[code].write(tmp_path / "c.pt")).findings if each.rule == code]
    assert found.repair and not found.repair.endswith(".") and "\n" not in found.repair


def test_every_rule_has_one_in_its_manual_page() -> None:
    assert all(repair_of(rule.code) for rule in (*RULES, *PAIRS, *MANUAL))
    assert repair_of("OI304") == (
        "take the save before this one, or set v to max(v, m²/C(t)), the smallest that is possible"
    )


def test_assert_resumable_says_which_level_failed_what_resumes(tmp_path: Path) -> None:
    path = SICK["OI405"].write(tmp_path / "c.pt")
    with pytest.raises(AssertionError, match=r"c\.pt: resumable: yes: 1 warning.* \(warnings fail\)"):
        optinspect.assert_resumable(path, fail_on="warning")


def test_the_api_takes_paths_of_pathlib_and_a_code_alone(tmp_path: Path) -> None:
    path, policy = tmp_path / "c.pt", tmp_path / "p.yaml"
    write(path, healthy())
    policy.write_text("expect: {groups: 7}\n")
    assert optinspect.show(path).inputs[0].path == str(path)
    assert len(optinspect.show(path, path.parent / "c.pt").inputs) == 1
    assert optinspect.assert_resumable(path, previous=None, select="OI3").inputs[0].path == str(path)
    report = optinspect.check(path, config=policy, ignore="oi8")
    assert report.summary["policy"]["path"] == str(policy) and [each.rule for each in report.findings] == ["OI002"]
    with pytest.raises(AssertionError, match="OI002 error"):
        optinspect.assert_resumable(path, config=policy)
    with pytest.raises(UsageError, match="select OI999: no rule"):
        optinspect.check(path, select="OI999")


def test_assert_resumable_resumes_what_it_is_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(groups(net), lr=1e-2)
    train(optimizer, net)
    path = write(tmp_path / "c.pt", {"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    optinspect.assert_resumable(path, model=net, optimizer=optimizer)
    with pytest.raises(AssertionError, match=r"OI9\d\d error"):
        optinspect.assert_resumable(path, model=net, optimizer=torch.optim.AdamW(net.parameters(), lr=1e-2))


def test_assert_resumable_fails_on_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such file"):
        optinspect.assert_resumable(str(tmp_path / "none.pt"))
    with pytest.raises(AssertionError, match="no such file"):
        optinspect.assert_resumable(write(tmp_path / "c.pt", healthy()), str(tmp_path / "none.pt"))
