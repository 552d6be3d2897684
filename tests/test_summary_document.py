"""docs/summary.md: what its examples print is what stands below them. UPDATE_GOLDEN=1 writes it there."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

DOCUMENT = Path(__file__).parents[1] / "docs" / "summary.md"
EXAMPLE = re.compile(r"^```python\n(?P<code>.*?)^```\n\n```text\n(?P<shown>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = list(EXAMPLE.finditer(DOCUMENT.read_text(encoding="utf-8")))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.start()))
def test_an_example_prints_what_stands_below_it(example: re.Match[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(example["code"], str(DOCUMENT), "exec"), {"__name__": "__main__"})
    printed = "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())
    if os.environ.get("UPDATE_GOLDEN"):
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(
            text.replace(example[0], example[0].replace(f"```text\n{example['shown']}", f"```text\n{printed}")),
            encoding="utf-8",
        )
        return
    assert printed == example["shown"]
