"""One run of `check`: options that contradict each other, and one of several paths that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from optinspect.commands.check_result import Checked, Unread
from optinspect.commands.targets import Target
from optinspect.errors import OptinspectError, UnknownRoute, UsageError


class Asked(Protocol):
    """The options that do not go together with others."""

    @property
    def latest(self) -> str | None: ...
    @property
    def previous(self) -> str | None: ...
    @property
    def baseline(self) -> str | None: ...
    @property
    def update_baseline(self) -> bool: ...


def agree(paths: Sequence[str], asked: Asked) -> None:
    """Raises UsageError for options that contradict each other, and where nothing is to be checked."""
    if asked.update_baseline and asked.baseline is None:
        raise UsageError("--update-baseline needs --baseline FILE")
    given = (*paths, *(each for each in (asked.latest, asked.previous, asked.baseline) if each is not None))
    if "" in given:
        raise UsageError("an empty path was given", hint="a variable of the script may not be set")
    if asked.latest is None:
        if not paths:
            raise UsageError("no checkpoint to check", hint="optinspect check CKPT, or optinspect check --latest DIR")
        return
    if paths:
        raise UsageError(f"--latest {asked.latest}: it finds the checkpoints, so {paths[0]} cannot be given too")
    if asked.previous is not None or asked.update_baseline:
        other = "--previous" if asked.previous is not None else "--update-baseline"
        raise UsageError(f"{other} does not go with --latest", hint="give the checkpoint itself")


def one(target: Target, check: Callable[[str], Checked], *, several: bool) -> Checked | Unread:
    """What is said of one path. Raises what its only path raises, and what is no path's fault."""
    try:
        if target.problem is not None:
            raise target.problem
        return check(target.path)
    except OptinspectError as problem:
        if not several or is_of_call(problem):
            raise
        return Unread(target.path, problem)


def is_of_call(problem: OptinspectError) -> bool:
    """Whether it says nothing of any checkpoint: an option, the user's own function; each path would raise it again."""
    return isinstance(problem, UsageError) and not isinstance(problem, UnknownRoute)
