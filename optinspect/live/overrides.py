"""Settings that the caller of `load` wants instead of the file's: checked before, set after loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optinspect.errors import UsageError
from optinspect.live.case import Case, overriding


def check_overrides(case: Case) -> None:
    """Raise UsageError for a key that no group has, a list of the wrong length, a number in the place of a pair."""
    held = {key for group in case.groups for key in group} - {"params", "param_names"}
    for key, value in case.overrides.items():
        if key not in held:
            raise UsageError(f"load: no group has {key!r:.60} (expected one of {', '.join(sorted(held))[:90]})")
        if isinstance(value, list) and len(value) != len(case.groups):
            raise UsageError(
                f"load: {key} is a list of {len(value)} (expected one value for each of {len(case.groups)} groups)"
            )
    for number, group in enumerate(case.groups):
        stored = case.file.groups[number].hyperparameters if number < len(case.file.groups) else {}
        for key, value in _resolved(case.overrides, {**group, **stored}, number).items():
            _fits(key, value, group.get(key), number)


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


def apply(case: Case) -> None:
    """Set the overrides in the groups as they are after loading; an lr that is a tensor stays one."""
    for number, group in enumerate(case.members.optimizer.param_groups):
        for key, value in overriding(case.overrides, group, number).items():
            held: Any = group.get(key)
            keeps_tensor = hasattr(held, "new_tensor") and not hasattr(value, "numel")
            group[key] = held.new_tensor(value) if keeps_tensor else value
