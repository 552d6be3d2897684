"""How many steps a GradScaler may have skipped: counters run ahead of the optimizer by so many."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

from optinspect.checkpoint import Companion
from optinspect.checks.facts import Facts

INITIAL_SCALE = 65536
"""Of torch's GradScaler."""
AT_FIRST = 4
"""Steps that a GradScaler may skip in any run: 65536 is halved about so often before float16 gradients fit."""


def explained(facts: Facts, step: float, count: float) -> bool:
    """Whether steps that a scaler skipped account for the difference: some in the beginning, a share of all, and what
    its scale shows: each halving is a skipped step, and so is each growth that it took back.
    """
    seen = max((_halvings(each, count) for each in facts.checkpoint.scalers), default=0.0)
    return step < count <= step + AT_FIRST + seen + facts.terms.thresholds.skipped_steps * count


def _halvings(scaler: Companion, count: float) -> float:
    held = scaler.value if isinstance(scaler.value, Mapping) else {}
    scale, interval = held.get("scale"), held.get("growth_interval")
    known = isinstance(scale, int | float) and 0 < scale < INITIAL_SCALE
    grown = count / interval if isinstance(interval, int | float) and interval >= 1 else 0.0
    return grown + (log2(INITIAL_SCALE / scale) if known and isinstance(scale, int | float) else 0.0)
