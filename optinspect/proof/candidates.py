"""What may have moved the weights of a group: a rule, the settings of one of the files, a number of the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from optinspect.errors import Undecidable
from optinspect.optimizers.arithmetic import Float64Arithmetic
from optinspect.optimizers.rules import STEP_RULES
from optinspect.optimizers.rules.adam import Adam
from optinspect.optimizers.rules.base import StepRule
from optinspect.optimizers.rules.course import CourseAdamW
from optinspect.optimizers.rules.mistakes import DecayAfterUpdate, HandWritten
from optinspect.optimizers.rules.nadam import NAdam
from optinspect.optimizers.rules.settings import Settings, settings_of
from optinspect.optimizers.rules.sgd import SGD
from optinspect.proof.pairing import Pair, Parameter, State
from optinspect.proof.precision import Doubles

Source = Literal["a", "b", "neither"]

OPS = Float64Arithmetic()


@dataclass(frozen=True, slots=True)
class Candidate:
    """source: whose settings; reading: which of State.counts is the number of the step."""

    rule: StepRule
    source: Source
    settings: Settings
    reading: int = 0

    def number(self, state: State) -> float:
        """The number of the step, ≥ 1; 0 for rules that do not count."""
        return state.counts[min(self.reading, len(state.counts) - 1)] if state.counts else 0.0

    def moved(self, theta: Doubles, g: Doubles, after: Mapping[str, Any], t: float) -> Doubles:
        """Where the weights θ (any shape that broadcasts with g and the slots) are after the step."""
        p = theta.copy()
        self.rule.move(OPS, p, g, dict(after), self.settings, t)
        return np.asarray(p)

    def direction(self, g: Doubles, after: Mapping[str, Any], t: float) -> Doubles:
        """x of Δθ = −lr·x − lr·wd·θ."""
        p = np.zeros_like(g)
        plain = replace(self.settings, lr=1.0, weight_decay=0.0)
        self.rule.move(OPS, p, g, dict(after), plain, t)
        return np.negative(p, out=p)

    @property
    def uses_gradient(self) -> bool:
        """The rule moves by g itself too, which is recovered less exactly than the moments are stored."""
        return isinstance(self.rule, NAdam) or (isinstance(self.rule, SGD) and self.settings.nesterov)

    def blur(self, step: Step, predicted: Doubles, roundoff: float) -> Doubles:
        """How far the prediction moves with an error of 4u·max(|mA|, |mB|)/(1−β1) in g; u: roundoff of the slots.

        Measured on NAdam with β1 = 0.966: 4.8 step units without this, 1.4 with it.
        """
        s, after = self.settings, step.after
        name = "exp_avg" if "exp_avg" in after else "momentum_buffer"
        rest = 1 - s.beta1 if name == "exp_avg" else 1 - s.dampening
        largest = np.abs(after[name])
        if name in step.before:
            largest = np.maximum(largest, np.abs(step.before[name]))
        shifted = self.moved(step.theta, step.g + largest * (4 * roundoff / rest), after, step.t)
        np.subtract(shifted, predicted, out=shifted)
        return np.asarray(np.abs(shifted))

    @property
    def decays_after(self) -> bool:
        """The decay shrinks the update too: the slope over x is lr·(1 − lr·wd)."""
        return isinstance(self.rule, CourseAdamW | DecayAfterUpdate)

    @property
    def l2(self) -> float:
        """wd of the decay that is in the gradient; 0 where there is none."""
        rule, s = self.rule, self.settings
        mixed = isinstance(rule, Adam | SGD) or (isinstance(rule, NAdam) and not s.decoupled)
        return s.weight_decay if mixed else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a prediction starts from: θ_A, the recovered gradient, the slots before and after, the number t."""

    theta: Doubles
    g: Doubles
    before: Mapping[str, Doubles]
    after: Mapping[str, Any]
    t: float


def mistaken(rule: StepRule) -> bool:
    return isinstance(rule, HandWritten)


def candidates(pair: Pair, group: int, members: Iterable[Parameter]) -> Iterator[Candidate]:
    """Declared rules first, then all others in their order; of each, A's settings before B's."""
    before, after = pair.groups[group]
    states = [p.b for p in members]
    readings = max((len(state.counts) for state in states), default=1) or 1
    choice = pair.choices[group]
    known = choice.candidates or ()
    rules = dict.fromkeys((*known, *STEP_RULES))
    for rule in rules:
        seen: list[Settings] = []
        for source, written in (("a", before), ("b", after)):
            settings = _settings(rule, written.hyperparameters, group)
            if settings is None or settings in seen or not _applies(rule, settings, states):
                continue
            seen.append(settings)
            for reading in range(readings):
                yield Candidate(rule, "a" if source == "a" else "b", settings, reading)


def _settings(rule: StepRule, written: Mapping[str, Any], group: int) -> Settings | None:
    required = tuple(key for key in rule.required if key in ("lr", "momentum"))
    try:
        return settings_of(written, group=group, required=required)
    except Undecidable:
        return None


def _applies(rule: StepRule, settings: Settings, states: Iterable[State]) -> bool:
    """The files hold what the rule keeps, and SGD is not tried on Adam's slots."""
    wanted = rule.slots(settings)
    if not wanted:
        return False
    return all(
        slot.name in (state.scalars if slot.scalar else state.slots)
        for state in states
        for slot in wanted
        if not state.missing
    )
