"""The AdamW that courses have students write: bias corrections folded into lr, decay after the update."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from optinspect.optimizers.arithmetic import Arithmetic
from optinspect.optimizers.rules.adam import AdamW, keep_maximum, second_moment, subtract_ratio
from optinspect.optimizers.rules.base import Slots
from optinspect.optimizers.rules.settings import Settings

A = TypeVar("A")


class CourseAdamW(AdamW):
    """AdamW with lr_t in place of the bias corrections.

        m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g·g;  lr_t = lr·√(1−β2^t)/(1−β1^t)
        p ← p − lr_t·m/(√v + eps);  p ← p − lr·wd·p

    Symbols as in AdamW. eps stands beside the uncorrected √v, so it weighs 1/√(1−β2^t) times as much as in torch.
    transformers.AdamW with correct_bias is the same rule.
    Exact: moments to the bit for code that spells them as above, g·g first; weights to about 1 ulp a step, since real
    code spells the second line in several ways.
    Source: Kingma & Ba 2015, arXiv:1412.6980, end of section 2 (the order of computation), with decoupled decay.
    """

    name: ClassVar[str] = "course-adamw"
    title: ClassVar[str] = "AdamW as taught in courses"

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        g = ops.negative(g) if s.maximize else g
        parts, m, v = ops.parts(g), ops.parts(slots["exp_avg"]), ops.parts(slots["exp_avg_sq"])
        for average, value, beta in ((m, ops.copy(parts), s.beta1), (v, ops.multiply(parts, parts), s.beta2)):
            ops.scale_(value, 1 - beta)
            ops.scale_(average, beta)
            ops.add_(average, value, 1.0)
        keep_maximum(ops, slots, s)
        return g

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        denominator = ops.sqrt(second_moment(ops, slots, s))
        ops.shift_(denominator, s.eps)
        subtract_ratio(ops, p, slots, denominator, s.lr * (1 - s.beta2**t) ** 0.5 / (1 - s.beta1**t))
        if s.weight_decay != 0:
            ops.add_(p, p, -(s.lr * s.weight_decay))
