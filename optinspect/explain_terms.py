"""One step as a person would work it out: a sheet of terms, each with its meaning, its formula and its value.

The formulas are the step rules' (`optimizers/rules`, which have the sources), solved for what a file holds. A
checkpoint is written after a step: its weight θ and its moments m, v are those *after* the last step, so the last
step's update is −lr⋅m̂/(√v̂ + eps) of the stored moments, and the weight before it is solved for.

Values are float64, one number or an array of any one shape; every formula is evaluated by a test against its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from optinspect.optimizers.rules.settings import Settings

Doubles = npt.NDArray[np.float64]
Value = Doubles | float


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of a step.

    theta     the weight: before the step where `gradient` is given, else after it; None: not known
    slots     under torch.optim's names: before the step where `gradient` is given, else after it
    scalars   mu_product, likewise
    step      number of the step, 1 for the first
    gradient  what the moments are fed with; `drawn`: L2 and the sign of maximize are in it already
    """

    theta: Doubles | None
    slots: Mapping[str, Doubles]
    scalars: Mapping[str, float]
    settings: Settings
    step: float
    gradient: Doubles | None = None
    drawn: bool = False

    @property
    def coming(self) -> bool:
        """The next step, not the last one."""
        return self.gradient is not None


@dataclass(frozen=True, slots=True)
class Term:
    symbol: str
    meaning: str
    formula: str | None
    """None: it stands in the file."""
    value: Value


@dataclass
class Sheet:
    """The terms in the order in which a person would write them down. `values` by symbol."""

    terms: list[Term] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)

    def add(self, symbol: str, value: Any, meaning: str, formula: str | None = None) -> Any:
        """Write a line; gives its value back."""
        self.terms.append(Term(symbol, meaning, formula, value))
        self.values[symbol] = value
        return value


LR = "learning rate of the group"
EPS = "keeps the division finite where gradients are tiny"
M = "running average of the gradients (exp_avg): which way they point"
V = "running average of the squared gradients (exp_avg_sq): how large they are, whatever their sign"


def counted(sheet: Sheet, given: Given) -> None:
    s = given.settings
    sheet.add("t", given.step, "number of this step")
    sheet.add("lr", s.lr, LR)
    sheet.add("β1", s.beta1, "share of the old m that each step keeps")
    sheet.add("β2", s.beta2, "share of the old v that each step keeps")
    sheet.add("eps", s.eps, EPS)
    sheet.add("wd", s.weight_decay, "weight decay of the group")
    if given.theta is not None:
        sheet.add("θ", given.theta, "the weight before this step" if given.coming else "the weight, after this step")


def with_l2(sheet: Sheet, given: Given) -> Any:
    """The gradient as the moments see it, where the decay is L2."""
    g, s = given.gradient, given.settings
    if g is None or given.drawn or s.weight_decay == 0 or given.theta is None:
        return g
    return sheet.add("g'", g + s.weight_decay * given.theta, "the gradient with weight decay as L2 in it", "g + wd⋅θ")


def fed(sheet: Sheet) -> str:
    """The symbol of the gradient that the moments are fed with."""
    return "g'" if "g'" in sheet.values else "g"


def moments(sheet: Sheet, given: Given, *, l2: bool) -> tuple[Any, Any]:
    """m and v after the step."""
    m, v, s = given.slots["exp_avg"], given.slots["exp_avg_sq"], given.settings
    if given.gradient is None:
        return sheet.add("m", m, M), sheet.add("v", v, V)
    sheet.add("g", given.gradient, "the gradient of this step, which is made up")
    g = with_l2(sheet, given) if l2 else given.gradient
    symbol = fed(sheet)
    sheet.add("m_before", m, M)
    sheet.add("v_before", v, V)
    m = sheet.add("m", s.beta1 * m + (1 - s.beta1) * g, "m after this step", f"β1⋅m_before + (1 − β1)⋅{symbol}")
    v = sheet.add(
        "v", s.beta2 * v + (1 - s.beta2) * g * g, "v after this step", f"β2⋅v_before + (1 − β2)⋅{symbol}⋅{symbol}"
    )
    return m, v


def _second(sheet: Sheet, given: Given, v: Any) -> tuple[Any, str]:
    """What is divided by, and its symbol: v, or the largest so far under amsgrad."""
    if not given.settings.amsgrad:
        return v, "v"
    top = given.slots["max_exp_avg_sq"]
    if not given.coming:
        return sheet.add("v_max", top, "largest v so far (max_exp_avg_sq): amsgrad divides by this one"), "v_max"
    sheet.add("v_max_before", top, "largest v so far (max_exp_avg_sq)")
    top = sheet.add("v_max", np.maximum(top, v), "amsgrad divides by the largest v so far", "max(v_max_before, v)")
    return top, "v_max"


def corrected(sheet: Sheet, given: Given, m: Any, v: Any, symbol: str) -> tuple[Any, Any]:
    """m̂ and √v̂."""
    s, t = given.settings, given.step
    c1 = sheet.add(
        "c1", 1 - s.beta1**t, "bias correction of m: it began at 0, so early averages are too small", "1 − β1^t"
    )
    c2 = sheet.add("c2", 1 - s.beta2**t, "bias correction of v, likewise", "1 − β2^t")
    mean = sheet.add("m̂", m / c1, "the average gradient", "m/c1")
    square = sheet.add("v̂", v / c2, "the average squared gradient", f"{symbol}/c2")
    return mean, sheet.add("√v̂", np.sqrt(square), "the usual size of a gradient here", "√(v̂)")


def agreement(sheet: Sheet, mean: Any, root: Any, eps: float) -> Any:
    told = "how far the gradients agree: about ±1 if all point one way, near 0 if they cancel"
    return sheet.add("r", mean / (root + eps), told, "m̂/(√v̂ + eps)")


def _adam_update(sheet: Sheet, given: Given, *, l2: bool) -> Any:
    """u = lr⋅m̂/(√v̂ + eps)."""
    m, v = moments(sheet, given, l2=l2)
    v, symbol = _second(sheet, given, v)
    s = given.settings
    mean, root = corrected(sheet, given, m, v, symbol)
    ratio = agreement(sheet, mean, root, s.eps)
    sheet.add("k", s.lr / (root + s.eps), "effective step: lr for this element, per unit of m̂", "lr/(√v̂ + eps)")
    return sheet.add("u", s.lr * ratio, "what the gradients ask for", "lr⋅r")


def shrunk(sheet: Sheet, given: Given, u: Any) -> None:
    """Decay of the weight before the update, and Δθ."""
    s, theta = given.settings, given.theta
    if s.weight_decay == 0 or theta is None:
        moved(sheet, given, "−u", -u)
        return
    shrink = s.lr * s.weight_decay
    if given.coming:
        decay = sheet.add("d", shrink * theta, DECAY, "lr⋅wd⋅θ")
    else:
        before = sheet.add("θ_before", (theta + u) / (1 - shrink), SOLVED, "(θ + u)/(1 − lr⋅wd)")
        decay = sheet.add("d", shrink * before, DECAY, "lr⋅wd⋅θ_before")
    moved(sheet, given, "−u − d", -u - decay)


DECAY = "weight decay: what is taken off the weight itself, towards 0"
SOLVED = "the weight before this step, solved for"


def moved(sheet: Sheet, given: Given, formula: str, delta: Any) -> None:
    """Δθ, and the weight at the other end of the step."""
    partly = given.theta is None and given.settings.weight_decay != 0
    told = "the change of the weight" + (", but for the decay: the weight is not known" if partly else "")
    sheet.add("Δθ", delta, told, formula)
    if given.theta is None or partly:
        return
    if given.coming:
        sheet.add("θ_after", given.theta + delta, "the weight after this step", "θ + Δθ")
    elif "θ_before" not in sheet.values:
        sheet.add("θ_before", given.theta - delta, SOLVED, "θ − Δθ")


def adamw(sheet: Sheet, given: Given) -> None:
    counted(sheet, given)
    shrunk(sheet, given, _adam_update(sheet, given, l2=False))


def adam(sheet: Sheet, given: Given) -> None:
    counted(sheet, given)
    moved(sheet, given, "−u", -_adam_update(sheet, given, l2=True))


def course(sheet: Sheet, given: Given) -> None:
    """The bias corrections are in lr_t; the decay comes after the update."""
    counted(sheet, given)
    m, v = moments(sheet, given, l2=False)
    v, symbol = _second(sheet, given, v)
    s, theta = given.settings, given.theta
    corrected(sheet, given, m, v, symbol)
    c1, c2 = sheet.values["c1"], sheet.values["c2"]
    lr = sheet.add("lr_t", s.lr * c2**0.5 / c1, "lr with both bias corrections in it", "lr⋅√(c2)/c1")
    root = np.sqrt(v)
    sheet.add(
        "k", lr / (root + s.eps), "effective step: lr for this element, per unit of m", f"lr_t/(√({symbol}) + eps)"
    )
    u = sheet.add("u", lr * m / (root + s.eps), "what the gradients ask for", f"lr_t⋅m/(√({symbol}) + eps)")
    shrink = s.lr * s.weight_decay
    if shrink == 0 or theta is None:
        moved(sheet, given, "−u", -u)
    elif given.coming:
        decay = sheet.add("d", shrink * (theta - u), DECAY, "lr⋅wd⋅(θ − u)")
        moved(sheet, given, "−u − d", -u - decay)
    else:
        decay = sheet.add("d", shrink * theta / (1 - shrink), DECAY, "lr⋅wd⋅θ/(1 − lr⋅wd)")
        sheet.add("θ_before", theta + u + decay, SOLVED, "θ + u + d")
        moved(sheet, given, "−u − d", -u - decay)
