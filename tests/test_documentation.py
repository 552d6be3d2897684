"""What the documents show is what the program prints. UPDATE_GOLDEN=1 writes it into them.

```console            a command and what it prints, at the width given by COLUMNS (100 where none is given);
$ optinspect …        a line that is only "…" stands for any number of lines that were left out
```python             runs as it stands, in the project's folder
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from optinspect import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "sample_checkpoints" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<kind>console|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
WIDTH = "100"
LEFT_OUT = "…"


@dataclass(frozen=True)
class Block:
    path: Path
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.text.splitlines()[0][:60]}"


def blocks(kind: str) -> list[Block]:
    return [
        Block(path, kind, match["text"])
        for path in DOCUMENTS
        if path.exists()
        for match in FENCE.finditer(path.read_text(encoding="utf-8"))
        if match["kind"] == kind
    ]


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block with the lines that follow it."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block begins with a command"
    for line, output in zip(parts[1::2], parts[2::2], strict=True):
        yield line, output.splitlines()


def printed(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    words = shlex.split(line, comments=True)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words.pop(0) == "optinspect"
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        cli.main(words)
    return [text.rstrip() for text in stream.getvalue().splitlines()]


def fits(shown: list[str], actual: list[str]) -> bool:
    pattern = "\n".join(".*" if line.strip() == LEFT_OUT else re.escape(line.rstrip()) for line in shown)
    return re.fullmatch(pattern.rstrip("\n"), "\n".join(actual).rstrip("\n"), re.DOTALL) is not None


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_a_console_block_shows_what_is_printed(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("NO_COLOR", "OPTINSPECT_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    fresh = ""
    for line, shown in commands(block):
        monkeypatch.setenv("COLUMNS", WIDTH)
        actual = printed(line, monkeypatch)
        if not os.environ.get("UPDATE_GOLDEN"):
            assert fits(shown, actual), "\n".join(actual)
        fresh += "\n".join([f"$ {line}", *(shown if fits(shown, actual) else actual), ""])
    if fresh != block.text and os.environ.get("UPDATE_GOLDEN"):
        document = block.path.read_text(encoding="utf-8")
        block.path.write_text(document.replace(block.text, fresh), encoding="utf-8")


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_python_block_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})


def test_the_documents_show_the_help_of_every_command() -> None:
    lines = {
        line
        for block in blocks("console")
        if block.path.name in ("README.md", "commands.md")
        for line, _ in commands(block)
    }
    for command in ("", *(each.callback.__name__ for each in cli.app.registered_commands if each.callback)):
        assert any(
            re.fullmatch(rf"(COLUMNS=\d+ )?optinspect {command} ?--help".replace("  ", " "), line) for line in lines
        )


def test_the_readme_shows_a_report_and_python() -> None:
    lines = [line for block in blocks("console") for line, _ in commands(block)]
    assert any(" show sample_checkpoints/" in line for line in lines)
    assert any("optinspect.open" in block.text for block in blocks("python"))


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.exists()], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


def test_the_options_that_the_readme_names_exist() -> None:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        for command in cli.app.registered_commands:
            cli.main([command.callback.__name__ if command.callback else "", "--help"])
        cli.main(["--help"])
    prose = FENCE.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose):
        assert option in stream.getvalue() or option == "--unsafe", option
