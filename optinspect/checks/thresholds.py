"""Limits of the rules that a recipe may have reason to move; each field carries its range and what it is for."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any


def _limit(default: float, low: float, high: float, about: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "about": about})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The defaults are what was measured on healthy checkpoints; a policy moves them."""

    lr_tolerance: float = _limit(1e-6, 0, 1, "OI701, OI704: how far lr may be from what the scheduler set, relative")
    """A learning rate kept in a float32 tensor is off by 6e-8, one by 1e-9 where torch recomputes it."""
    schedule_tolerance: float = _limit(1e-4, 0, 1, "OI702: how far lr may be from the scheduler's formula, relative")
    """torch's recurrences were within 1e-9 of the closed forms after 10,000 steps (StepLR to LinearLR)."""
    step_slack: float = _limit(1, 0, 1e12, "OI405: steps that a counter or scheduler may be away from the state's")
    """One: a counter that is written before the step, or after it."""
    skipped_steps: float = _limit(0.1, 0, 1, "OI405: share of the steps that a GradScaler may have skipped")
    """A scaler that starts at 65536 skips about ten steps until it fits."""
    collapsed_scale: float = _limit(2.0**-14, 0, 2.0**40, "OI711: a loss scale below it has collapsed")
    """2^-14 is float16's smallest normal number: gradients would be pushed under it, instead of above it."""
    outlier_gap: float = _limit(20, 1, 300, "OI316: powers of two between an outlier and everything else")
    """No tensor of 60 healthy checkpoints has a gap of more than 8 above 2^10."""
    outlier_weight: float = _limit(1e6, 0, 1e38, "OI316: weights below it are no outliers")
    outlier_state: float = _limit(1e4, 0, 1e38, "OI316: values of the state below it are no outliers")
    inert_updates: float = _limit(0.5, 0, 1, "OI318: share of the updates that may round to nothing")


LIMITS: tuple[Field[Any], ...] = fields(Thresholds)
"""Name, default, and in `metadata` low, high and about."""
