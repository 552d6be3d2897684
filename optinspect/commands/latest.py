"""Which checkpoint of a directory is the newest: by the step that it states, else by its name, else by its time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from optinspect.checkpoint import Checkpoint
from optinspect.checks.counters import COUNTER
from optinspect.commands.check_run import is_of_call
from optinspect.directories.search import Place, Search
from optinspect.errors import LimitExceeded, OptinspectError, UnknownRoute
from optinspect.layouts.base import last

BY_STEP, BY_EPOCH, BY_NAME, BY_TIME = "step in the file", "epoch in the file", "name", "modification time"
EPOCH = re.compile(r"(?:(?:current|cur|last|train)_)?epochs?(?:_num|_idx)?", re.IGNORECASE)
NUMBER = re.compile(r"\d+")
STEP = re.compile(r"(?:step|iter|iteration|update|checkpoint|ckpt)s?[-_=.]?(\d+)(?!\.\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint that may be resumed from, with what it states of itself: steps, epochs.

    complete  a model is in it too: of two at the same step the better one
    """

    path: str
    modified: float
    step: float | None = None
    epoch: float | None = None
    complete: bool = True
    ordered_by: str = BY_TIME
    problem: OptinspectError | None = None

    @property
    def name(self) -> str:
        return os.path.basename(self.path)  # noqa: PTH119

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(each) for each in NUMBER.findall(self.name))

    @property
    def kin(self) -> tuple[str, str]:
        """What it has in common with those whose names differ in numbers alone."""
        return os.path.dirname(self.path), NUMBER.sub("#", self.name)  # noqa: PTH120

    @property
    def known_step(self) -> float | None:
        """As the file states it, else as its name does."""
        found = STEP.findall(self.name) if self.step is None else []
        return float(found[-1]) if found else self.step


@dataclass
class Found:
    """What lies in a directory: candidates newest first, and what was passed over: nothing can resume from it."""

    candidates: list[Candidate] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    """Without an optimizer."""
    unfinished: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)


def find(directory: str, opened: Callable[[str], Checkpoint]) -> Found:
    """Everything in the directory that is, or was meant to be, a checkpoint; each is opened.

    Raises UnreadableFile for what is no directory, UsageError for options that suit no checkpoint.
    """
    search = Search()
    found = Found()
    without: list[Candidate] = []
    for place in search.places(directory):
        candidate, whole = _look(place, opened)
        if candidate is not None and whole:
            found.candidates.append(candidate)
        elif candidate is not None:
            without.append(candidate)
    kin = {each.kin for each in found.candidates}
    found.candidates = newest_first([*found.candidates, *(each for each in without if each.kin in kin)])
    found.weights = [each.path for each in without if each.kin not in kin]
    found.unfinished, found.unlisted = search.unfinished, search.unlisted
    return found


def _look(place: Place, opened: Callable[[str], Checkpoint]) -> tuple[Candidate | None, bool]:
    """The candidate, and whether an optimizer is in it, or could be but for damage."""
    modified = _modified(place.path)
    try:
        with opened(place.path) as checkpoint:
            if not checkpoint.optimizers and not checkpoint.models and not checkpoint.problems:
                return None, False
            whole = bool(checkpoint.optimizers or checkpoint.problems)
            return Candidate(place.path, modified, *_stated(checkpoint), bool(checkpoint.models)), whole
    except OptinspectError as problem:
        if is_of_call(problem):
            raise
        told = Candidate(place.path, modified, problem=problem)
        readable = isinstance(problem, LimitExceeded) or (isinstance(problem, UnknownRoute) and bool(problem.found))
        return (told, True) if place.sure or readable else (None, False)


def _stated(checkpoint: Checkpoint) -> tuple[float | None, float | None]:
    """(step, epoch): the optimizer's own count, else the run's; the run's epoch."""
    steps = [step for optimizer in checkpoint.optimizers for step in optimizer.steps if 0 <= step < float("inf")]
    counts = [value for route, value in checkpoint.counters.items() if COUNTER.fullmatch(last(route)) and value >= 0]
    epochs = [value for route, value in checkpoint.counters.items() if EPOCH.fullmatch(last(route)) and value >= 0]
    step, epoch = max(steps or counts, default=None), max(epochs, default=None)
    return None if step is None else float(step), None if epoch is None else float(epoch)


def _modified(path: str) -> float:
    """Seconds: of a directory, of the file in it that was written last."""
    try:
        times = [os.stat(path).st_mtime]  # noqa: PTH116
        if os.path.isdir(path):  # noqa: PTH112
            with os.scandir(path) as entries:
                times += [entry.stat().st_mtime for entry in entries]
    except OSError:
        return 0.0
    return max(times)


def newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """By the steps that they state; by epochs first where steps start again in each (or an optimizer was made anew).

    What states nothing is put among them by the numbers in its name, else by its time.
    """
    rest = sorted(candidates, key=lambda each: (each.complete, each.modified, each.numbers, each.path), reverse=True)
    told = [each for each in rest if each.step is not None] or [each for each in rest if each.epoch is not None]
    rest = [each for each in rest if each not in told]
    by = BY_EPOCH if _start_again(told) or any(each.step is None for each in told) else BY_STEP
    ordered = sorted(told, key=lambda each: _age(each, by), reverse=True)
    ordered = [replace(each, ordered_by=by) for each in ordered]
    for each in sorted(rest, key=lambda each: (each.epoch or 0, each.numbers)):
        place, by = _place(each, ordered)
        ordered.insert(place, replace(each, ordered_by=by))
    return ordered


def _start_again(told: Iterable[Candidate]) -> bool:
    """Whether a later epoch has a smaller step."""
    pairs = sorted((each.epoch, each.step) for each in told if each.epoch is not None and each.step is not None)
    return any(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(pairs))


def _age(each: Candidate, by: str) -> tuple[float, ...]:
    unknown = -1.0
    step, epoch = (unknown if value is None else value for value in (each.step, each.epoch))
    return (step,) if by == BY_STEP else (epoch, step)


def _place(candidate: Candidate, ordered: Sequence[Candidate]) -> tuple[int, str]:
    """Before the first one that is older, as far as anything tells; and what told it."""
    kin = [number for number, each in enumerate(ordered) if each.kin == candidate.kin]
    if candidate.epoch is not None and any(each.epoch is not None for each in ordered):
        return _before(ordered, candidate.epoch, [each.epoch for each in ordered]), BY_EPOCH
    if candidate.numbers and kin:
        older = (number for number in kin if ordered[number].numbers < candidate.numbers)
        return next(older, kin[-1] + 1), BY_NAME
    if candidate.known_step is not None and any(each.known_step is not None for each in ordered):
        return _before(ordered, candidate.known_step, [each.known_step for each in ordered]), BY_NAME
    return _before(ordered, candidate.modified, [each.modified for each in ordered]), BY_TIME


def _before(ordered: Sequence[Candidate], value: float, values: Sequence[float | None]) -> int:
    """The place of the first that has no greater value; the end where all have."""
    return next((n for n, other in enumerate(values) if other is not None and other <= value), len(ordered))
