"""β1 and β2 from the moments before and after one step, whatever the files say they are.

With D = m_B − m_A, a = 1 − β1 and b = 1 − β2, the gradient is g = m_A + D/a and so

    v_B − v_A = b·(m_A² − v_A) + (2b/a)·m_A·D + (b/a²)·D²

which is linear in (b, 2b/a, b/a²): a closed form to start with, then Gauss–Newton steps on (a, b). Every element weighs
1/v_B², the precision that v has. Measured on generated runs: 1 − β to 1e-3 from a few thousand float32 elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import numpy as np

from optinspect.proof.inference import round_value
from optinspect.proof.precision import Doubles

PRECISE = 1e-3
"""Relative standard error of 1 − β up to which it is said."""
ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Betas:
    """1 − β with their relative standard errors."""

    a: float
    b: float
    a_error: float
    b_error: float

    @property
    def told(self) -> tuple[float | None, float | None]:
        """β1 and β2, each where it is precise enough; a round value where one is within the error."""
        return _beta(self.a, self.a_error), _beta(self.b, self.b_error)


def _beta(rest: float, error: float) -> float | None:
    if not error <= PRECISE or not 0 < rest <= 1 + PRECISE:
        return None
    near = round_value(rest, max(4 * error, 1e-6))
    return float(f"{1 - (near if near is not None else min(rest, 1.0)):.12g}")


@dataclass(frozen=True, slots=True)
class Terms:
    """The elements that say something: v_B > 0, finite."""

    m: Doubles
    d: Doubles
    v: Doubles
    change: Doubles
    weight: Doubles

    @classmethod
    def of(cls, m_a: Doubles, m_b: Doubles, v_a: Doubles, v_b: Doubles, roundoff: float) -> Terms:
        good = np.isfinite(m_a) & np.isfinite(m_b) & np.isfinite(v_a) & np.isfinite(v_b) & (v_b > 1e-34) & (m_b != m_a)
        m_a, m_b, v_a, v_b = m_a[good], m_b[good], v_a[good], v_b[good]
        return cls(m_a, m_b - m_a, v_a, v_b - v_a, 1 / (roundoff * v_b))

    def residual(self, a: float, b: float) -> tuple[Doubles, Doubles, Doubles]:
        """Weighted residual and its derivatives by a and b."""
        g = self.m + self.d / a
        left = self.change - b * (g * g - self.v)
        by_a = 2 * b * g * self.d / (a * a)
        return left * self.weight, by_a * self.weight, (self.v - g * g) * self.weight


def infer(terms: Terms, start: tuple[float, float]) -> Betas | None:
    """β1 and β2 by Gauss–Newton from the closed form and from `start` (1−β1, 1−β2); None where nothing is told."""
    if terms.m.size < 16:
        return None
    tried = [_refine(terms, *begun) for begun in (_closed(terms), start) if begun is not None]
    found = [each for each in tried if each is not None]
    return min(found, key=lambda each: each[0])[1] if found else None


def _closed(terms: Terms) -> tuple[float, float] | None:
    columns = np.stack([terms.m * terms.m - terms.v, terms.m * terms.d, terms.d * terms.d]) * terms.weight
    scale = np.sqrt((columns * columns).sum(axis=1))
    if not (scale > 0).all():
        return None
    (b, twice, square), *_ = np.linalg.lstsq((columns / scale[:, None]).T, terms.change * terms.weight, rcond=None)
    b, twice, square = b / scale[0], twice / scale[1], square / scale[2]
    if not (square > 0 and twice > 0):
        return None
    a = twice / (2 * square)
    return (float(a), float(square * a * a)) if 0 < a < 2 else None


def _refine(terms: Terms, a: float, b: float) -> tuple[float, Betas] | None:
    """Gauss–Newton with halved steps; the sum of squares and what it was reached with."""
    cost = _cost(terms, a, b)
    for _ in range(ROUNDS):
        left, by_a, by_b = terms.residual(a, b)
        normal = np.array([[by_a @ by_a, by_a @ by_b], [by_a @ by_b, by_b @ by_b]])
        try:
            step = -np.linalg.solve(normal, np.array([by_a @ left, by_b @ left]))
        except np.linalg.LinAlgError:
            return None
        for _ in range(8):
            tried = a + step[0], b + step[1]
            inside = 0 < tried[0] < 2 and 0 < tried[1] < 2
            if inside and _cost(terms, *tried) <= cost:
                break
            step = step / 2
        else:
            break
        a, b, before, cost = float(tried[0]), float(tried[1]), cost, _cost(terms, *tried)
        if cost >= before * (1 - 1e-9):
            break
    return cost, _with_errors(terms, a, b, cost)


def _cost(terms: Terms, a: float, b: float) -> float:
    left = terms.residual(a, b)[0]
    total = float(left @ left)
    return float("inf") if isnan(total) else total


def _with_errors(terms: Terms, a: float, b: float, cost: float) -> Betas:
    _, by_a, by_b = terms.residual(a, b)
    normal = np.array([[by_a @ by_a, by_a @ by_b], [by_a @ by_b, by_b @ by_b]])
    deviation = max((cost / max(terms.m.size - 2, 1)) ** 0.5, 0.3)
    with np.errstate(all="ignore"):
        try:
            spread = np.sqrt(np.diag(np.linalg.inv(normal))) * deviation
        except np.linalg.LinAlgError:
            spread = np.array([np.inf, np.inf])
    return Betas(a, b, *(float("inf") if isnan(s) else float(s / x) for s, x in zip(spread, (a, b), strict=True)))
