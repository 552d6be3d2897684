"""Manners on the command line: what a shell completes, colour, quiet, progress, interrupts, streams that are not there.

The shells are real where they are installed; what they are told is looked at in any case.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import large_files
import pytest

from optinspect import cli
from optinspect.checks import RULES
from optinspect.commands.completion import mend_words

ROOT = Path(__file__).parents[1]
SAMPLE = "sample_checkpoints/bigram.pt"
CUT = "sample_checkpoints/cut_short.pt"
COMMANDS = [each.callback.__name__ for each in cli.app.registered_commands if each.callback]
PYTHON = [sys.executable, "-m", "optinspect"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "OPTINSPECT_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and `optinspect` on the PATH."""
    binary = tmp_path / "bin" / "optinspect"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(PYTHON)} "$@"\n')
    binary.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PYTHON, *words], capture_output=True, text=True, check=False, env=os.environ | environment)


def completed(line: str, shell: str = "bash") -> list[str]:
    """What the program offers for a line that ends where TAB was pressed."""
    words = shlex.split(line)
    number = len(words) if line.endswith(" ") else len(words) - 1
    told = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(number), "_TYPER_COMPLETE_ARGS": line}
    told["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = run(_OPTINSPECT_COMPLETE=f"complete_{shell}", **told)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if shell == "bash" else done.stdout.splitlines()


# --- help, version, quiet


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help_and_can_be_quiet(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("-h", "--help"):
        assert cli.main([command, word]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"Usage: optinspect {command}") and err == ""
        assert "-q" in out and "--json" in out and "-o" in out


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_the_version_is_one_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 0
    assert re.fullmatch(r"optinspect \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_quiet_leaves_errors_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "-q", SAMPLE, "no/such.pt"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[0] == "no/such.pt: no such file"
    assert cli.main(["rules", "-q"]) == 0 and capsys.readouterr() == ("", "")


# --- colour


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command line prints into a pipe, with these environment variables."""

    def printed(*words: str, **environment: str) -> str:
        with monkeypatch.context() as changed:
            for name, value in environment.items():
                changed.setenv(name, value)
            cli.main(list(words))
        return capsys.readouterr().out

    return printed


def test_colour_can_be_forced_and_refused_but_never_gets_into_a_file(
    tmp_path: Path, printed: Callable[..., str]
) -> None:
    assert "\x1b[1m" in printed("show", SAMPLE, FORCE_COLOR="1")
    assert "\x1b" not in printed("show", SAMPLE, FORCE_COLOR="")
    assert "\x1b" not in printed("show", SAMPLE, FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b" in printed("show", SAMPLE, FORCE_COLOR="1", NO_COLOR="")
    for form in ("json", "markdown"):
        assert "\x1b" not in printed("show", SAMPLE, "-f", form, FORCE_COLOR="1")
    printed("show", SAMPLE, "-o", str(tmp_path / "report.txt"), FORCE_COLOR="1")
    assert "\x1b" not in (tmp_path / "report.txt").read_text(encoding="utf-8")


def test_no_row_at_all_is_told_as_few_are(printed: Callable[..., str]) -> None:
    """Of every table that rows were taken from; one that has none is not shown at any limit."""
    for words in (["show", SAMPLE], ["diff", SAMPLE, "sample_checkpoints/gpt_step50.pt"]):
        none, one = (re.findall(rf"^{n} of ([\d,]+) rows shown$", printed(*words, "--limit", n), re.M) for n in "01")
        assert none and {*one} <= {*none}
    tables = json.loads(printed("show", SAMPLE, "--limit", "0", "--json"))["tables"]
    assert all(rows == [] for rows in tables.values())


@pytest.mark.parametrize("width", [40, 46, 60])
def test_long_numbers_do_not_break_a_narrow_screen(width: int, printed: Callable[..., str]) -> None:
    """An lr of 17 digits beside a weight decay: what does not fit is hidden, and named."""
    for path in (SAMPLE, "sample_checkpoints/gpt_step40.pt", "sample_checkpoints/gan.pt"):
        lines = printed("show", path, "--width", str(width)).splitlines()
        tables = lines[lines.index("Groups") :]
        assert max(map(len, tables)) <= width
        assert "hidden at" in "".join(tables)


@pytest.mark.parametrize("command", ["show", "diff", "explain", "replay", "rules"])
def test_a_command_names_the_formats_that_it_has(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"rules": [], "diff": [SAMPLE, SAMPLE], "explain": [SAMPLE, "0"]}.get(command, [SAMPLE])
    for form in ("xml", "sarif", "junit", "github"):
        assert cli.main([command, *words, "-f", form]) == 2
        told = capsys.readouterr().err.splitlines()[0]
        assert told.startswith(f"--format {form}: ") and told.endswith("(expected table, json, csv, markdown)")
    assert cli.main(["check", SAMPLE, "-f", "xml"]) == 2
    assert "markdown, github, sarif, junit)" in capsys.readouterr().err


def test_what_is_coloured_reads_the_same_without(printed: Callable[..., str]) -> None:
    for words in ([SAMPLE, "--tree"], [SAMPLE, "--tree", "--side-by-side"], [SAMPLE, CUT]):
        coloured = printed("show", *words, FORCE_COLOR="1", COLUMNS="130")
        assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == printed("show", *words, COLUMNS="130")


@pytest.mark.parametrize("columns", ["60", "100", "160"])
def test_columns_bound_every_line(columns: str, printed: Callable[..., str]) -> None:
    for words in (["--tree"], ["--tree", "--side-by-side"], ["sample_checkpoints/gan.pt", "--no-stats"]):
        lines = printed("show", SAMPLE, *words, COLUMNS=columns).splitlines()
        facts = [line for line in lines if "little-endian" not in line]  # the line of a file is never broken
        assert facts and max(map(len, facts)) <= int(columns)


# --- streams


CLOSED = "stdout: not written: it is closed\nhint: use -o FILE\n"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("optinspect", shlex.join(PYTHON))
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "status", "err"),
    [
        (f"optinspect show {SAMPLE} >&-", 2, CLOSED),
        (f"optinspect show {SAMPLE} --json >&-", 2, CLOSED),
        (f"optinspect show {SAMPLE} -o - >&-", 2, CLOSED),
        (f"optinspect show {SAMPLE} -q >&-", 0, ""),
        (f"optinspect show {SAMPLE} >&- 2>&-", 2, ""),
        ("optinspect show no.pt 2>&-", 2, ""),
        ("optinspect show no.pt 2>/dev/full", 2, ""),
        (f"optinspect show {SAMPLE} no.pt -q 2>&-", 2, ""),
        (f"optinspect show {SAMPLE} <&-", 0, ""),
        ("optinspect -V >&-", 2, CLOSED),
        ("optinspect --help >&-", 2, CLOSED),
    ],
)
def test_streams_that_are_closed(command: str, status: int, err: str) -> None:
    done = shell(command)
    assert (done.returncode, done.stderr) == (status, err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [f"show {SAMPLE}", f"show {SAMPLE} --json", "--help", "-V"])
def test_a_full_disk_is_told_in_one_line(words: str) -> None:
    done = shell(f"optinspect {words} >/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("stdout: not written: No space left on device\nhint: ")
    assert shell("optinspect show no.pt --json >/dev/full").stderr.startswith("no.pt: no such file\n")


@pytest.mark.parametrize(
    "words", [["show", SAMPLE, "sample_checkpoints/gan.pt"], ["show", SAMPLE, "--tree"], ["rules"]]
)
def test_a_reader_that_has_gone_is_no_error(words: list[str]) -> None:
    with subprocess.Popen([*PYTHON, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_reader_of_the_errors_that_has_gone() -> None:
    with subprocess.Popen([*PYTHON, "show", "no.pt"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stderr.close()
        assert process.stdout.read() == b""
    assert process.returncode == 2


# --- progress and interrupts


HURRIED = (
    "import sys\n"
    "from optinspect.commands import progress\n"
    "progress.PATIENCE = progress.PAUSE = 0\n"
    "from optinspect.cli import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)
"""Progress from the first byte on."""


def _take_terminal() -> None:
    """Make stdin the terminal whose Ctrl-C interrupts this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        with contextlib.suppress(OSError):
            os.close(theirs)


def received(ours: int, until: bytes | None = None, seconds: float = 60) -> bytes:
    """What comes from a terminal, until it is closed or `until` has come."""
    got, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the other side has closed
            return got
        got += part
        if not part or (until is not None and until in got):
            return got
    raise AssertionError(f"waited in vain for {until!r}; came: {got[-2000:]!r}")


def progress_of(*words: str) -> tuple[bytes, bytes]:
    """What stderr, a terminal, and stdout, a pipe, get."""
    with terminal() as (ours, theirs):
        command = [sys.executable, "-c", HURRIED, *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            assert process.stdout
            out = process.stdout.read()
            return received(ours), out


def test_progress_is_on_stderr_on_a_terminal_and_gone_at_the_end() -> None:
    told, out = progress_of("show", SAMPLE, "--json")
    assert re.match(rb"\rmeasuring: +\d+%", told) and told.endswith(b"\r\x1b[K")
    assert out.startswith(b"{") and b"measuring" not in out and b"\x1b" not in out


def test_no_progress_when_quiet_or_in_a_pipe() -> None:
    assert progress_of("show", SAMPLE, "-q")[0] == b""
    done = subprocess.run([sys.executable, "-c", HURRIED, "show", SAMPLE], capture_output=True, check=True)
    assert done.stderr == b""


def test_ctrl_c_at_work_is_one_line_and_130(tmp_path: Path) -> None:
    """Typed at a terminal while 64 GB of zeros are measured: the line of progress goes, the threads end."""
    path = tmp_path / "large.pt"
    large_files.torch_zip(path, large_files.training_run(8 << 30))
    with terminal() as (ours, theirs):
        process = subprocess.Popen(
            [sys.executable, "-c", HURRIED, "show", str(path)],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  nothing is threaded here
        )
        os.close(theirs)
        before = received(ours, until=b"measuring")
        os.write(ours, b"\x03")
        told = before + received(ours)
        assert process.stdout
        assert process.stdout.read() == b""
        assert process.wait(30) == 130
        process.stdout.close()
    last = re.split(rb"\x1b\[K", told)[-1].replace(b"^C", b"")
    assert last == b"interrupted\r\n"
    assert b"Traceback" not in told


# --- completion: what the program offers


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_commands_options_and_values_are_offered(name: str) -> None:
    offered = "\n".join(completed("optinspect ", name))
    assert all(re.search(rf"\b{command}\b", offered) for command in COMMANDS)
    offered = "\n".join(completed("optinspect show --t", name))
    assert "--tree" in offered and "--table" in offered and "--json" not in offered
    assert re.findall(r"\w+", "\n".join(completed("optinspect show --format ", name)))[-4:] == [
        "table", "json", "csv", "markdown"
    ]  # fmt: skip


def test_what_is_offered_behind_an_option() -> None:
    assert completed("optinspect show -f j") == ["json"]
    assert {"json", "junit"} <= set(completed("optinspect check -f j"))
    assert completed("optinspect check --fail-on ") == ["error", "warning", "note", "never"]
    assert completed("optinspect diff --only w") == ["weights"]
    assert set(completed("optinspect rules OI3")) == {rule.code for rule in RULES if rule.code.startswith("OI3")}
    assert "adamw" in completed("optinspect replay --against ")
    assert "adamw" in completed("optinspect replay --rule ad")


def test_file_names_are_left_to_the_shell() -> None:
    assert completed(f"optinspect show {SAMPLE[:10]}") == [""]
    assert completed(f"optinspect show {SAMPLE[:10]}", "zsh") == ["_files"]
    assert completed(f"optinspect show {SAMPLE[:10]}", "fish") == [""]
    assert completed("optinspect show -o ") == [""]


@pytest.mark.parametrize(
    ("words", "at", "mended", "then"),
    [
        ("optinspect show --format = js", 4, "optinspect show --format js", 3),
        ("optinspect show --format =", 3, "optinspect show --format", 3),
        ("optinspect show --sort = rms --format = js", 7, "optinspect show --sort rms --format js", 5),
        ("optinspect show a=b", 2, "optinspect show a=b", 2),
    ],
)
def test_an_option_and_its_value_in_one_word(words: str, at: int, mended: str, then: int) -> None:
    environment = {"COMP_WORDS": words.replace(" ", "\n"), "COMP_CWORD": str(at)}
    mend_words(environment)
    assert environment == {"COMP_WORDS": mended.replace(" ", "\n"), "COMP_CWORD": str(then)}


# --- completion: what the shells make of it


def fish_or_zsh(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
READY = {
    "bash": "PS1=ready; bind 'set enable-bracketed-paste off'; source {script}",
    "zsh": "PS1=ready; autoload -Uz compinit; compinit -u -D; source {script}",
    "fish": "function fish_prompt; echo -n ready; end; source {script}",
}
CANCEL = b"\x15"
"""Ctrl-U: the line is gone."""


@contextlib.contextmanager
def typing(name: str, script: Path) -> Iterator[int]:
    """The keyboard and screen of an interactive shell that has read the completion script."""
    path = fish_or_zsh(name)
    with terminal() as (ours, theirs):
        termios.tcsetwinsize(theirs, (50, 200)) if hasattr(termios, "tcsetwinsize") else None
        with subprocess.Popen(
            [path, *SHELLS[name]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm"},
            preexec_fn=_take_terminal,  # noqa: PLW1509  nothing is threaded here
        ) as process:
            os.close(theirs)
            os.write(ours, READY[name].format(script=shlex.quote(str(script))).encode() + b"\necho set''tled\n")
            received(ours, until=b"settled")
            time.sleep(0.3)
            try:
                yield ours
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()


@pytest.mark.parametrize("name", SHELLS)
def test_a_real_shell_completes(name: str, home: Path) -> None:
    """TAB is typed; what the line becomes is read from the screen."""
    fish_or_zsh(name)
    (home / "my run.pt").write_bytes(b"")
    os.chdir(home)
    script = home / f"completion.{name}"
    environment = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script.write_text(run("--show-completion", name, **environment).stdout, encoding="utf-8")
    with typing(name, script) as keyboard:
        for typed, shown in (
            ("optinspect expl", rb"expl\S*ain "),
            ("optinspect show --side", rb"--side\S*-by-side "),
            ("optinspect show --format js", rb"js\S*on "),
            ("optinspect show my", rb"my\S*\\ run\.pt "),
        ):
            os.write(keyboard, typed.encode() + b"\t")
            got = b""
            end = time.monotonic() + 20
            while not re.search(shown, _printed(got)) and time.monotonic() < end:
                with contextlib.suppress(AssertionError):
                    got += received(keyboard, until=b" ", seconds=0.5)
            assert re.search(shown, _printed(got)), got
            os.write(keyboard, CANCEL)
            time.sleep(0.2)


def _printed(sent: bytes) -> bytes:
    """The characters without the terminal's commands."""
    return re.sub(rb"\x1b\[[\d;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]|\r|\x08", b"", sent)


def test_completion_is_installed_for_the_shell_it_is_called_from(home: Path) -> None:
    (home / ".bashrc").write_text("alias mine=true\n")
    for _ in range(2):  # again is no harm
        done = subprocess.run(
            ["bash", "-c", "optinspect --install-completion; exit $?"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and "completion installed" in done.stdout
    settings = (home / ".bashrc").read_text()
    script = home / ".bash_completions" / "optinspect.sh"
    assert settings.startswith("alias mine=true\n") and settings.count(str(script)) == 1
    reply = "COMP_WORDS=(optinspect che); COMP_CWORD=1; _optinspect_completion optinspect; echo ${COMPREPLY[@]}"
    told = subprocess.run(["bash", "-c", f"source {script}; {reply}"], capture_output=True, text=True, check=True)
    assert told.stdout == "check\n"


@pytest.mark.parametrize(
    ("name", "path"), [("zsh", ".zfunc/_optinspect"), ("fish", ".config/fish/completions/optinspect.fish")]
)
def test_completion_is_installed_where_other_shells_look(name: str, path: str, home: Path) -> None:
    done = run("--install-completion", name, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert f"complete_{name}" in (home / path).read_text()


def test_a_shell_that_is_not_known_is_status_2() -> None:
    done = run("--show-completion", "tcsh", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 2 and "tcsh" in done.stderr
