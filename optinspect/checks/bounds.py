"""How large a mean of gradients can be beside their mean square, by optimizer, settings and step.

    impossible pair   m² > C(t)·(v + q/(1 − β2)),  C(t) = (1−β1)²/(1−β2)·(1−r^t)/(1−r),  r = β1²/β2

m exp_avg, v exp_avg_sq of one parameter from zero moments under constant β1, β2, whatever the gradients were; or means
under weights that are equal for both and sum up to 1 at most (RMSprop's grad_avg and square_avg), where C = 1;
q the smallest subnormal of v's dtype, t the parameter's own steps, ≥ 1. With r = 1 the last factor is t.
Source: the Cauchy–Schwarz inequality for Σ(1−β1)β1^(t−i)·g_i against Σ(1−β2)β2^(t−i)·g_i².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optinspect.checkpoint import Checkpoint, ParamGroup
from optinspect.optimizers import named
from optinspect.subjects import Subject
from optinspect.tensors import TensorRef

STANDARD = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "FusedAdam"})
"""Optimizers whose two averages are the textbook's."""
TOLERANCE: Mapping[str, float] = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 5e-2, "float16": 2e-2}
"""By the coarser dtype of m and v. Excess measured on healthy runs: float32 1.7e-7 (1,000 steps), bfloat16 none after a
cast, whose rounding alone allows 2.4e-2."""
SUBNORMAL: Mapping[str, float] = {"float64": 4.9e-324, "float32": 1.4e-45, "bfloat16": 9.2e-41, "float16": 6.0e-8}
DIGITS: Mapping[str, int] = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Binary digits of a fraction."""
ULP: Mapping[str, float] = {name: 2.0**-digits for name, digits in DIGITS.items()}
"""Of numbers a little below 1."""


@dataclass(frozen=True, slots=True)
class Standard:
    """How the bound is taken of one parameter."""

    bound: float
    floor: float
    tolerance: float
    mean: str = "exp_avg"
    square: str = "exp_avg_sq"


def standards(checkpoint: Checkpoint, subjects: Sequence[Subject]) -> Mapping[object, Standard]:
    """The bound of every parameter that has one."""
    found = ((each.key, _standard(checkpoint, each)) for each in subjects)
    return {key: standard for key, standard in found if standard is not None}


def _first_betas(checkpoint: Checkpoint, group: ParamGroup, now: float) -> tuple[float, float] | None:
    """The lowest and the highest β1 of the run. OneCycle and Cyclic schedules move it between two bounds that they
    leave in the groups; None where they move it and the bounds are not there.
    """
    bounds = [group.number_of(key) for key in ("base_momentum", "max_momentum")]
    known = [each for each in bounds if each is not None and 0 <= each < 1]
    moving = any(
        each.name in ("OneCycleLR", "CyclicLR") and isinstance(each.value, dict) and each.value.get("cycle_momentum")
        for each in checkpoint.schedulers
    )
    if len(known) == len(bounds):
        return min(now, *known), max(now, *known)
    return None if moving or any(each is not None for each in bounds) else (now, now)


def _standard(checkpoint: Checkpoint, subject: Subject) -> Standard | None:
    return _of_adam(checkpoint, subject) or _of_centred(checkpoint, subject)


def _of_centred(checkpoint: Checkpoint, subject: Subject) -> Standard | None:
    """Of a mean and a mean of squares with one decay between them, where the settings ask for both."""
    families, settings = checkpoint.optimizers[subject.optimizer].families, subject.group.hyperparameters
    known = named(families[0]) if len(families) == 1 else None
    if known is None or known.centred is None:
        return None
    mean, square, key = known.centred
    m, v, decay = subject.tensors.get(mean), subject.tensors.get(square), subject.group.number_of(key)
    asked = any(each.slot == mean and each.on(settings) for each in known.asked)
    if not asked or m is None or v is None or decay is None or not 0 <= decay < 1:
        return None
    coarse = _coarser(m, v)
    if coarse is None:
        return None
    # Equal gradients make both sides equal, and each of the 1/(1 − decay) steps in the mean rounds. Excess measured on
    # 3,000 equal gradients, decay 0.9 to 0.9999: float32 7.1e-7, bfloat16 0.063, float16 none above 0.94·floor/2.
    tolerance = TOLERANCE[coarse] + 4 * ULP[coarse] / (1 - decay)
    return Standard(1.0, 2 * SUBNORMAL[v.dtype.name] / (1 - decay), tolerance, mean, square)


def _of_adam(checkpoint: Checkpoint, subject: Subject) -> Standard | None:
    families = checkpoint.optimizers[subject.optimizer].families
    betas, t = subject.group.hyperparameters.get("betas"), subject.state.step
    m, v = subject.tensors.get("exp_avg"), subject.tensors.get("exp_avg_sq")
    if not families or not STANDARD.issuperset(families) or m is None or v is None or t is None or not 1 <= t < 1e15:
        return None
    if not isinstance(betas, list | tuple) or not all(isinstance(b, float | int) and 0 <= b < 1 for b in betas):
        return None
    coarse = _coarser(m, v)
    if len(betas) != 2 or coarse is None:
        return None
    first = _first_betas(checkpoint, subject.group, betas[0])
    floor = SUBNORMAL[v.dtype.name] / (1 - betas[1])
    return Standard(bound(first[1], betas[1], t, first[0]), floor, TOLERANCE[coarse]) if first is not None else None


def _coarser(m: TensorRef, v: TensorRef) -> str | None:
    """The coarser dtype of the two; None where they are not of one shape or in a dtype without a bound."""
    coarse = max((m.dtype.name, v.dtype.name), key=lambda name: TOLERANCE.get(name, 9.0))
    known = coarse in TOLERANCE and v.dtype.name in SUBNORMAL and m.shape == v.shape
    return coarse if known else None


def bound(beta1: float, beta2: float, t: float, lowest: float | None = None) -> float:
    """C(t): the largest m²/v that any gradients lead to.

    With β1 anywhere from `lowest` to beta1 at each step, a gradient weighs at most (1 − lowest)·beta1^(t−i) in m: the
    bound is weaker, of the same form.
    """
    ratio = beta1 * beta1 / beta2 if beta2 else (0.0 if not beta1 else float("inf"))
    if ratio == float("inf"):
        return ratio
    series = t if ratio == 1 else (1 - _power(ratio, t)) / (1 - ratio)
    return (1 - (beta1 if lowest is None else lowest)) ** 2 / (1 - beta2) * series


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return float("inf")
