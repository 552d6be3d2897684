"""Which rule moves the weights of an optimizer in a file, and how its slots are spelled there: both as data.

A family is known by its class name, and packages share class names, so a row asks for what tells them apart. An
optimizer that nobody knows is told by its slots alone: it may be any rule that keeps such slots, which is for the
user or a proof to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from optinspect.optimizers import named
from optinspect.optimizers.base import same_setting
from optinspect.optimizers.rules import STEP_RULES, rule_named
from optinspect.optimizers.rules.adam import AdamW
from optinspect.optimizers.rules.base import StepRule
from optinspect.optimizers.rules.settings import finite


@dataclass(frozen=True, slots=True)
class Row:
    """The rule of that name moves what `family` keeps where the group has these settings; without one, why."""

    family: str
    rule: str | None
    when: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


FAMILIES: tuple[Row, ...] = (
    Row("AdamW", "course-adamw", when={"correct_bias": True}),  # transformers' own, until 4.x
    Row("AdamW", None, when={"correct_bias": False}, reason="transformers.AdamW with correct_bias=False"),
    Row("AdamW", "adamw"),
    Row("Adam", "adamw", when={"decoupled_weight_decay": True}),
    Row("Adam", "adam"),
    Row("NAdam", "nadam"),
    Row("SGD", "sgd"),
)
"""The first row that fits counts."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a file names the slots of the rules.

    slots   the file's name → the rule's, for each slot that it names otherwise
    step    its name for the counter
    ahead   what the counter may be ahead of the completed steps, likeliest first
    """

    slots: Mapping[str, str]
    step: str
    ahead: tuple[int, ...] = (0,)

    def canonical(self, slots: Mapping[str, Any]) -> dict[str, Any]:
        """The same slots under the rules' names, without the counter."""
        return {self.slots.get(name, name): value for name, value in slots.items() if name != self.step}

    def completed(self, stored: object, counters: Collection[float] = ()) -> float | None:
        """Completed steps from the counter; None where it is no finite number.

        counters  what else counts in the file: it decides where exactly one of `ahead` agrees with it
        """
        count = finite(stored)
        if count is None:
            return None
        agreeing = [ahead for ahead in self.ahead if count - ahead in counters]
        return count - (agreeing[0] if len(agreeing) == 1 else self.ahead[0])


TORCH = Spelling({}, "step")
COURSE = Spelling({"m": "exp_avg", "v": "exp_avg_sq"}, "t", ahead=(1, 0))
"""m, v, t: course code mostly writes the number of the *next* step; some write that of the last."""

SPELLINGS = (COURSE, TORCH)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a file's optimizer runs by.

    rule        None where the file does not decide, or no rule is known; `reason` then says so in a few words
    candidates  the rules it may run by, likeliest first: (rule,) where it is decided
    """

    rule: StepRule | None
    candidates: tuple[StepRule, ...] = ()
    reason: str = ""


def rule_for(family: str, hyperparameters: Mapping[str, Any]) -> StepRule | None:
    """The rule of a family ("AdamW", "Adam", "NAdam", "SGD") under these settings; None where there is none."""
    return _of_family(family, hyperparameters).rule


def choose(families: Collection[str], hyperparameters: Mapping[str, Any], slots: Collection[str]) -> Choice:
    """The rule of an optimizer in a file.

    families   what its OptimizerState may be: one where the file decides, none where nobody knows it
    slots      the names seen on its parameters, as the file spells them
    """
    if not families:
        return _of_slots(slots)
    found = [_of_family(family, hyperparameters) for family in families]
    rules = tuple(dict.fromkeys(choice.rule for choice in found))
    if None in rules:
        return next(choice for choice in found if choice.rule is None)
    candidates = tuple(rule for rule in rules if rule is not None)
    if len(candidates) > 1 and same_setting(hyperparameters.get("weight_decay"), 0):
        candidates = candidates[:1]  # Adam and AdamW without decay are one rule
    if len(candidates) == 1:
        return Choice(candidates[0], candidates)
    return Choice(None, candidates, f"the file does not tell {' from '.join(families)}")


def spelling_of(slots: Collection[str]) -> Spelling:
    """How the slots of one parameter are spelled; torch's way where nothing speaks for another."""
    return next((one for one in SPELLINGS if {*one.slots, one.step} <= set(slots)), TORCH)


def _of_family(family: str, hyperparameters: Mapping[str, Any]) -> Choice:
    for row in FAMILIES:
        fits = all(same_setting(hyperparameters.get(key), value) for key, value in row.when.items())
        if row.family == family and fits:
            return _decided(row.rule) if row.rule else Choice(None, (), f"no step rule for {row.reason}")
    known = named(family)
    return Choice(None, (), f"no step rule for {family:.60}" + (f" of {known.source}" if known else ""))


def _of_slots(slots: Collection[str]) -> Choice:
    """An unknown optimizer: the course's spelling is its own; torch's names may be anybody's Adam."""
    held = set(slots)
    if held == {*COURSE.slots, COURSE.step}:
        return _decided("course-adamw")
    if {"exp_avg", "exp_avg_sq"} <= held <= {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}:
        return Choice(None, _ADAM_LIKE, "an unknown optimizer with Adam's slots")
    return Choice(None, (), "no step rule for an unknown optimizer")


def _decided(name: str) -> Choice:
    rule = rule_named(name)
    return Choice(rule, (rule,)) if rule else Choice(None, (), f"no step rule {name}")


_ADAM_LIKE = tuple(rule for rule in STEP_RULES if isinstance(rule, AdamW))
