"""AdamW as real code gets it wrong, so that a proof can name the mistake.

Moments are AdamW's throughout, in the spelling of hand-written code: m ← β1·m + (1−β1)·g.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from optinspect.optimizers.arithmetic import Arithmetic
from optinspect.optimizers.rules.adam import (
    AdamW,
    adam_update,
    average_moments,
    keep_maximum,
    second_moment,
    shrink,
    subtract_ratio,
)
from optinspect.optimizers.rules.base import Slots
from optinspect.optimizers.rules.settings import Settings

A = TypeVar("A")


class HandWritten(AdamW):
    """AdamW with its moments as hand-written code spells them; the rules below move the weight each in its own way."""

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        g = ops.negative(g) if s.maximize else g
        average_moments(ops, g, slots, s)
        keep_maximum(ops, slots, s)
        return g


class NoBiasCorrection(HandWritten):
    """Bias corrections left out: too large steps while t < 1/(1−β2).

        p ← p·(1 − lr·wd);  p ← p − lr·m/(√v + eps)

    Symbols and moments as in AdamW.
    """

    name: ClassVar[str] = "adamw-no-bias-correction"
    title: ClassVar[str] = "AdamW without bias correction"

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        shrink(ops, p, s)
        denominator = ops.sqrt(second_moment(ops, slots, s))
        ops.shift_(denominator, s.eps)
        subtract_ratio(ops, p, slots, denominator, s.lr)


class EpsInsideRoot(HandWritten):
    """eps under the root: weighs √eps where v is small.

        p ← p·(1 − lr·wd);  p ← p − lr/(1−β1^t) · m/√(v/(1−β2^t) + eps)

    Symbols and moments as in AdamW.
    """

    name: ClassVar[str] = "adamw-eps-inside-root"
    title: ClassVar[str] = "AdamW with eps inside the root"

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        shrink(ops, p, s)
        corrected = ops.divide(second_moment(ops, slots, s), 1 - s.beta2**t)
        ops.shift_(corrected, s.eps)
        subtract_ratio(ops, p, slots, ops.sqrt(corrected), s.lr / (1 - s.beta1**t))


class DecayAfterUpdate(HandWritten):
    """Decay of the moved weight: differs by lr·wd·Δp.

        p ← p − lr/(1−β1^t) · m/(√v/√(1−β2^t) + eps);  p ← p·(1 − lr·wd)

    Symbols and moments as in AdamW.
    """

    name: ClassVar[str] = "adamw-decay-after"
    title: ClassVar[str] = "AdamW with decay after the update"

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        adam_update(ops, p, slots, s, t)
        shrink(ops, p, s)


class DecayWithoutLr(HandWritten):
    """Decay not multiplied by lr, as in the paper's algorithm with η = 1 taken literally.

        p ← p·(1 − wd);  p ← p − lr/(1−β1^t) · m/(√v/√(1−β2^t) + eps)

    Symbols and moments as in AdamW.
    """

    name: ClassVar[str] = "adamw-decay-without-lr"
    title: ClassVar[str] = "AdamW with decay not multiplied by lr"

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        if s.weight_decay != 0:
            ops.scale_(p, 1 - s.weight_decay)
        adam_update(ops, p, slots, s, t)
