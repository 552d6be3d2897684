"""The command line: exit statuses, errors in one line, where reports go."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reports import report

from optinspect import cli, writing
from optinspect.commands import emit
from optinspect.commands.emit import Output
from optinspect.commands.options import parse_size
from optinspect.errors import MAX_MESSAGE, LimitExceeded, OptinspectError, UsageError
from optinspect.report import Report

ROOT = Path(__file__).parents[1]
SAMPLE = str(ROOT / "sample_checkpoints" / "bigram.pt")
CUT = str(ROOT / "sample_checkpoints" / "cut_short.pt")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "OPTINSPECT_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as a user runs it."""
    command = [sys.executable, "-m", "optinspect", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def main(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """In this process, which is quicker."""
    status = cli.main(list(words))
    return status, *capsys.readouterr()


def instead(monkeypatch: pytest.MonkeyPatch, result: Report | BaseException) -> None:
    """Let `show` end in `result` without reading anything."""

    def build(path: str, options: object) -> Report:
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr("optinspect.commands.show.build", build)


def test_a_healthy_file_is_status_0() -> None:
    done = run("show", SAMPLE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "token_embedding_table.weight" in done.stdout


def test_a_damaged_file_is_shown_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = main(capsys, "show", CUT)
    assert (status, err) == (1, "")
    assert "OI101 error" in out and "wte.weight" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show"], "Missing argument"),
        (["show", SAMPLE, "--no-such-option"], "No such option"),
        (["shwo", SAMPLE], "show"),
        (["show", SAMPLE, "--group", "one"], "--group"),
        (["show", SAMPLE, "--group", "7"], "no such group (expected one of 0)"),
        (["show", SAMPLE, "--sort", "colour"], "--sort colour: no such column"),
        (["show", SAMPLE, "--sort", "rms:up"], "expected COLUMN"),
        (["show", SAMPLE, "-f", "xml"], "no such format"),
        (["show", SAMPLE, "--table", "rows"], "no such table"),
        (["show", SAMPLE, "-f", "csv"], "holds one table"),
        (["show", SAMPLE, "--max-memory", "lots"], "not a size"),
        (["show", SAMPLE, "--limit", "x"], "--limit x: expected a whole number"),
        (["show", SAMPLE, "--group", "9"], "--group 9: no such group (expected one of 0)"),
        (["show", SAMPLE, "--model-key", "nowhere"], "nowhere"),
        (["show", "no/such/file.pt"], "no/such/file.pt: "),
        (["show", str(ROOT / "pyproject.toml")], "pyproject.toml: "),
        (["show", str(ROOT / "tests")], "tests: "),
        (["show", "https://example.org/model.pt"], "https://example.org/model.pt: "),
        (["show", "a\x00b"], ""),
        (["show", ""], ""),
    ],
    ids=lambda value: " ".join(value)[-60:] if isinstance(value, list) else None,
)
def test_what_cannot_be_answered_is_status_2_and_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    status, out, err = main(capsys, *words)
    message, *hints = err.splitlines()
    assert (status, out) == (2, "")
    assert told in message
    assert all(hint.startswith("hint: ") for hint in hints) and len(hints) <= 1
    assert len(message) <= MAX_MESSAGE


def test_an_unknown_column_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = main(capsys, "show", SAMPLE, "--sort", "colour")
    assert "update_ratio" in err and "lr" in err


@pytest.mark.parametrize("words", [["--json"], ["-f", "json"], ["--format=json"], ["--format", "json"]], ids=" ".join)
@pytest.mark.parametrize("fault", [["no/such/file.pt"], [SAMPLE, "--no-such-option"], []])
def test_errors_are_json_where_json_was_asked_for(
    capsys: pytest.CaptureFixture[str], words: list[str], fault: list[str]
) -> None:
    status, out, err = main(capsys, "show", *fault, *words)
    told = json.loads(out)
    assert (status, told["status"], told["schema"], told["command"]) == (2, 2, 1, "show")
    assert told["error"].keys() == {"kind", "message", "hint"}
    assert told["error"]["message"] in err


@pytest.mark.parametrize(
    ("problem", "status", "told"),
    [
        (OptinspectError("a.pt: is torn", hint="save it again"), 2, "a.pt: is torn\nhint: save it again\n"),
        (LimitExceeded("opcodes", 10, 20, where="a.pt"), 2, "a.pt: opcodes: 20 asked for (at most 10)\n"),
        (MemoryError(), 2, f"{SAMPLE}: not enough memory\n"),
        (RecursionError(), 2, f"{SAMPLE}: nested too deeply to be read\n"),
        (KeyError("\x1b[2J"), 3, "bug in optinspect 0.1.0: KeyError: '\\x1b[2J'; please report it\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_exception_has_its_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, problem: BaseException, status: int, told: str
) -> None:
    instead(monkeypatch, problem)
    found, out, err = main(capsys, "show", SAMPLE)
    assert (found, out) == (status, "")
    assert err.startswith(told)
    assert "Traceback" not in err


def test_the_traceback_of_a_bug_is_there_for_the_asking(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, ZeroDivisionError("x"))
    monkeypatch.setenv("OPTINSPECT_TRACEBACK", "1")
    status, _, err = main(capsys, "show", SAMPLE)
    assert status == 3
    assert "Traceback" in err and "OPTINSPECT_TRACEBACK=1" in err


def test_an_error_line_is_short_and_visible(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, OptinspectError(f"{SAMPLE}: \x1b]0;x\x07\n" + "n" * 5000 + " the cause"))
    _, _, err = main(capsys, "show", SAMPLE)
    (line,) = err.splitlines()
    assert len(line) <= MAX_MESSAGE and line.isprintable()
    assert line.startswith(SAMPLE[:40]) and line.endswith("the cause")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-V"], ["--version"]):
        assert main(capsys, *words) == (0, f"optinspect {cli.__version__}\n", "")
    for words in (["-h"], ["--help"], []):
        status, out, err = main(capsys, *words)
        assert (status, err) == (0, "") and out.startswith("Usage: optinspect")
    for words in (["show", "-h"], ["show", "--help"]):
        status, out, err = main(capsys, *words)
        assert (status, err) == (0, "") and "--no-stats" in out


def test_quiet_says_nothing_but_by_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(capsys, "show", SAMPLE, "-q") == (0, "", "")
    assert main(capsys, "show", CUT, "-q") == (1, "", "")
    assert main(capsys, "show", SAMPLE, "-q", "--json")[1].startswith("{")


def test_output_goes_into_a_file_whole(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    status, out, err = main(capsys, "show", SAMPLE, "--json", "-o", str(path))
    assert (status, out, err) == (0, "", "")
    assert json.loads(path.read_text())["command"] == "show"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_an_existing_file_is_replaced_only_by_force(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("mine")
    status, _, err = main(capsys, "show", SAMPLE, "-o", str(path))
    assert status == 2 and "exists already" in err and "--force" in err
    assert path.read_text() == "mine"
    assert main(capsys, "show", SAMPLE, "-o", str(path), "--force")[0] == 0
    assert "token_embedding_table" in path.read_text()


def test_the_input_is_never_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, link = tmp_path / "a.pt", tmp_path / "link.pt"
    path.write_bytes(Path(SAMPLE).read_bytes())
    link.symlink_to(path)
    for target in (path, link):
        status, _, err = main(capsys, "show", str(path), "-o", str(target), "--force")
        assert status == 2 and "is an input" in err
    assert path.read_bytes() == Path(SAMPLE).read_bytes()


def test_no_half_report_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    for existing in (False, True):
        path = tmp_path / "report.txt"
        if existing:
            path.write_text("mine")
        with pytest.raises(OptinspectError, match="No space left"):
            emit.emit(report(), Output(file=str(path), force=True))
        assert [each.read_text() for each in tmp_path.iterdir()] == (["mine"] if existing else [])


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("theirs")
    with pytest.raises(UsageError, match="exists already"):
        writing.write_utf8(str(path), "ours", force=False)
    assert path.read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = main(capsys, "show", SAMPLE, "-o", str(tmp_path / "no" / "report.txt"))
    assert status == 2 and "no such folder" in err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`optinspect show … | head -1`: the pipe closes long before the report is out."""
    command = [sys.executable, "-m", "optinspect", "show", str(ROOT / "sample_checkpoints/gpt_step50.pt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_interrupt_is_one_line(tmp_path: Path) -> None:
    """Ctrl-C while a report is being made: 130, as shells have it, and no traceback."""
    code = (
        "import sys, time, optinspect.commands.show as show\n"
        "def build(path, options):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "show.build = build\n"
        "from optinspect.cli import main\n"
        f"sys.exit(main(['show', {SAMPLE!r}]))\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "interrupted\n"
    assert process.returncode == 130


def test_a_screen_that_cannot_write_unicode() -> None:
    done = run("show", SAMPLE, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and done.stdout.isascii()
    assert "29x16" in done.stdout


def on_a_terminal(*words: str, **environment: str) -> str:
    """What a terminal of 80 columns is sent."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "optinspect", *words]
    with subprocess.Popen(
        command, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm"} | environment
    ) as process:
        os.close(slave)
        parts = []
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux says EIO when the other side has closed
                break
            if not part:
                break
            parts.append(part)
    os.close(master)
    assert process.returncode == 0
    return b"".join(parts).decode()


def test_a_terminal_has_colour_and_a_width() -> None:
    sent = on_a_terminal("show", SAMPLE)
    assert "\x1b[1m" in sent and "hidden at 80 columns" in sent
    assert "\x1b[" not in on_a_terminal("show", SAMPLE, NO_COLOR="1")
    assert "\x1b[" not in on_a_terminal("show", SAMPLE, TERM="dumb")


def test_a_pipe_has_neither_unless_told() -> None:
    assert "hidden at" not in run("show", SAMPLE).stdout
    assert "\x1b[" not in run("show", SAMPLE).stdout
    assert "hidden at 80 columns" in run("show", SAMPLE, "--width", "80").stdout
    assert "hidden at 70 columns" in run("show", SAMPLE, COLUMNS="70").stdout


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512MiB", 512 << 20), ("4G", 4 << 30), ("1.5 GB", 3 << 29), ("2kb", 2048), (None, None)],
)
def test_sizes(text: str | None, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "4X", "NaN", "1e9", "GB", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_help_is_quick() -> None:
    """0.16 s measured on two shared cores, 0.35 s promised. The best of five: another job must not fail this."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run("--help")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.35
