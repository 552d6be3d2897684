"""What can be wrong with a checkpoint: one rule a fault, run over facts that are computed once.

    Checkpoint ──gather──▶ Facts ──run(RULES, facts)──▶ Outcome: findings, skipped with reasons, passed

RULES is the registry, in the order in which rules run: what a rule requires comes before it. Families of numbers:
OI1xx the file, OI2xx contents and names, OI3xx values and tensors of the state, OI4xx step counts, OI5xx settings of
the groups, OI6xx two checkpoints of a run, OI7xx schedulers and companions, OI8xx conventions.
"""

from __future__ import annotations

from optinspect.checks import (
    companions,
    container,
    contents,
    conventions,
    counters,
    effects,
    magnitudes,
    names,
    schedules,
    settings,
    slots,
    states,
    values,
)
from optinspect.checks.base import Outcome, Rule, run
from optinspect.checks.facts import Facts, gather

RULES: tuple[Rule, ...] = (
    *container.FIRST,
    *contents.RULES,
    *states.RULES,
    *names.RULES,
    *counters.RULES[:3],
    *settings.RULES,
    *effects.RULES,
    *values.RULES,
    *slots.RULES,
    *magnitudes.RULES,
    *counters.RULES[3:],
    *schedules.RULES,
    *companions.RULES,
    *conventions.RULES,
    *container.LAST,
)

__all__ = ["RULES", "Facts", "Outcome", "Rule", "gather", "run"]
