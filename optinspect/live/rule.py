"""A rule on live objects: a function of a Case whose docstring is its manual page, as in `checks`.

Rules run in their order, and what an error has condemned is not complained of again: one fault, one misfit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from optinspect.live.case import Case
from optinspect.live.misfit import Misfit, Reaction, Spot
from optinspect.report import Severity

Find = Callable[["Told", Case], Iterable[Misfit]]


@dataclass(frozen=True, slots=True)
class LiveRule:
    """`find` yields misfits, made with the rule itself; `title` says the fault, `repair` what to do as a rule."""

    code: str
    severity: Severity
    title: str
    find: Find
    repair: str | None = None
    requires: tuple[str, ...] = ()
    """As checks.base.Rule has it; here every error silences what it explains."""

    @property
    def page(self) -> str:
        return cleandoc(self.find.__doc__ or "")

    def __call__(self, case: Case) -> Iterator[Misfit]:
        yield from self.find(Told(self), case)


@dataclass(frozen=True, slots=True)
class Told:
    """Makes a rule's misfits."""

    rule: LiveRule

    def __call__(
        self,
        message: str,
        torch: Reaction,
        *spots: Spot,
        route: str | None = None,
        parameter: str | None = None,
        file: Any = None,
        live: Any = None,
        repair: str | None = None,
        severity: Severity | None = None,
    ) -> Misfit:
        rule = self.rule
        return Misfit(
            code=rule.code,
            title=rule.title,
            severity=severity or rule.severity,
            message=message,
            route=route,
            parameter=parameter,
            file=file,
            live=live,
            torch=torch,
            repair=repair or rule.repair,
            spots=spots or ((),),
        )


def live_rule(code: str, severity: Severity, *, title: str, repair: str | None = None) -> Callable[[Find], LiveRule]:
    """Make a rule of a function."""
    return lambda find: LiveRule(code, severity, title, find, repair)


def run(rules: Iterable[LiveRule], case: Case) -> tuple[Misfit, ...]:
    """Every misfit in the order of the rules, less what an earlier error explains."""
    found: list[Misfit] = []
    condemned: set[Spot] = set()
    for rule in rules:
        told = [each for each in rule(case) if not all(_explained(spot, condemned, case) for spot in each.spots)]
        found += told
        condemned.update(spot for each in told if each.severity is Severity.ERROR for spot in each.spots)
    return tuple(found)


def _explained(spot: Spot, condemned: set[Spot], case: Case) -> bool:
    """Whether this, or what it is a part of, is condemned. What is wrong with the model explains only itself."""
    wider: set[Spot] = {spot}
    if spot[:1] != ("model",):
        wider.add(())
    if spot[:1] == ("index",) and isinstance(spot[1], int):
        wider.add(("group", case.members.parameters[spot[1]].group))
    return bool(wider & condemned)
