"""NAdam: Adam with Nesterov momentum on a schedule of its own."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from optinspect.optimizers.arithmetic import Arithmetic
from optinspect.optimizers.rules.adam import REQUIRED, shrink, subtract_ratio, update_moments, with_l2
from optinspect.optimizers.rules.base import Slot, Slots
from optinspect.optimizers.rules.settings import Settings

A = TypeVar("A")


def momentum_at(t: float, s: Settings) -> float:
    """μ_t = β1·(1 − ½·0.96^(t·ψ))."""
    return float(s.beta1 * (1.0 - 0.5 * (0.96 ** (t * s.momentum_decay))))


class NAdam:
    """NAdam.

        μ_t = β1·(1 − ½·0.96^(t·ψ));  Π ← Π·μ_t
        p ← p·(1 − lr·wd) where decoupled, else g ← g + wd·p
        m ← m + (1−β1)(g − m);  v ← β2·v + (1−β2)·g·g;  d = √(v/(1−β2^t)) + eps
        p ← p − lr·(1−μ_t)/(1−Π) · g/d − lr·μ_{t+1}/(1−Π·μ_{t+1}) · m/d

    ψ momentum_decay; Π mu_product, one number, 1 before the first step; other symbols as in AdamW.
    Exact: operations and order of torch.optim's single-tensor path, bit-equal as AdamW.
    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam", algorithm 2. Differs from it: eps stands outside
    the root, and μ_t is the schedule of its section 4 with ψ free.
    """

    name: ClassVar[str] = "nadam"
    title: ClassVar[str] = "NAdam"
    required: ClassVar[tuple[str, ...]] = (*REQUIRED, "momentum_decay")
    counts: ClassVar[bool] = True

    def slots(self, settings: Settings) -> tuple[Slot, ...]:
        return (Slot("mu_product", start=1.0, scalar=True), Slot("exp_avg"), Slot("exp_avg_sq"))

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        g = ops.parts(ops.negative(g) if s.maximize else g)
        if not s.decoupled:
            g = with_l2(ops, ops.parts(p), g, s)
        ops.scale_(slots["mu_product"], momentum_at(t, s))
        update_moments(ops, g, slots, s)
        return g

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        if s.decoupled:
            shrink(ops, ops.parts(p), s)
        product, mu, mu_next = ops.number(slots["mu_product"]), momentum_at(t, s), momentum_at(t + 1, s)
        denominator = ops.sqrt(ops.divide(ops.parts(slots["exp_avg_sq"]), 1 - s.beta2**t))
        ops.shift_(denominator, s.eps)
        ops.addcdiv_(ops.parts(p), g, denominator, -s.lr * (1.0 - mu) / (1.0 - product))
        subtract_ratio(ops, p, slots, denominator, (s.lr * mu_next) / (1.0 - product * mu_next))
