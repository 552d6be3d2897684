"""`check --baseline FILE`: which findings are known, which are found no more, and what is written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from optinspect import writing
from optinspect.commands.baseline import Baseline, Entry
from optinspect.commands.check_result import Checked
from optinspect.commands.wording import counted
from optinspect.containers.wording import line
from optinspect.errors import UsageError
from optinspect.render.places import told
from optinspect.report import Column, Line, Table, Unit

SHOWN = 5
COLUMNS = (
    Column("rule", "rule", Unit.TEXT, 0),
    Column("checkpoint", "checkpoint", Unit.NAME, 1),
    Column("route", "route", Unit.NAME, 0),
    Column("parameter", "parameter", Unit.NAME, 0),
    Column("state", "state", Unit.TEXT, 0),
)


@dataclass(frozen=True)
class Compared:
    """A baseline beside what was found. `written`: what it is from now on, with --update-baseline."""

    baseline: Baseline
    fixed: frozenset[Entry]
    known: frozenset[Entry]
    written: Baseline | None = None

    @property
    def table(self) -> Table:
        """Every entry as it was before the run."""
        states = {**dict.fromkeys(self.known, "known"), **dict.fromkeys(self.fixed, "fixed")}
        every = sorted(self.baseline.entries, key=lambda entry: entry.key)
        rows = [{**asdict(entry), "state": states.get(entry, "not looked at")} for entry in every]
        return Table("known", "Baseline", COLUMNS, rows, machine=True)

    @property
    def lines(self) -> list[Line]:
        """What is found no more, place by place; then the count, or what was written."""
        gone = sorted(self.fixed, key=lambda entry: entry.key)
        lines = [Line("fixed", _said(entry)) for entry in gone[:SHOWN]]
        if len(gone) > SHOWN:
            lines.append(Line("fixed", f"{len(gone) - SHOWN:,} more (--format json lists them)"))
        return [*lines, Line("baseline", self._sum())]

    def _sum(self) -> str:
        if self.written is None:
            again = "; --update-baseline takes out what is fixed" if self.fixed else ""
            return f"{self.baseline.path}: {len(self.known):,} known, {len(self.fixed):,} fixed{again}"
        before, after = self.baseline.entries, self.written.entries
        if before == after and before:
            return f"{self.baseline.path}: unchanged, {_entries(len(after))}"
        told = f"{len(after - before):,} new, {len(before - after):,} taken out"
        return f"{self.baseline.path}: written, {_entries(len(after))} ({told})"


def compare(path: str, checked: Sequence[Checked], *, update: bool, several: bool) -> tuple[Compared, list[Checked]]:
    """What the baseline says of these checkpoints, and them with their known findings apart; with `update`, after
    writing it anew, which makes all findings known. Raises UnreadableFile, UsageError; what reading it raises.
    """
    if update and not writing.is_ordinary(path):
        raise UsageError(line(path, "--update-baseline cannot write it anew (a regular file expected)"))
    baseline = Baseline.read(path, may_be_new=update)
    split = [baseline.split(each) for each in checked]
    fixed, known = baseline.fixed(split), baseline.known(split)
    if not update:
        return Compared(baseline, fixed, known), split
    written = baseline.updated(split, several=several)
    if written.entries != baseline.entries or not Path(path).exists():
        writing.write_utf8(path, written.text, force=True)
    return Compared(baseline, fixed, known, written), [written.split(each) for each in checked]


def _said(entry: Entry) -> str:
    place = told((entry.route, entry.parameter))
    where = f" of {entry.checkpoint}" if entry.checkpoint else ""
    return f"{entry.rule}{f' {place}' if place else ''}{where} is found no more"


def _entries(count: int) -> str:
    return counted(count, "entry", "entries")
