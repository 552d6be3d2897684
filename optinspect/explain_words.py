"""What a worked-out step says, in plain words; and its formulas with the element's own numbers in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import sqrt

from optinspect.explain_terms import Term

CHANCE = 2.0
"""An average of gradients this many times as long as pure noise would make it points somewhere."""


def in_numbers(terms: tuple[Term, ...]) -> list[str]:
    """Each formula with the values of the terms before it put in, and its result; "" where there is nothing to add."""
    known: dict[str, str] = {}
    told: list[str] = []
    for term in terms:
        value = _short(float(term.value), 7)
        if term.formula is None:
            told.append(value)
        else:
            told.append(f"{_filled(term.formula, known)} = {value}")
        known[term.symbol] = _short(float(term.value), 4)
    return told


def _filled(formula: str, known: Mapping[str, str]) -> str:
    """Symbols replaced, the longest first; a negative number goes in brackets."""
    symbols = sorted(known, key=len, reverse=True)
    pattern = "|".join(rf"{re.escape(symbol)}(?![\w\u0302])" for symbol in symbols)
    return re.sub(rf"(?<![\w])(?:{pattern})", lambda match: _bracketed(known[match[0]]), formula)


def _bracketed(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def chance(beta1: float, step: float) -> float:
    """|m̂|/√v̂ that gradients of pure noise give (root mean square), while β2 averages over much more of them.

    m̂ is an average with weights (1−β1)·β1^i/(1−β1^t); the root of the sum of their squares is
    √((1−β1)/(1+β1) · (1+β1^t)/(1−β1^t)).
    """
    power = beta1**step
    return sqrt((1 - beta1) / (1 + beta1) * (1 + power) / (1 - power))


def dominant(values: Mapping[str, float]) -> str:
    """What decides this step of the element.

    "nothing", "decay", "eps" (gradients below it), "gradient" (too few of them averaged to tell), "momentum" (the
    gradients agree more than chance would have them) or "noise" (they do not).
    """
    u, d = abs(values["u"]), abs(values.get("d", 0.0))
    if u == 0 and d == 0:
        return "nothing"
    if d > u:
        return "decay"
    if "√v̂" not in values:
        return "momentum" if values.get("μ", 0.0) > 0 else "gradient"
    if values["eps"] > _root(values):
        return "eps"
    expected = chance(values["β1"], values["t"])
    if CHANCE * expected >= 1:
        return "gradient"
    return "momentum" if abs(values["m̂"]) > CHANCE * expected * values["√v̂"] else "noise"


def _root(values: Mapping[str, float]) -> float:
    """What eps is added to: √v̂, or √v where the bias corrections are in lr_t."""
    return values["√v̂"] * sqrt(values["c2"]) if "lr_t" in values else values["√v̂"]


def why(values: Mapping[str, float]) -> str:
    """One or two sentences on what dominates and what the moments mean here."""
    return _REASONS[dominant(values)](values)


def _nothing(values: Mapping[str, float]) -> str:
    if values.get("lr") == 0:
        return "lr is 0: nothing moves, whatever the moments say"
    return "no gradient reaches this element: its average is 0, and nothing else moves it"


def _decay(values: Mapping[str, float]) -> str:
    share = abs(values["d"]) / (abs(values["u"]) + abs(values["d"]))
    return f"weight decay is {share:.0%} of the movement: it pulls the weight towards 0, whatever the gradients say"


def _eps(values: Mapping[str, float]) -> str:
    return (
        f"eps: the usual gradient here ({_root(values):.1e}) is smaller than eps ({values['eps']:g}), so the step is"
        " not brought to the size of lr but shrinks with the gradient, as in plain SGD"
    )


def _gradient(values: Mapping[str, float]) -> str:
    if values.get("β1") == 0 or ("√v̂" not in values and values.get("μ", 0.0) == 0):
        return "the gradient itself: no older ones are averaged in"
    return (
        f"the first gradients: after {values['t']:g} of them the average says little, and the bias corrections"
        f" (m/{values['c1']:.3g}, v/{values['c2']:.3g}) make up for having begun at 0"
    )


def _momentum(values: Mapping[str, float]) -> str:
    if "√v̂" not in values:
        return (
            f"momentum: b sums up about {1 / (1 - min(values['μ'], 0.9999)):.0f} steps, and the step is lr times that"
        )
    ratio, expected = _agreement(values)
    return (
        f"momentum: recent gradients agree. Their average (exp_avg) is {ratio:.0%} of their usual size (the root of"
        f" exp_avg_sq), where noise alone would leave about {expected:.0%}; so the step is that part of lr"
    )


def _noise(values: Mapping[str, float]) -> str:
    ratio, expected = _agreement(values)
    return (
        f"noise: recent gradients mostly cancel. Their average (exp_avg) is {ratio:.1%} of their usual size (the root"
        f" of exp_avg_sq), and chance alone leaves about {expected:.0%}: the step may as well have gone the other way"
    )


def _agreement(values: Mapping[str, float]) -> tuple[float, float]:
    return abs(values["m̂"]) / values["√v̂"], chance(values["β1"], values["t"])


_REASONS = {
    "nothing": _nothing,
    "decay": _decay,
    "eps": _eps,
    "gradient": _gradient,
    "momentum": _momentum,
    "noise": _noise,
}
