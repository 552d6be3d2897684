"""Settings that the caller of `load` wants instead of the file's: checked before, set after loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from optinspect.errors import MAX_MESSAGE, UsageError
from optinspect.live.case import Case, overriding
from optinspect.live.settings import SWITCHES

LISTED = 90
"""Characters of a list of names in a message."""


def check_overrides(case: Case) -> None:
    """Raise UsageError for a key that no group has, a list of the wrong length, a number in the place of a pair,
    or a value that torch's own constructor refuses.
    """
    held = {key for group in case.groups for key in group} - {"params", "param_names"}
    for key, value in case.overrides.items():
        if key not in held:
            raise UsageError(f"load: no group has {key!r:.60} (expected one of {_few(sorted(held))})")
        if isinstance(value, list) and len(value) != len(case.groups):
            raise UsageError(
                f"load: {key} is a list of {len(value)} (expected one value for each of {len(case.groups)} groups)"
            )
    for number, group in enumerate(case.groups):
        stored = case.file.groups[number].hyperparameters if number < len(case.file.groups) else {}
        wanted = _resolved(case.overrides, {**group, **stored}, number)
        for key, value in wanted.items():
            _fits(key, value, group.get(key), number)
        _accepted(case.kind, {**group, **stored}, wanted, number)


def _resolved(overrides: Mapping[str, Any], group: Mapping[str, Any], number: int) -> dict[str, Any]:
    try:
        return overriding(overrides, group, number)
    except Exception as problem:
        raise UsageError(f"load: a function among the overrides: {type(problem).__name__}: {problem}") from problem


def _fits(key: str, value: Any, live: Any, number: int) -> None:
    pair = isinstance(live, tuple | list)
    if pair and not (isinstance(value, tuple | list) and len(value) == len(live)):
        raise UsageError(f"load: {key} is {value!r:.60} for group {number} (expected a tuple of {len(live)}, as here)")
    if isinstance(live, int | float) and not isinstance(live, bool) and isinstance(value, str | tuple | list | dict):
        raise UsageError(f"load: {key} is {value!r:.60} for group {number} (expected a number)")


def _few(names: Sequence[str]) -> str:
    """As many whole names as a line takes, and "…" for the others."""
    told = ""
    for name in names:
        if len(told) + len(name) > LISTED:
            return f"{told}, …"
        told = f"{told}, {name}" if told else name
    return told


def _accepted(kind: type, group: Mapping[str, Any], wanted: Mapping[str, Any], number: int) -> None:
    """Ask torch's own constructor about the values; of a class that is not torch's the lr alone is looked at.

    Raises UsageError with the constructor's words.
    """
    lr = wanted.get("lr")
    if isinstance(lr, int | float) and not lr >= 0:  # NaN too
        raise UsageError(f"load: lr is {lr} for group {number} (expected 0 or more)")
    if not wanted or not kind.__module__.startswith("torch.optim."):
        return
    known = signature(kind).parameters.keys() - {"params", *SWITCHES}
    base = {key: value for key, value in group.items() if key in known}
    asked = {key: value for key, value in wanted.items() if key in known}
    problem = _problem(kind, {**base, **asked})
    if problem is None or _problem(kind, base) is not None:  # else it is not the overrides that are refused
        return
    key = next((key for key, value in asked.items() if _problem(kind, {**base, key: value}) is not None), None)
    what = f"{key} is {asked[key]!r:.60}" if key is not None else f"{', '.join(asked)[:60]} do not go together"
    raise UsageError(f"load: {what} for group {number} ({kind.__name__}: {problem})"[:MAX_MESSAGE])


def _problem(kind: Any, settings: Mapping[str, Any]) -> str | None:
    import torch  # noqa: PLC0415

    try:
        kind([torch.zeros(1, 1)], **settings)
    except Exception as problem:
        return str(problem).partition("\n")[0]
    return None


def apply(case: Case) -> None:
    """Set the overrides in the groups as they are after loading; an lr that is a tensor stays one."""
    for number, group in enumerate(case.members.optimizer.param_groups):
        for key, value in overriding(case.overrides, group, number).items():
            held: Any = group.get(key)
            keeps_tensor = hasattr(held, "new_tensor") and not hasattr(value, "numel")
            group[key] = held.new_tensor(value) if keeps_tensor else value
