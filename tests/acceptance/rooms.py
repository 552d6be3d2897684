"""One case of the damaged and hostile rooms: every command on every file, and what was wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .corpus import Case
from .sandbox import Run, expected_exits, faults, named_globals, run

COMMANDS = (("show",), ("show", "--json"), ("show", "--no-stats"))


@dataclass
class Hurt:
    """`wrong` is empty for a case that passes; figures are the worst of its commands."""

    case: str
    wrong: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    said: str = ""
    """First line of the first error or report."""


def hurt(case: Case) -> Hurt:
    """Run every command on every file of the case."""
    result = Hurt(case.id)
    for path in (case.folder / name for name in case.truth["files"]):
        for command, *options in COMMANDS:
            done = run(command, str(path), *options)
            result.wrong += [f"{' '.join((command, *options))}: {line}" for line in _wrong(case, path, done)]
            result.exits.append(done.status)
            result.seconds = max(result.seconds, done.seconds)
            result.peak_mb = max(result.peak_mb, done.peak_mb)
            result.said = result.said or (done.err or done.out).strip().partition("\n")[0]
    return result


def _wrong(case: Case, path: Path, done: Run) -> Iterator[str]:
    yield from faults(case, path, done)
    if done.status not in (allowed := expected_exits(case, path)):
        expected, said = case.truth["expected_finding"], done.err.strip()
        yield f"exit {done.status}, not {allowed} ({expected:.80}): {said:.150}"
    if "--json" in done.arguments:
        yield from _json_faults(done)
    elif done.status != 2:
        unsaid = [name for name in named_globals(path) if name not in done.out + done.err]
        yield from (f"{name} is in the pickle and not in the report" for name in unsaid)


def _json_faults(done: Run) -> Iterator[str]:
    """One object, no bare NaN, the status it exits with; exit 1 has a finding to show for it."""

    def bare(constant: str) -> float:
        raise ValueError(f"bare {constant}")

    try:
        report = json.loads(done.out, parse_constant=bare)
    except ValueError as error:
        yield f"no JSON: {error}"
        return
    if report["status"] != done.status:
        yield f"status {report['status']} in the report, exit {done.status}"
    if done.status == 1 and not report["findings"]:
        yield "exit 1 without a finding"
