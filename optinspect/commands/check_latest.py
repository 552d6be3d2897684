"""`check --latest DIR`: the newest checkpoint that passes, and why newer ones do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.commands import check_run, latest
from optinspect.commands.check_result import Checked, Unread
from optinspect.commands.latest import Candidate, Found
from optinspect.commands.targets import Target
from optinspect.commands.wording import counted, some
from optinspect.report import Column, Line, Severity, Table, Unit

TOLD = 5
"""Newer checkpoints that failed, of which people are told why; the table has them all."""

SHOWN = 30
"""More candidates than these are told to machines only: people read what was chosen, and why newer ones fail."""

COLUMNS = (
    Column("path", "path", Unit.NAME, 0),
    Column("step", "step", Unit.STEP, 0),
    Column("ordered_by", "ordered by", Unit.TEXT, 2),
    Column("result", "result", Unit.TEXT, 0),
    Column("reason", "reason", Unit.TEXT, 1),
)


@dataclass(frozen=True)
class Searched:
    """What was found in a directory, and what became of those that were checked, newest first."""

    directory: str
    found: Found
    results: list[Checked | Unread]
    chosen: Checked | None

    @property
    def table(self) -> Table:
        by_path = {each.path: each for each in self.results}
        rows = [self._row(each, by_path.get(each.path)) for each in self.found.candidates]
        return Table("candidates", "Checkpoints, newest first", COLUMNS, rows, machine=len(rows) > SHOWN)

    def _row(self, candidate: Candidate, result: Checked | Unread | None) -> dict[str, Any]:
        step = candidate.known_step
        told = "not checked" if result is None else "unreadable" if isinstance(result, Unread) else "fails"
        return {
            "path": candidate.path,
            "step": int(step) if step is not None and step.is_integer() else step,
            "ordered_by": candidate.ordered_by,
            "result": "passes" if result is not None and result is self.chosen else told,
            "reason": None if result is None or result is self.chosen else reason(result),
        }

    @property
    def headline(self) -> list[Line]:
        newer = [each for each in self.results if each is not self.chosen]
        label = "newer" if self.chosen else "fails"
        lines = [Line(label, f"{each.path}: {reason(each)}", Severity.ERROR) for each in newer[:TOLD]]
        if len(newer) > TOLD:
            lines.append(Line(label, f"{len(newer) - TOLD:,} more"))
        return [self._verdict(), *lines]

    def _verdict(self) -> Line:
        if self.chosen is None:
            count = len(self.results)
            unread = all(isinstance(each, Unread) for each in self.results)
            none = f"none of {counted(count, 'checkpoint')} {'could be checked' if unread else 'passes'}"
            told = none if count else "there is none"
            return Line("latest", f"{told} in {self.directory}", Severity.ERROR)
        row = next(each for each in self.found.candidates if each.path == self.chosen.path)
        step = f", step {row.known_step:,.0f}" if row.known_step is not None else ""
        return Line("latest", f"{self.chosen.path}{step}, newest by {row.ordered_by}")

    @property
    def footer(self) -> list[Line]:
        """What was passed over."""
        told = (
            (self.found.weights, "without an optimizer"),
            (self.found.unfinished, "unfinished by its name"),
            (self.found.unlisted, "a directory that cannot be listed"),
        )
        return [Line("left out", f"{why}: {some(paths)}") for paths, why in told if paths]


def search(
    directory: str, opened: Callable[[str], Checkpoint], check: Callable[[str], Checked], fail_on: str
) -> Searched:
    """Check from the newest on until one passes. Raises UnreadableFile for what is no directory."""
    found = latest.find(directory, opened)
    results: list[Checked | Unread] = []
    for candidate in found.candidates:
        result = check_run.one(Target(candidate.path, candidate.problem), check, several=True)
        results.append(result)
        if isinstance(result, Checked) and result.has_optimizer and not result.fails(fail_on):
            return Searched(directory, found, results, result)
    return Searched(directory, found, results, None)


def reason(result: Checked | Unread) -> str:
    """Why it does not pass: the error, or the gravest finding."""
    if isinstance(result, Unread):
        return result.reason
    order = list(Severity)
    found = sorted(result.findings, key=lambda each: order.index(each.severity))
    if not found:
        return "no optimizer state in it"
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return f"{found[0].rule} {found[0].message}{more}"
