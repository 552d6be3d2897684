"""Every file that a user names to write to: ordinary ones, links, pipes, devices, directories, streams by name."""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from optinspect import cli, writing
from optinspect.errors import UnreadableFile, UsageError

SAMPLE = "sample_checkpoints/gpt_step41.pt"
PYTHON = [sys.executable, "-m", "optinspect"]
WRITERS = {
    "-o": ["show", SAMPLE, "--no-stats", "-o"],
    "--save": ["replay", SAMPLE, "--steps", "1", "-q", "--save"],
    "--write-config": ["check", SAMPLE, "--write-config", "-q", "-o"],
    "--summary": ["check", SAMPLE, "-q", "--summary"],
    "--baseline": ["check", SAMPLE, "-q", "--update-baseline", "--baseline"],
}
"""Every option that names such a file."""
BEGINS = {"-o": SAMPLE.encode(), "--save": b"PK", "--write-config": b"# What", "--summary": b"## optinspect check"}
TO_STREAMS = sorted(BEGINS)

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")


@contextmanager
def fifo(path: Path) -> Iterator[list[bytes]]:
    """A named pipe, and what is read from it once the block is left."""
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    yield read
    reader.join(20)
    assert not reader.is_alive()


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    line = command.replace("optinspect", shlex.join(PYTHON), 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False)


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "--force"])
@pytest.mark.parametrize("option", TO_STREAMS)
def test_a_pipe_is_written_to_and_stays_one(option: str, force: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    with fifo(path) as read:
        assert cli.main([*WRITERS[option], str(path), *force]) == 0
    assert read[0].startswith(BEGINS[option])
    assert stat.S_ISFIFO(path.stat().st_mode) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("option", TO_STREAMS)
def test_a_device_takes_it_without_force(option: str) -> None:
    before = Path(os.devnull).stat()
    assert cli.main([*WRITERS[option], os.devnull]) == 0
    after = Path(os.devnull).stat()
    assert (after.st_ino, after.st_rdev, after.st_mode) == (before.st_ino, before.st_rdev, before.st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("option", TO_STREAMS)
def test_a_full_device_is_one_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*WRITERS[option], "/dev/full"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "/dev/full: not written: No space left on device\n")


def test_an_error_of_a_device_is_one_line(tmp_path: Path) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UnreadableFile, match=r"^/dev/null: not written: No space left on device$"):
        writing.write(os.devnull, full, force=True)


@pytest.mark.parametrize("option", WRITERS)
def test_a_link_leads_to_what_is_written(option: str, tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    link.symlink_to(target)
    for words in ([], ["--force"]):  # first nothing is there, then what was written
        assert cli.main([*WRITERS[option], str(link), *words]) == 0
        assert link.is_symlink() and target.is_file() and not target.is_symlink()
        assert len(list(tmp_path.rglob("*"))) == 3
    if option in ("-o", "--save", "--write-config"):
        before = target.read_bytes()
        assert cli.main([*WRITERS[option], str(link)]) == 2
        assert target.read_bytes() == before
    if option == "--save":
        assert "optimizer" in torch.load(link, weights_only=True)


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "--force"])
@pytest.mark.parametrize("option", WRITERS)
@pytest.mark.parametrize("kind", ["directory", "link to a directory", "loop", "socket"])
def test_what_cannot_be_written_to_is_left_alone(
    option: str,
    kind: str,
    force: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = str(Path(SAMPLE).resolve())
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        if kind == "socket":
            bound.bind("x")
        elif kind == "directory":
            Path("x").mkdir()
        else:
            Path("x").symlink_to("x" if kind == "loop" else tmp_path)
        before = os.lstat("x")
        words = [sample if word == SAMPLE else word for word in WRITERS[option]]
        assert cli.main([*words, "x", *force]) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) <= 2 and "x: " in err.splitlines()[0] and "--force" not in err
        after = os.lstat("x")
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert [each.name for each in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("option", TO_STREAMS)
def test_stdout_by_name(option: str, name: str, tmp_path: Path) -> None:
    """Onto a pipe, and onto a file: that begins with what somebody else wrote, and keeps it."""
    command = shlex.join(["optinspect", *WRITERS[option], name])
    done = shell(command)
    assert done.returncode == 0 and done.stdout.startswith(BEGINS[option]) and done.stderr == b""
    path = tmp_path / "all"
    assert shell(f"{{ echo before; {command}; echo after; }} > {path}").returncode == 0
    text = path.read_bytes()
    gap = b"\n" if option == "--summary" else b""
    assert text.startswith(b"before\n" + gap + BEGINS[option][:2]) and text.endswith(b"after\n")
    assert [each.name for each in tmp_path.iterdir()] == ["all"] and not Path("-").exists()


def test_stdout_by_name_is_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", SAMPLE, "--json"])
    plain = capsys.readouterr().out
    for words in (["-o", "-"], ["-o", "/dev/stdout"], ["-o", "-", "--force"]):
        assert cli.main(["show", SAMPLE, "--json", *words]) == 0
        assert capsys.readouterr().out == plain


def test_other_streams_by_number(tmp_path: Path) -> None:
    path = tmp_path / "three"
    done = shell(f"optinspect show {SAMPLE} --json -o /dev/fd/3 3>{path}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert json.loads(path.read_bytes())["command"] == "show"
    assert json.loads(shell(f"optinspect show {SAMPLE} --json -o /dev/stderr").stderr)["command"] == "show"
    done = shell(f"optinspect show {SAMPLE} -o /dev/fd/9 9>&-")
    assert (done.returncode, done.stderr) == (2, b"/dev/fd/9: not written: Bad file descriptor\n")


def test_a_reader_that_stops_is_no_error_on_stdout(tmp_path: Path) -> None:
    for name in ("-", "/dev/stdout"):
        status = tmp_path / "status"
        done = shell(f"{{ optinspect show {SAMPLE} --json -o {name}; echo $? > {status}; }} | head -1")
        assert (done.stdout, done.stderr, status.read_text()) == (b"{\n", b"", "0\n")


@pytest.mark.parametrize("where", ["", "no/such/file", f"{SAMPLE}/file", "n" * 300])
@pytest.mark.parametrize("option", ["-o", "--save", "--write-config", "--summary"])
def test_names_of_no_file_are_refused_before_the_work(
    option: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*WRITERS[option], where]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 2 and max(map(len, err.splitlines())) <= 200


def test_a_disk_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = os.stat_result((stat.S_IFBLK | 0o600, *[0] * 9))
    monkeypatch.setattr(writing.os, "stat", lambda _: disk)
    with pytest.raises(UsageError, match="is a disk"):
        writing.check("sda", force=True)


def test_a_baseline_that_is_a_pipe_is_read_and_not_written(tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    assert cli.main([*WRITERS["--baseline"], str(known)]) == 0
    assert shell(f"cat {known} | optinspect check {SAMPLE} -q --baseline /dev/stdin").returncode == 0
