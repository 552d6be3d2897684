"""Findings on some parameters that a policy accepts, told from those on others by asking the rule again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from optinspect.checks.expected import fits

if TYPE_CHECKING:
    from optinspect.checks.base import Complaint, Context


def apart(
    code: str, every: Sequence[Complaint], find: Callable[[Context], Sequence[Complaint]], context: Context
) -> tuple[Sequence[Complaint], Sequence[Complaint]]:
    """Of `every` complaint that the rule has in this context: those that count, and those that are waived.

    A complaint may speak of many parameters at once, so the rule is asked without the waived ones, then without the
    others. What is about a group or the file as a whole, whatever its parameters are called, counts.
    """
    globs = [glob for each in context.facts.terms.waivers if each.covers(code) for glob in each.names]
    if not every or not globs:
        return every, ()
    subjects = context.facts.subjects
    waived = {each.key for each in subjects if fits((each.named.name, *each.named.aliases), globs)}
    if not waived:
        return every, ()
    others = {each.key for each in subjects} - waived
    counting = find(replace(context, condemned=context.condemned | waived))
    left = [each for each in find(replace(context, condemned=context.condemned | others)) if each not in counting]
    return counting, left or [each for each in every if each not in counting]
