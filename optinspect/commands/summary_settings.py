"""What stands out in the groups of a live optimizer: learning rates that were changed, groups that came later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optinspect.checkpoint import ParamGroup
from optinspect.commands.show_remarks import OUT
from optinspect.commands.summary_facts import Live
from optinspect.commands.wording import counted, some
from optinspect.report import Line, Severity

STARTS = ("initial_lr", "base_lr")
"""Where a group keeps the lr that it started from: torch's schedulers, and others."""
TORCH = "a torch scheduler drives this optimizer"
OTHER = "no torch scheduler is attached: set by other code (or ReduceLROnPlateau), or loaded from a checkpoint"
GIVEN = "given to the group, or set since by other code (or ReduceLROnPlateau)"
"""ReduceLROnPlateau is the one scheduler of torch that leaves no trace in the optimizer."""


def remarks(live: Live) -> Iterator[Line]:
    groups = live.facts.checkpoint.optimizers[0].groups
    yield from _learning_rates(live, groups)
    yield from _added(live, groups)


def _learning_rates(live: Live, groups: Sequence[ParamGroup]) -> Iterator[Line]:
    """lr against what the group itself says it began with; else against the lr that the optimizer was made with."""
    began = {group.number: key for group in groups for key in reversed(STARTS) if group.number_of(key) is not None}
    moved = [group for group in groups if group.number in began and _differs(group, began[group.number])]
    label, cause = ("note", TORCH) if live.driven else (OUT, OTHER)
    for key in STARTS:
        ratios = [(group.number, _ratio(group, group.number_of(key))) for group in moved if began[group.number] == key]
        if ratios:
            yield Line(label, f"lr is {_told(ratios, key)}; {cause}")
    if live.driven and began and not moved:
        yield Line("note", f"{TORCH}; every lr is its initial_lr now")
    made = _number(_defaults(live).get("lr"))
    if not began and made is not None:
        ratios = [(group.number, _ratio(group, made)) for group in groups if group.number_of("lr") not in (None, made)]
        if ratios:
            told = f"lr is {_told(ratios, f'the {made:g} that the optimizer was made with')}"
            yield Line("note", f"{told}: {TORCH if live.driven else GIVEN}")


def _differs(group: ParamGroup, key: str) -> bool:
    return group.number_of("lr") != group.number_of(key)


def _ratio(group: ParamGroup, start: float | None) -> float | None:
    """lr over what it began with; None where that was 0, or lr is no number."""
    lr = group.number_of("lr")
    return lr / start if lr is not None and start else None


def _told(ratios: Sequence[tuple[int, float | None]], start: str) -> str:
    """ "0.5 × initial_lr (groups 0, 1), 2 × initial_lr (group 2)"; what has no ratio is just not the same."""
    by_ratio: dict[str, list[int]] = {}
    for number, ratio in ratios:
        by_ratio.setdefault("not" if ratio is None else f"{ratio:.6g} ×", []).append(number)
    return some((f"{ratio} {start} ({_which(numbers)})" for ratio, numbers in by_ratio.items()), 4)


def _which(numbers: Sequence[int]) -> str:
    return f"{'group' if len(numbers) == 1 else 'groups'} {some(numbers, 6)}"


def _defaults(live: Live) -> Mapping[str, Any]:
    found = getattr(live.optimizer, "defaults", None)  # a wrapper may have none
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> float | None:
    """A number, or a tensor of one element."""
    if hasattr(value, "numel") and value.numel() == 1 and value.device.type != "meta":
        return float(value)
    return float(value) if isinstance(value, int | float) else None


def _added(live: Live, groups: Sequence[ParamGroup]) -> Iterator[Line]:
    """Groups that came after the others: without initial_lr, or with fewer steps in all their parameters."""
    without = [group.number for group in groups if group.number_of("initial_lr") is None]
    if live.driven and without and len(without) < len(groups):
        told = f"{_which(without)} came after the scheduler was made (no initial_lr)"
        passed = f"pass {'it' if len(without) == 1 else 'them'} over or fail"
        yield Line(OUT, f"{told}: schedulers that compute from base_lrs {passed}", Severity.WARNING)
    steps = {number: _steps(live, number) for number in (group.number for group in groups)}
    longest = max((max(found) for found in steps.values() if found), default=0)
    for number, found in steps.items():
        if found and max(found) < longest and len(steps) > 1:
            behind = counted(round(longest - max(found)), "step")
            yield Line("note", f"group {number} as a whole began {behind} later: added or unfrozen since")
        elif not found and longest and any(map(live.trains, live.facts.by_group.get((0, number), ()))):
            yield Line("note", f"group {number} has taken no step yet: added since, or without gradients")


def _steps(live: Live, number: int) -> list[float]:
    subjects = live.facts.by_group.get((0, number), ())
    return [one.state.step for one in subjects if one.state.step is not None]
