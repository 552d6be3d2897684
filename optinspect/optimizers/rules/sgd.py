"""SGD with momentum, Nesterov's variant and L2."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from optinspect.optimizers.arithmetic import Arithmetic
from optinspect.optimizers.rules.adam import with_l2
from optinspect.optimizers.rules.base import Slot, Slots
from optinspect.optimizers.rules.settings import Settings

A = TypeVar("A")


class SGD:
    """Stochastic gradient descent.

        g ← g + wd·p;  b ← μ·b + (1−τ)·g  (first step: b ← g);  d = g + μ·b if nesterov else b
        p ← p − lr·d;  without momentum d = g

    b momentum_buffer: shape and dtype of p, absent before the first step.  μ momentum, τ dampening.
    maximize: g is −g from the start.
    Exact: operations and order of torch.optim's single-tensor path, bit-equal on CPU in the dtypes of AdamW.
    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
    Differs from it: lr multiplies the buffer when it is used, not when it is filled.
    """

    name: ClassVar[str] = "sgd"
    title: ClassVar[str] = "SGD"
    required: ClassVar[tuple[str, ...]] = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
    counts: ClassVar[bool] = False

    def slots(self, settings: Settings) -> tuple[Slot, ...]:
        return (Slot("momentum_buffer", start=None),) if settings.momentum != 0 else ()

    def accumulate(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> A:
        g = with_l2(ops, p, ops.negative(g) if s.maximize else g, s)
        if s.momentum == 0:
            return g
        if "momentum_buffer" not in slots:
            slots["momentum_buffer"] = ops.copy(g)
        else:
            ops.scale_(slots["momentum_buffer"], s.momentum)
            ops.add_(slots["momentum_buffer"], g, 1 - s.dampening)
        return g

    def move(self, ops: Arithmetic[A], p: A, g: A, slots: Slots[A], s: Settings, t: float) -> None:
        direction = g
        if s.momentum != 0:
            buffer = slots["momentum_buffer"]
            direction = ops.add(g, buffer, s.momentum) if s.nesterov else buffer
        ops.add_(p, direction, -s.lr)
