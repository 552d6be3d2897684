"""The step rules, in the order in which a proof tries them."""

from __future__ import annotations

from optinspect.optimizers.rules.adam import Adam, AdamW
from optinspect.optimizers.rules.base import Slot, Slots, StepRule, begun
from optinspect.optimizers.rules.course import CourseAdamW
from optinspect.optimizers.rules.mistakes import DecayAfterUpdate, DecayWithoutLr, EpsInsideRoot, NoBiasCorrection
from optinspect.optimizers.rules.nadam import NAdam
from optinspect.optimizers.rules.settings import Settings, settings_of
from optinspect.optimizers.rules.sgd import SGD

STEP_RULES: tuple[StepRule, ...] = (
    AdamW(),
    Adam(),
    NAdam(),
    SGD(),
    CourseAdamW(),
    NoBiasCorrection(),
    EpsInsideRoot(),
    DecayAfterUpdate(),
    DecayWithoutLr(),
)

_BY_NAME = {rule.name: rule for rule in STEP_RULES}

__all__ = ["STEP_RULES", "Settings", "Slot", "Slots", "StepRule", "begun", "rule_named", "settings_of"]


def rule_named(name: str) -> StepRule | None:
    """The rule of that name ("adamw"); None where there is none."""
    return _BY_NAME.get(name)
