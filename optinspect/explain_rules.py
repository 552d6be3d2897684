"""Which sheet explains which step rule, and the sheets of the rules that are not AdamW's kin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optinspect.explain_terms import (
    LR,
    Given,
    Sheet,
    adam,
    adamw,
    agreement,
    corrected,
    counted,
    course,
    fed,
    moments,
    moved,
    shrunk,
    with_l2,
)
from optinspect.optimizers.rules.nadam import momentum_at

MU = "share of the old direction that each step keeps"


def nadam(sheet: Sheet, given: Given) -> None:
    """The step looks ahead along the momentum: a part of the gradient, a part of m, on a schedule μ of their own."""
    s, t = given.settings, given.step
    counted(sheet, given)
    m, v = moments(sheet, given, l2=not s.decoupled)
    mean, root = corrected(sheet, given, m, v, "v")
    agreement(sheet, mean, root, s.eps)
    sheet.add("ψ", s.momentum_decay, "momentum_decay of the group: how fast μ grows towards β1")
    mu = sheet.add("μ", momentum_at(t, s), "momentum of this step", "β1⋅(1 − 0.5⋅0.96^(t⋅ψ))")
    ahead = sheet.add("μ_next", momentum_at(t + 1, s), "momentum of the next step", "β1⋅(1 − 0.5⋅0.96^((t + 1)⋅ψ))")
    product = _product(sheet, given, mu)
    gradient, symbol = sheet.values[fed(sheet)] if given.coming else None, fed(sheet)
    if gradient is None:
        told = "the last gradient is not in the file: taken for the average one"
        gradient, symbol = sheet.add("g", mean, told, "m̂"), "g"
    told = "the gradient's part of the step"
    now = s.lr * (1 - mu) / (1 - product) * gradient / (root + s.eps)
    sheet.add("u_g", now, told, f"lr⋅(1 − μ)/(1 − Π)⋅{symbol}/(√v̂ + eps)")
    later = s.lr * ahead / (1 - product * ahead) * m / (root + s.eps)
    sheet.add("u_m", later, "the momentum's part of the step", "lr⋅μ_next/(1 − Π⋅μ_next)⋅m/(√v̂ + eps)")
    u = sheet.add("u", now + later, "what the gradients ask for", "u_g + u_m")
    if s.decoupled:
        shrunk(sheet, given, u)
    else:
        moved(sheet, given, "−u", -u)


def _product(sheet: Sheet, given: Given, mu: float) -> float:
    stored, told = given.scalars["mu_product"], "product of all μ so far (mu_product)"
    if not given.coming:
        return float(sheet.add("Π", stored, told))
    sheet.add("Π_before", stored, told)
    return float(sheet.add("Π", stored * mu, "product of all μ, this step's too", "Π_before⋅μ"))


def sgd(sheet: Sheet, given: Given) -> None:
    """The same step for every unit of b: nothing is measured against the usual size of the gradients."""
    s = given.settings
    sheet.add("lr", s.lr, LR)
    sheet.add("μ", s.momentum, MU)
    sheet.add("τ", s.dampening, "dampening: what is left out of each new gradient")
    sheet.add("wd", s.weight_decay, "weight decay of the group, as L2 in the gradient")
    if given.theta is not None:
        sheet.add("θ", given.theta, "the weight before this step" if given.coming else "the weight, after this step")
    if given.coming:
        sheet.add("g", given.gradient, "the gradient of this step, which is made up")
        with_l2(sheet, given)
    symbol = fed(sheet)
    gradient = sheet.values.get(symbol)
    if s.momentum == 0:
        u = sheet.add("u", s.lr * gradient, "what the gradient asks for", f"lr⋅{symbol}")  # type: ignore[operator]
    else:
        buffer = _buffer(sheet, given)
        direction, name = buffer, "b"
        if s.nesterov:
            if gradient is None:
                told = "the last gradient is not in the file: taken for the average one"
                gradient, symbol = sheet.add("g", buffer * (1 - s.momentum), told, "b⋅(1 − μ)"), "g"
            told = "Nesterov: one step further along b"
            direction, name = sheet.add("n", gradient + s.momentum * buffer, told, f"{symbol} + μ⋅b"), "n"
        u = sheet.add("u", s.lr * direction, "what the gradients ask for", f"lr⋅{name}")
    moved(sheet, given, "−u", -u)


def _buffer(sheet: Sheet, given: Given) -> Any:
    told = "running sum of the gradients (momentum_buffer): older ones count less by μ a step"
    stored = given.slots.get("momentum_buffer")
    if not given.coming:
        return sheet.add("b", stored, told)
    symbol = fed(sheet)
    gradient = sheet.values[symbol]
    if stored is None:
        return sheet.add("b", gradient, "the first step takes the gradient as it is", symbol)
    s = given.settings
    sheet.add("b_before", stored, told)
    after = s.momentum * stored + (1 - s.dampening) * gradient
    return sheet.add("b", after, "b after this step", f"μ⋅b_before + (1 − τ)⋅{symbol}")


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a rule is explained. rule: its name; formula: the whole step in one line."""

    rule: str
    formula: str
    write: Callable[[Sheet, Given], None]


EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation("adamw", "θ ← θ⋅(1 − lr⋅wd);  θ ← θ − lr⋅m̂/(√v̂ + eps)", adamw),
    Explanation("adam", "g ← g + wd⋅θ into m and v;  θ ← θ − lr⋅m̂/(√v̂ + eps)", adam),
    Explanation("nadam", "θ ← θ − lr⋅(1−μ)/(1−Π)⋅g/(√v̂ + eps) − lr⋅μ_next/(1−Π⋅μ_next)⋅m/(√v̂ + eps)", nadam),
    Explanation("sgd", "g ← g + wd⋅θ;  b ← μ⋅b + (1−τ)⋅g;  θ ← θ − lr⋅b", sgd),
    Explanation("course-adamw", "θ ← θ − lr_t⋅m/(√v + eps), lr_t = lr⋅√(1−β2^t)/(1−β1^t);  θ ← θ − lr⋅wd⋅θ", course),
)


def explanation_of(rule: str) -> Explanation | None:
    return next((each for each in EXPLANATIONS if each.rule == rule), None)
