"""`optinspect diff` and `show` inside git, set up as docs/diff.md says, in a real repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.diff_cases import changed, save, trained

DOCUMENT = (Path(__file__).parents[1] / "docs" / "diff.md").read_text(encoding="utf-8")
SETUP = re.search(r"```sh\n(?P<text>(?:git config|echo).*?)```", DOCUMENT, re.DOTALL)

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


class Repository:
    """With a checkpoint in two versions; `optinspect` is found on PATH as a small script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = folder / "tools"
        tools.mkdir(parents=True)
        script = tools / "optinspect"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m optinspect "$@"\n')
        script.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PAGER": "cat",
        }
        self.work = folder / "work"
        self.work.mkdir()
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.email", "a@example.org")
        self.run("git", "config", "user.name", "A")

    def run(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            words, cwd=self.work, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == status, done.stderr
        return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    assert SETUP is not None
    made = Repository(tmp_path)
    for line in SETUP["text"].splitlines():
        made.run("sh", "-c", line)
    base = trained()
    save(made.work / "ckpt.pt", base)
    made.run("git", "add", ".")
    made.run("git", "commit", "--quiet", "-m", "first")
    later = changed(base)
    later["optimizer"]["param_groups"][0]["weight_decay"] = 0
    later["step"] = 9
    save(made.work / "ckpt.pt", later)
    return made


def test_difftool_shows_what_changed(repository: Repository) -> None:
    shown = repository.run("git", "difftool", "--tool", "optinspect", "--no-prompt")
    assert "decay off for 3 parameters" in shown
    repository.run("git", "commit", "--quiet", "-am", "second")
    shown = repository.run("git", "difftool", "--tool", "optinspect", "--no-prompt", "HEAD~1", "HEAD")
    assert re.search(r"^step +3 +9", shown, re.MULTILINE)


def test_git_diff_and_log_show_text(repository: Repository) -> None:
    for words in (("git", "diff"), ("git", "log", "-p", "-1")):
        if words[1] == "log":
            repository.run("git", "commit", "--quiet", "-am", "second")
        shown = repository.run(*words)
        assert "Binary files" not in shown
        assert re.search(r"^-.*\b0\.1\b", shown, re.MULTILINE)
        assert re.search(r"^\+.*\bstep 9\b", shown, re.MULTILINE)


def test_a_damaged_version_does_not_stop_git(repository: Repository) -> None:
    path = repository.work / "ckpt.pt"
    path.write_bytes(path.read_bytes()[:3000])
    assert "ckpt.pt" in repository.run("git", "diff")
