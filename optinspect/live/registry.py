"""The rules on live objects, in the order in which they run."""

from __future__ import annotations

from typing import cast

from optinspect.checks.base import Find, Rule
from optinspect.live import belonging, groups, identity, models, presence, resumed, settings, states
from optinspect.live.case import Case
from optinspect.live.misfit import Misfit
from optinspect.live.rule import LiveRule, run

COMPARING: tuple[LiveRule, ...] = (
    *groups.RULES,
    *identity.RULES,
    *states.RULES,
    *presence.RULES,
    *settings.RULES,
    *models.RULES,
    *belonging.RULES,
)
"""Those that compare without running anything."""

LIVE_RULES: tuple[LiveRule, ...] = (*COMPARING, *resumed.RULES)


MANUAL: tuple[Rule, ...] = tuple(
    Rule(each.code, each.severity, each.title, cast(Find, each.find), (), each.repair) for each in LIVE_RULES
)
"""The same as rules of `check`, for lists and manual pages: they are run by `misfits`, not by checks.run."""


def misfits(case: Case) -> tuple[Misfit, ...]:
    """Everything in which the file does not fit what is in memory. Reads no values, changes nothing."""
    return run(COMPARING, case)
