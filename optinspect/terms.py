"""The constants of an Adam-like step, without numpy: what a file says of them is read before any value is."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt


@dataclass(frozen=True, slots=True)
class AdamTerms:
    """How a parameter's Adam-like state is read: slots, hyperparameters of its group, and t, the steps done.

    The step is lr · m̂ / (√v̂ + eps), with m̂ = m/(1 − β1^t) and v̂ = v/(1 − β2^t).
    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.

    v_slot  "exp_avg_sq"; "max_exp_avg_sq" with amsgrad
    """

    m_slot: str
    v_slot: str
    lr: float
    beta1: float
    beta2: float
    eps: float
    step: float

    def obstacle(self) -> str | None:
        """Why the bias corrections cannot be computed; None when they can."""
        numbers = (self.lr, self.beta1, self.beta2, self.eps, self.step)
        if not all(isfinite(x) for x in numbers):
            return "a hyperparameter is not finite"
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            return f"betas are ({self.beta1:g}, {self.beta2:g}) (expected 0 ≤ β < 1)"
        return None if self.step > 0 else f"{self.step:g} steps done (expected at least 1)"

    @property
    def scales(self) -> tuple[float, float]:
        """1/(1 − β1^t) and 1/√(1 − β2^t): m̂ = m·first, √v̂ = √v·second."""
        return 1 / (1 - self.beta1**self.step), 1 / sqrt(1 - self.beta2**self.step)
