"""What is said on stderr of inputs that could not be read, while others were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from optinspect.errors import LimitExceeded, UsageError
from optinspect.report import Failure

OF_CALL = (UsageError.__name__, LimitExceeded.__name__)
"""Kinds that come from what the call asks of every file alike: a route, a limit."""


def told(failures: Iterable[Failure]) -> Iterator[tuple[str, str | None]]:
    """(message, hint) of each; what the call is at fault for once, with the number of files that it fails for."""
    alike: dict[tuple[str, str | None], list[Failure]] = {}
    for each in failures:
        key = each.hint if each.kind in OF_CALL else each.input
        alike.setdefault((each.kind, key), []).append(each)
    for first, *others in alike.values():
        yield first.message + (f"; so it is with {len(others):,} more" if others else ""), first.hint
