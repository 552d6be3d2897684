"""Which parameters one side has and the other lacks, where a group of the file and a live group differ in size.

Names decide where the file has them: recorded ones, or those that the model beside the optimizer gives. Else the
shapes do: both sides keep one order as far as they can, and what no such pairing needs is left over. Where several
parameters of one shape may be the one, all of them are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optinspect.checkpoint import ParameterState
from optinspect.live.case import Case
from optinspect.live.members import Member
from optinspect.live.misfit import joined, listed
from optinspect.naming.recorded import plain

MAX_CELLS = 2_000_000
"""Of the table that aligns shapes: 1,400 parameters on both sides, some two seconds."""

MAX_CANDIDATES = 12
"""Of more, nothing is said: that one of hundreds is missing helps nobody."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LeftOver:
    """missing: live names that the file lacks; extra: what to call the file's that the optimizer lacks.

    sure  False where the names are candidates: more of them than are really left over
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    sure: bool = True
    named: bool = True
    """Whether `extra` are names."""
    lost: int = 0
    """How many of the candidates are really left over, where it is not sure which."""

    def __str__(self) -> str:
        one_of = "" if self.sure else f"{self.lost if self.lost > 1 else 'one'} of "
        told = []
        for labels, side in ((self.missing, "missing in the file"), (self.extra, "in no group here")):
            if labels:
                verb = "is" if len(labels) == 1 or (one_of and self.lost == 1) else "are"
                names = listed(labels) if self.named or labels is self.missing else joined(labels)
                told.append(f"{one_of}{names} {verb} {side}")
        return ", ".join(told)


def left_over(case: Case, members: Sequence[Member], states: Sequence[ParameterState]) -> LeftOver | None:
    """None where nothing tells."""
    written = [case.written.get(state.index) for state in states]
    if states and all(written):
        held = {name for name in written if name}
        own = {plain(name) for member in members for name in member.names}
        missing = tuple(member.label for member in members if not {*map(plain, member.names)} & held)
        return LeftOver(missing, tuple(name for name in written if name and name not in own))
    return _by_model(case, members, states) or _by_naming(case, members, states) or _by_shapes(members, states)


def _by_model(case: Case, members: Sequence[Member], states: Sequence[ParameterState]) -> LeftOver | None:
    """What only one of the two models has, where that explains the difference in number."""
    if case.model is None or not case.known_names:
        return None
    held = {plain(name) for name in case.model.by_name}
    missing = tuple(each.label for each in members if each.names and not {*map(plain, each.names)} & held)
    extra = tuple(each.name for each in case.model.parameters if plain(each.name) not in case.known_names)
    for left, over in ((missing, ()), ((), extra), (missing, extra)):
        if (left or over) and len(members) - len(left) == len(states) - len(over):
            return LeftOver(left, over)
    return None


def _by_naming(case: Case, members: Sequence[Member], states: Sequence[ParameterState]) -> LeftOver | None:
    """What the names that the file's own model gives its states tell, where they explain the difference in number."""
    rows = [case.naming.parameters[state.index] for state in states]
    known = [{plain(name) for name in (row.name, *row.aliases) if name is not None} for row in rows]
    own = {plain(name) for member in members for name in member.names}
    if not states or not all(known) or not all(member.names for member in members):
        return None
    missing = tuple(each.label for each in members if not {*map(plain, each.names)} & set().union(*known))
    extra = tuple(str(row.name) for row, names in zip(rows, known, strict=True) if not names & own)
    fits = (missing or extra) and len(members) - len(missing) == len(states) - len(extra)
    return LeftOver(missing, extra) if fits else None


def _by_shapes(members: Sequence[Member], states: Sequence[ParameterState]) -> LeftOver | None:
    live: list[Shape | None] = [tuple(member.tensor.shape) for member in members]
    file = [state.shape for state in states]
    if len(live) * len(file) > MAX_CELLS or not any(shape is not None for shape in file):
        return None
    missing, extra, lost_here, lost_there = _aligned(live, file)
    sure = len(missing) == lost_here and len(extra) == lost_there
    if (lost_here and lost_there) or (not sure and len(missing) + len(extra) > MAX_CANDIDATES):
        return None
    told = [f"index {states[place].index} {_shaped(file[place])}" for place in extra]
    return LeftOver(
        tuple(members[place].label for place in missing), tuple(told), sure, named=False, lost=lost_here + lost_there
    )


def _shaped(shape: Shape | None) -> str:
    return "without state" if shape is None else f"of shape {list(shape)}"


def _aligned(a: list[Shape | None], b: list[Shape | None]) -> tuple[list[int], list[int], int, int]:
    """Places of a and of b that some longest common subsequence leaves out, and how many each leaves out."""
    before, after = _table(a, b), [row[::-1] for row in _table(a[::-1], b[::-1])[::-1]]
    best = before[len(a)][len(b)]
    out_a = [i for i in range(len(a)) if any(before[i][j] + after[i + 1][j] == best for j in range(len(b) + 1))]
    out_b = [j for j in range(len(b)) if any(before[i][j] + after[i][j + 1] == best for i in range(len(a) + 1))]
    return out_a, out_b, len(a) - best, len(b) - best


def _table(a: list[Shape | None], b: list[Shape | None]) -> list[list[int]]:
    """Length of the longest common subsequence of every pair of beginnings; None fits every shape."""
    rows = [[0] * (len(b) + 1)]
    for one in a:
        last, row = rows[-1], [0]
        for place, other in enumerate(b):
            fits = one is None or other is None or one == other
            row.append(max(last[place + 1], row[place], last[place] + fits))
        rows.append(row)
    return rows
