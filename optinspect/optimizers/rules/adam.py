"""Adam and AdamW as torch.optim's single-tensor path computes them."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from optinspect.optimizers.arithmetic import Arithmetic
from optinspect.optimizers.rules.base import Slot, Slots
from optinspect.optimizers.rules.settings import Settings

A = TypeVar("A")

REQUIRED = ("lr", "betas", "eps", "weight_decay")


def update_moments(ops: Arithmetic[A], g: A, slots: Slots[A], s: Settings) -> None:
    """m ← m + (1−β1)(g − m);  v ← β2·v + (1−β2)·g·g."""
    g, m, v = ops.parts(g), ops.parts(slots["exp_avg"]), ops.parts(slots["exp_avg_sq"])
    ops.lerp_(m, g, 1 - s.beta1)
    ops.scale_(v, s.beta2)
    ops.addcmul_(v, g, g, 1 - s.beta2)


def average_moments(ops: Arithmetic[A], g: A, slots: Slots[A], s: Settings) -> None:
    """The same moments as hand-written code and older torch spell them: m ← β1·m + (1−β1)·g."""
    g, m, v = ops.parts(g), ops.parts(slots["exp_avg"]), ops.parts(slots["exp_avg_sq"])
    ops.scale_(m, s.beta1)
    ops.add_(m, g, 1 - s.beta1)
    ops.scale_(v, s.beta2)
    ops.addcmul_(v, g, g, 1 - s.beta2)


def keep_maximum(ops: Arithmetic[A], slots: Slots[A], s: Settings) -> None:
    """v_max ← max(v_max, v) under amsgrad."""
    if s.amsgrad:
        ops.maximum_(ops.parts(slots["max_exp_avg_sq"]), ops.parts(slots["exp_avg_sq"]))


def second_moment(ops: Arithmetic[A], slots: Slots[A], s: Settings) -> A:
    return ops.parts(slots["max_exp_avg_sq" if s.amsgrad else "exp_avg_sq"])


def subtract_ratio(ops: Arithmetic[A], p: A, slots: Slots[A], denominator: A, factor: float) -> None:
    """p ← p − factor·m/denominator."""
    ops.addcdiv_(ops.parts(p), ops.parts(slots["exp_avg"]), denominator, -factor)


def adam_update(ops: Arithmetic[A], p: A, slots: Slots[A], s: Settings, t: float) -> None:
    """p ← p − lr/(1−β1^t) · m / (√v/√(1−β2^t) + eps)."""
    denominator = ops.divide(ops.sqrt(second_moment(ops, slots, s)), (1 - s.beta2**t) ** 0.5)
    ops.shift_(denominator, s.eps)
    subtract_ratio(ops, p, slots, denominator, s.lr / (1 - s.beta1**t))


def shrink(ops: Arithmetic[A], p: A, s: Settings) -> None:
    """p ← p·(1 − lr·wd)."""
    if s.weight_decay != 0:
        ops.scale_(p, 1 - s.lr * s.weight_decay)


def with_l2(ops: Arithmetic[A], p: A, g: A, s: Settings) -> A:
    """g + wd·p. Complex numbers are added as such: torch's kernel rounds them otherwise than their parts."""
    return ops.add(g, p, s.weight_decay) if s.weight_decay != 0 else g


class AdamW:
    """AdamW: Adam with decoupled weight decay.

        p ← p·(1 − lr·wd);  m ← m + (1−β1)(g − m);  v ← β2·v + (1−β2)·g·g
        p ← p − lr/(1−β1^t) · m / (√v/√(1−β2^t) + eps)

    m exp_avg, v exp_avg_sq: shape and dtype of p.  t: steps after the update, ≥ 1.  amsgrad: √v is √max(v so far).
    maximize: g is −g from the start.  Complex p: real and imaginary parts move apart, each with its own v.
    Exact: operations and order of torch.optim's single-tensor path; bit-equal on CPU in float64, float32, bfloat16,
    float16 and complex64. Not exact: foreach, fused, capturable (docs/replay.md has what was measured).
    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2. Differs from it: wd is multiplied by lr.
    amsgrad: Reddi, Kale & Kumar 2018, arXiv:1904.09237, algorithm 2. Differs from it: the maximum is of v, and the
    bias correction is applied after it.
    """

    name: ClassVar[str] = "adamw"
    title: ClassVar[str] = "AdamW"
    required: ClassVar[tuple[str, ...]] = REQUIRED
    counts: ClassVar[bool] = True

    def slots(self, settings: Settings) -> tuple[Slot, ...]:
        moments = (Slot("exp_avg"), Slot("exp_avg_sq"))
        return (*moments, Slot("max_exp_avg_sq")) if settings.amsgrad else moments

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        g = ops.negative(g) if s.maximize else g
        update_moments(ops, g, slots, s)
        keep_maximum(ops, slots, s)
        return g

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        shrink(ops, p, s)
        adam_update(ops, p, slots, s, t)


class Adam(AdamW):
    """Adam, weight decay as L2 added to the gradient.

        g ← g + wd·p;  m ← m + (1−β1)(g − m);  v ← β2·v + (1−β2)·g·g
        p ← p − lr/(1−β1^t) · m / (√v/√(1−β2^t) + eps)

    Symbols as in AdamW; p in the first formula is the weight before the step.
    Exact: operations and order of torch.optim's single-tensor path, as AdamW.
    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1. Differs from it: √v and √(1−β2^t) are taken apart.
    """

    name: ClassVar[str] = "adam"
    title: ClassVar[str] = "Adam (L2)"

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        g = with_l2(ops, p, ops.negative(g) if s.maximize else g, s)
        update_moments(ops, g, slots, s)
        keep_maximum(ops, slots, s)
        return g

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        adam_update(ops, p, slots, s, t)
