"""The text of a policy as YAML nodes with their places. PyYAML composes nodes only: no tag makes an object here."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import yaml

from optinspect.containers.wording import line
from optinspect.errors import UnreadableFile, UsageError

MAX_BYTES = 256 * 1024
"""PyYAML composes as much in 0.4 s, of one-letter names in 4 s (measured); longer lists of names go into a file."""
MAX_DEPTH = 16
HINT = "optinspect check CKPT --write-config -o example.yaml shows every key"


class _Composer(yaml.SafeLoader):
    """Composes without aliases, and not deeper than a policy can be."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (write the value out)", problem_mark=mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            told = f"nested deeper than {MAX_DEPTH} levels"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def compose(text: str, path: str) -> yaml.Node | None:
    """The root node; None for a document without any. Raises UsageError with line and column for what is no YAML."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Composer)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        raise refusal(path, mark, _told(problem)) from None
    except yaml.reader.ReaderError as problem:
        raise _at(path, text, int(problem.position), f"the character U+{_code(problem):04X} is not allowed") from None
    except yaml.YAMLError as problem:
        raise UsageError(line(path, f"no YAML: {problem}"), hint=HINT) from None
    return node


def _told(problem: yaml.MarkedYAMLError) -> str:
    parts = (problem.problem, problem.context)
    return " ".join(", ".join(part for part in parts if part).split()) or "no YAML"


def _code(problem: Any) -> int:
    return problem.character if isinstance(problem.character, int) else ord(str(problem.character)[:1] or "\0")


def _at(path: str, text: str, position: int, found: str) -> UsageError:
    before = text[:position]
    row, column = before.count("\n") + 1, position - before.rfind("\n")
    return UsageError(line(f"{path}:{row}:{column}", found), hint=HINT)


def refusal(path: str, mark: Any, found: str) -> UsageError:
    """`path:line:column: found`."""
    where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else path
    return UsageError(line(where, found), hint=HINT)


def read_text(path: str, limit: int = MAX_BYTES) -> str:
    """The text of a small UTF-8 file. Raises UnreadableFile, UsageError for what is too large or not UTF-8."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UnreadableFile(line(path, "not a file"))
        with open(path, "rb") as stream:
            data = stream.read(limit + 1)
    except (OSError, ValueError) as problem:
        reason = os.strerror(problem.errno) if isinstance(problem, OSError) and problem.errno else str(problem)
        raise UnreadableFile(line(path, reason), hint=HINT) from None
    if len(data) > limit:
        raise UsageError(line(path, f"larger than {limit // 1024:,} KiB (a few lines expected)"), hint=HINT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = data[: problem.start]
        row, column = before.count(b"\n") + 1, problem.start - before.rfind(b"\n")
        raise UsageError(line(f"{path}:{row}:{column}", "not UTF-8 text (UTF-8 expected)"), hint=HINT) from None
