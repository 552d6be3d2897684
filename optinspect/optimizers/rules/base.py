"""What a step rule is: one formula in two halves, over the operations of `arithmetic`.

    accumulate   gradient → moments          move   moments → weight

The halves are apart because a proof knows the moments after the step and asks only where the weight should be.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from optinspect.optimizers.arithmetic import Arithmetic
from optinspect.optimizers.rules.settings import Settings

A = TypeVar("A")
Slots = MutableMapping[str, A]
"""Arrays by slot name; changed in place, and added to by a first step."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One array that a rule keeps for a parameter.

    start   every element before the first step; None: the first step itself makes the slot
    scalar  0-d, one number between 0 and 1 for the whole parameter; otherwise it has the parameter's shape
    """

    name: str
    start: float | None = 0.0
    scalar: bool = False


class StepRule(Protocol):
    """One way of turning a gradient into an update.

    name      in commands and JSON ("adamw"); title: in text
    required  keys that a group must have, the others have defaults (`settings_of`)
    counts    it needs the number of the step

    p (the weight), g (its gradient) and the slots have one shape; t is the number of this step, 1 for the first.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def required(self) -> tuple[str, ...]: ...

    @property
    def counts(self) -> bool: ...

    def slots(self, settings: Settings) -> tuple[Slot, ...]:
        """What it keeps under these settings, the step counter left out."""
        ...

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        """Bring the slots after the step; returns the gradient as the moments saw it (sign, L2). p and g stay."""
        ...

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        """Move p in place, from the slots after `accumulate`, which stay; g is what that returned."""
        ...


def begun(rule: StepRule, ops: Arithmetic[A], p: A, settings: Settings) -> dict[str, A]:
    """The slots before the first step."""
    return {
        slot.name: ops.scalar(slot.start) if slot.scalar else ops.zeros_like(p)
        for slot in rule.slots(settings)
        if slot.start is not None
    }
