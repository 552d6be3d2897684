"""What can be wrong with a checkpoint: one rule a fault, run over facts that are computed once.

    Checkpoint ──gather──▶ Facts ──run(RULES, facts)──▶ Outcome: findings, skipped with reasons, passed

RULES is the registry, in the order in which rules run: what a rule requires comes before it. Families of numbers:
OI1xx the file, OI2xx contents and names, OI3xx values and tensors of the state, OI4xx step counts, OI5xx settings of
the groups, OI6xx two checkpoints of a run, OI7xx schedulers and companions, OI8xx conventions, OI0xx what a policy
expects.
"""

from __future__ import annotations

from optinspect.checks import (
    companions,
    container,
    contents,
    conventions,
    counters,
    effects,
    expectations,
    magnitudes,
    modules,
    names,
    places,
    positions,
    randomness,
    schedules,
    settings,
    slots,
    states,
    values,
)
from optinspect.checks.base import Rule
from optinspect.checks.facts import Facts, gather
from optinspect.checks.running import Outcome, run

RULES: tuple[Rule, ...] = (
    *container.FIRST,
    *contents.RULES,
    *names.ORDER,
    *positions.OWN,
    *states.RULES,
    *names.RECORDED,
    *places.RULES,
    *names.RULES,
    *counters.RULES,
    *settings.RULES,
    *effects.RULES,
    *values.RULES,
    *slots.RULES,
    *values.BETWEEN,
    *modules.RULES[:1],
    *magnitudes.RULES,
    *counters.AGAINST_OTHERS,
    *positions.RULES,
    *schedules.RULES,
    *companions.RULES,
    *randomness.RULES,
    *conventions.RULES,
    *expectations.RULES,
    *container.LAST,
    *modules.RULES[1:],
)

__all__ = ["RULES", "Facts", "Outcome", "Rule", "gather", "run"]
