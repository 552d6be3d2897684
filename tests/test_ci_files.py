"""The action, the hook and what README says of them: parsed as their programs parse them, and really run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_cases import SICK
from test_check_outputs import VALIDATOR

import optinspect

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "optinspect-check" / "action.yml"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="no bash")
SAMPLES = ROOT / "sample_checkpoints"


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def block(kind: str, holding: str) -> str:
    found = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return next(text for text in found if holding in text)


def script(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in parsed(ACTION)["runs"]["steps"] if each["name"] == name)
    return found


def bash(text: str, where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """As a runner of GitHub runs a step with `shell: bash`."""
    assert BASH is not None
    path = f"{where / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(
        words, cwd=where, env={**os.environ, "PATH": path, **variables}, capture_output=True, text=True, check=False
    )


def stub(where: Path, name: str, text: str) -> None:
    """A program of this name, before all others."""
    path = where / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{BASH}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def check(where: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The step that checks, with the inputs as the runner hands them over."""
    told = {name: str(value.get("default", "")) for name, value in parsed(ACTION)["inputs"].items()} | inputs
    step = script("Check")
    variables = {
        name: told[re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", value)[1]]  # type: ignore[index]
        for name, value in step["env"].items()
    }
    return bash(step["run"], where, GITHUB_STEP_SUMMARY=str(where / "page.md"), **variables)


def test_the_action_is_a_composite_one() -> None:
    action = parsed(ACTION)
    assert set(action["inputs"]) == {"path", "args", "version", "sarif", "summary"}
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash" and "${{" not in step["run"], "inputs are variables, never script"
    assert all(each["description"] for each in action["inputs"].values())


@needs_bash
def test_the_action_annotates_and_fails(tmp_path: Path) -> None:
    SICK["OI304"].write(tmp_path / "a b.pt")
    shutil.copy(SAMPLES / "gpt_step50.pt", tmp_path / "c.pt")
    done = check(tmp_path, path="a b.pt\n\n  c*.pt  \n")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("::error file=a b.pt,title=OI304")
    assert "OI304" in (tmp_path / "page.md").read_text()


@needs_bash
def test_the_action_takes_options_as_a_shell_quotes_them(tmp_path: Path) -> None:
    SICK["OI405"].write(tmp_path / "a.pt")
    assert check(tmp_path, path="a.pt", args="").returncode == 0
    assert check(tmp_path, path="a.pt", args="--fail-on 'warning'").returncode == 1
    done = check(tmp_path, path="a.pt", args="--fail-on 'warning")
    assert done.returncode == 2 and done.stdout.startswith("::error::") and done.stderr == ""
    assert check(tmp_path, path="", args=f"--latest {shlex.quote(str(SAMPLES))}").returncode == 0


@needs_bash
def test_the_action_writes_sarif(tmp_path: Path) -> None:
    SICK["OI304"].write(tmp_path / "a.pt")
    done = check(tmp_path, path="a.pt", sarif="out put.sarif", summary="false")
    assert done.returncode == 1 and done.stdout == ""
    assert not (tmp_path / "page.md").exists()
    VALIDATOR.validate(yaml.safe_load((tmp_path / "out put.sarif").read_text()))


@needs_bash
def test_an_input_cannot_be_a_command(tmp_path: Path) -> None:
    for text in ("$(touch hit)", "`touch hit`", "; touch hit", "a.pt' ; touch hit '", "--output=hit"):
        assert check(tmp_path, path=text).returncode == 2
    check(tmp_path, path="a.pt", args="$(touch hit) `touch hit` ; touch hit")
    assert not (tmp_path / "hit").exists()


@needs_bash
@pytest.mark.parametrize("version", ["", "0.1.0"])
def test_the_action_installs_all_that_check_needs(version: str, tmp_path: Path) -> None:
    """pip is a stub that notes its words: the packages are those of pyproject.toml, torch left out."""
    stub(tmp_path, "python", 'printf "%s\\n" "$@" >> words; echo -- >> words')
    step = script("Install optinspect")
    assert set(step["env"]) == {"CHECK_VERSION", "CHECK_SOURCE"}
    source = str(ACTION.parent / ".." / ".." / "..")
    done = bash(step["run"], tmp_path, CHECK_VERSION=version, CHECK_SOURCE=source)
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "words").read_text().split("--\n--no-deps\n")[0], (tmp_path / "words").read_text()
    needed = [each for each in metadata.requires("optinspect") or () if "extra" not in each]
    wanted = {each.partition(";")[0].strip() for each in needed if not each.startswith("torch")}
    assert set(first.split("--\n")[0].splitlines()) == {"-m", "pip", "install", "--quiet", *wanted}
    assert second.splitlines()[-2] == (f"optinspect=={version}" if version else source)
    assert (Path(source) / "pyproject.toml").exists()


@needs_bash
def test_the_workflow_in_readme_runs(tmp_path: Path) -> None:
    ours, upload = yaml.safe_load(block("yaml", "optinspect-check@"))
    assert ours["uses"].partition("@")[0].endswith(str(ACTION.parent.relative_to(ROOT).as_posix()))
    assert set(ours["with"]) <= set(parsed(ACTION)["inputs"])
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "release").mkdir()
    shutil.copy(SAMPLES / "gpt_step50.pt", tmp_path / "runs" / "a" / "last.pt")
    SICK["OI405"].write(tmp_path / "release" / "b.pt")
    done = check(tmp_path, **ours["with"])
    assert done.returncode == 1, done.stderr
    log = yaml.safe_load((tmp_path / upload["with"]["sarif_file"]).read_text())
    assert "OI405" in {each["ruleId"] for each in log["runs"][0]["results"]}


@needs_bash
def test_the_launch_script_in_readme_runs(tmp_path: Path) -> None:
    text = block("sh", "--latest")
    (tmp_path / "runs").mkdir()
    stub(tmp_path, "optinspect", f'exec {shlex.quote(sys.executable)} -m optinspect "$@"')
    stub(tmp_path, "python", 'echo "$@"')
    assert bash(text, tmp_path).stdout == "train.py\n"
    shutil.copy(SAMPLES / "gpt_step50.pt", tmp_path / "runs" / "a b.pt")
    assert bash(text, tmp_path).stdout == "train.py runs/a b.pt\n"
    shutil.copy(SAMPLES / "models.py", tmp_path / "runs" / "a b.pt")
    torn = bash(text, tmp_path)  # no answer is no reason to begin anew
    assert (torn.returncode, torn.stdout) == (2, "")
    assert text in (ROOT / "docs" / "check.md").read_text(encoding="utf-8")


HOOK = {
    "type": "object",
    "required": ["id", "name", "entry", "language"],
    "properties": {
        "id": {"type": "string", "pattern": r"^[\w-]+$"},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "entry": {"type": "string"},
        "language": {"enum": ["python"]},
        "files": {"type": "string", "format": "regex"},
        "require_serial": {"type": "boolean"},
    },
    "additionalProperties": False,
}
"""Of the keys that pre-commit's manifest knows, those that are used, as it wants them."""


def test_the_hook_is_as_pre_commit_wants_it() -> None:
    (hook,) = parsed(ROOT / ".pre-commit-hooks.yaml")
    jsonschema.Draft202012Validator(HOOK).validate(hook)
    names = ("a.pt", "runs/x.pth", "epoch=3-step=120.ckpt"), ("a.py", "a.pt.txt", "apt", "model.safetensors")
    assert all(re.search(hook["files"], name) for name in names[0])
    assert not any(re.search(hook["files"], name) for name in names[1])


def test_the_hook_in_readme_runs(tmp_path: Path) -> None:
    (hook,) = parsed(ROOT / ".pre-commit-hooks.yaml")
    (repo,) = yaml.safe_load(block("yaml", "hooks:"))["repos"]
    (ours,) = repo["hooks"]
    assert ours["id"] == hook["id"]
    program, *words = shlex.split(hook["entry"])
    assert program in metadata.entry_points(group="console_scripts").names
    warned = SICK["OI405"].write(tmp_path / "a.pt")
    line = [sys.executable, "-m", program, *words, *ours["args"]]
    for files, status in (([SAMPLES / "gpt_step50.pt"], 0), ([SAMPLES / "gpt_step50.pt", warned], 1)):
        done = subprocess.run([*line, *map(str, files)], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr


def test_the_test_in_readme_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(block("python", "assert_resumable"), names)
    names["test_the_run_can_be_resumed"]()
    with pytest.raises(AssertionError, match="OI101"):
        optinspect.assert_resumable("sample_checkpoints/cut_short.pt")
