"""The gradient that an optimizer used, from its moments before and after one step.

    Adam-like   g = m_A + (m_B − m_A)/(1−β1);   then  |g² − (v_B − β2·v_A)/(1−β2)|  is rounding, in moment units
    SGD         g = (b_B − μ·b_A)/(1−τ);  the first step, which makes the buffer: g = b_B

m exp_avg, v exp_avg_sq, b momentum_buffer, all 1-d float64; μ momentum, τ dampening. g is the gradient as the moments
saw it: with L2 in it where the rule adds it, negated under maximize, clipped if it was.
Source: the update rules of the moments, solved for g (docs/proof.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optinspect.optimizers.rules.settings import Settings
from optinspect.proof.pairing import State
from optinspect.proof.precision import Doubles, Precision, furthest, precision_of


@dataclass(frozen=True, slots=True)
class Moments:
    """Precision of the two moments of one parameter; None where it has none of Adam's."""

    first: Precision
    second: Precision

    @classmethod
    def of(cls, state: State) -> Moments | None:
        m, v = state.slots.get("exp_avg"), state.slots.get("exp_avg_sq")
        first, second = (precision_of(slot.dtype) if slot is not None else None for slot in (m, v))
        return None if first is None or second is None else cls(first, second)


def gradient(before: Mapping[str, Doubles], after: Mapping[str, Doubles], s: Settings) -> Doubles | None:
    """None where the state does not hold it (τ = 1, or no buffer). A slot that `before` lacks was zero."""
    if "exp_avg" in after:
        m = after["exp_avg"]
        old = before.get("exp_avg")
        if old is None:
            return m / (1 - s.beta1)
        g = m - old
        g /= 1 - s.beta1
        g += old
        return g
    buffer = after.get("momentum_buffer")
    if buffer is None or s.dampening == 1:
        return None
    old = before.get("momentum_buffer")
    return buffer.copy() if old is None else (buffer - s.momentum * old) / (1 - s.dampening)


def moment_residual(
    before: Mapping[str, Doubles], after: Mapping[str, Doubles], g: Doubles, s: Settings, moments: Moments
) -> float:
    """Largest disagreement of v with g², in moment units (see precision)."""
    v, m = after["exp_avg_sq"], np.abs(after["exp_avg"])
    old_v, old_m = before.get("exp_avg_sq"), before.get("exp_avg")
    b = 1 - s.beta2
    unit = np.abs(g)
    unit *= m if old_m is None else np.maximum(m, np.abs(old_m), out=m)
    unit *= 2 * moments.first.roundoff * b / (1 - s.beta1)
    size = np.abs(v)
    size *= moments.second.roundoff
    unit += size
    unit += moments.second.smallest
    predicted = g * g
    predicted *= b
    if old_v is not None:
        predicted += s.beta2 * old_v
    return furthest(predicted, v, unit)
