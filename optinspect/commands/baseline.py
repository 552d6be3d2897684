"""A baseline: findings that are known and accepted, by rule and place. Only new ones count.

    {"optinspect_baseline": 1, "findings": [
      {"rule": "OI801", "checkpoint": null, "route": "optimizer.param_groups[0]", "parameter": null}]}

`checkpoint` is the path relative to the baseline's folder; null, as it is written from a single checkpoint, holds for
every one: the next save of a run has another name, and the same findings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from optinspect.commands.check_result import Checked
from optinspect.containers.wording import line
from optinspect.errors import UnreadableFile, UsageError
from optinspect.report import Finding, Place

VERSION = 1
MARK = "optinspect_baseline"
MOST_BYTES = 64 << 20
KEYS = ("rule", "checkpoint", "route", "parameter")


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of a known finding. Figures are no part of it."""

    rule: str
    checkpoint: str | None
    route: str | None
    parameter: str | None

    @property
    def key(self) -> tuple[str, ...]:
        """How entries are sorted: without a checkpoint first."""
        return (self.rule, *(part or "" for part in (self.checkpoint, self.route, self.parameter)))


@dataclass(frozen=True)
class Baseline:
    """The entries of a file."""

    path: str
    entries: frozenset[Entry] = frozenset()

    @classmethod
    def read(cls, path: str, *, may_be_new: bool = False) -> Baseline:
        """Raises UnreadableFile where it is missing (unless it `may_be_new`), UsageError where it is no baseline."""
        try:
            with open(path, "rb") as stream:
                raw = stream.read(MOST_BYTES + 1)
        except FileNotFoundError:
            if may_be_new:
                return cls(path)
            raise UnreadableFile(line(path, "no such baseline"), hint="--update-baseline writes it") from None
        except (OSError, ValueError) as problem:
            told = getattr(problem, "strerror", None) or problem
            raise UnreadableFile(line(path, f"the baseline cannot be read: {told}")) from None
        return cls(path, frozenset(_entries(path, raw)))

    def split(self, checked: Checked) -> Checked:
        """The same with the findings that the baseline lists, at all of their places, set apart."""
        known = tuple(each for each in checked.findings if self._lists(checked, each))
        new = tuple(each for each in checked.findings if each not in known)
        return replace(checked, findings=new, known=(*checked.known, *known))

    def _lists(self, checked: Checked, finding: Finding) -> bool:
        return all(self._entry(checked, finding.rule, place) is not None for place in finding.places)

    def _entry(self, checked: Checked, rule: str, place: Place) -> Entry | None:
        every = (Entry(rule, None, *place), Entry(rule, self.relative(checked.path), *place))
        return next((entry for entry in every if entry in self.entries), None)

    def fixed(self, checked: Sequence[Checked]) -> frozenset[Entry]:
        """Entries that are found no more: their rule was asked wherever they may be, and finds nothing there."""
        missing = self.entries - self.known(checked)
        return frozenset(entry for entry in missing if self._looked_at(entry, checked))

    def _looked_at(self, entry: Entry, checked: Sequence[Checked]) -> bool:
        about = [each for each in checked if entry.checkpoint in (None, self.relative(each.path))]
        return bool(about) and all(each.asked(entry.rule) for each in about)

    def known(self, checked: Sequence[Checked]) -> frozenset[Entry]:
        """Entries that are found, counting or not."""
        places = ((one, each.rule, place) for one in checked for each in one.every for place in each.places)
        entries = (self._entry(one, rule, place) for one, rule, place in places)
        return frozenset(entry for entry in entries if entry is not None)

    def updated(self, checked: Sequence[Checked], *, several: bool) -> Baseline:
        """With every finding that counts now, without what is fixed; what was not looked at is kept."""
        added = {
            self._entry(one, each.rule, place) or Entry(each.rule, self.relative(one.path) if several else None, *place)
            for one in checked
            for each in (*one.findings, *one.known)
            for place in each.places
        }
        return Baseline(self.path, (self.entries - self.fixed(checked)) | added)

    def relative(self, path: str) -> str:
        """A path as it stands in the baseline: from the baseline's folder, with "/"."""
        try:
            shown = os.path.relpath(path, os.path.dirname(self.path) or os.curdir)  # noqa: PTH120
        except ValueError:  # on another drive
            shown = os.path.abspath(path)  # noqa: PTH100
        return Path(shown).as_posix()

    @property
    def text(self) -> str:
        """Sorted, an entry a line: a change of it is easy to review."""
        every = sorted(self.entries, key=lambda entry: entry.key)
        lines = ",\n".join(f"  {json.dumps(asdict(entry))}" for entry in every)
        return f'{{\n "{MARK}": {VERSION},\n "findings": [\n{lines}{chr(10) if lines else ""} ]\n}}\n'


def _entries(path: str, raw: bytes) -> Iterable[Entry]:
    if len(raw) > MOST_BYTES:
        raise UsageError(line(path, f"no baseline: more than {MOST_BYTES >> 20} MiB"))
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise _malformed(path, "no JSON") from None
    if not isinstance(value, dict) or MARK not in value:
        raise _malformed(path, f"no key {MARK}")
    if value[MARK] != VERSION:
        raise _malformed(path, f"version {value[MARK]!r:.40} (expected {VERSION})")
    listed = value.get("findings")
    if set(value) != {MARK, "findings"} or not isinstance(listed, list):
        raise _malformed(path, f"expected the keys {MARK} and findings, a list")
    for number, each in enumerate(listed):
        if not _is_entry(each):
            raise _malformed(path, f"findings[{number}] (expected {', '.join(KEYS)}: texts, or null but for rule)")
        yield Entry(**each)


def _is_entry(each: object) -> bool:
    if not isinstance(each, dict) or set(each) != set(KEYS) or not isinstance(each["rule"], str):
        return False
    return all(isinstance(value, str | None) for value in each.values())


def _malformed(path: str, why: str) -> UsageError:
    return UsageError(
        f"{path}: not a baseline of optinspect: {why}", hint="--baseline names what --update-baseline wrote"
    )
