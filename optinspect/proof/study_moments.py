"""From samples of the moments: the betas that were used, and whose state in B follows from whose in A."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optinspect.optimizers.rules.settings import Settings
from optinspect.proof import betas as beta_search
from optinspect.proof.candidates import candidates
from optinspect.proof.fitting import unique_partners
from optinspect.proof.pairing import Pair, Parameter
from optinspect.proof.precision import MOMENTS_FIT
from optinspect.proof.recovery import gradient, moment_residual
from optinspect.proof.sampling import StateSample
from optinspect.proof.studied import BetaPair, Study

_ANY = Settings(lr=0.0)

MOST_ELEMENTS = 16_384
"""Of a group that betas are inferred from."""


def choose_betas(pair: Pair, number: int, found: Study) -> None:
    group = found.groups[number]
    samples = [found.samples.states[p.index] for p in group.members]
    adam = [each for each in samples if each.moments is not None]
    if not adam:
        return
    settings = [each.settings for each in candidates(pair, number, group.members)]
    options = list(dict.fromkeys((s.beta1, s.beta2) for s in settings))
    counts = {option: sum(_follows(each, each, option) for each in adam) for option in options}
    group.inferred = _inferred(adam, options[0] if options else (0.9, 0.999))
    best = max(options, key=lambda option: counts[option], default=None)
    enough = len(adam) / 2
    if best is not None and counts[best] < enough:
        best = max(options, key=lambda option: _followed(adam, option))
        counts[best] = _followed(adam, best)
    if best is not None and counts[best] >= enough:
        group.betas = best
        return
    told = group.inferred
    if told[0] is not None and told[1] is not None and sum(_follows(e, e, (told[0], told[1])) for e in adam) >= enough:
        group.betas, group.stored = (told[0], told[1]), False
    else:
        group.betas = best


def _follows(before: StateSample, after: StateSample, betas: BetaPair) -> bool:
    """Whether the moments of `after` in B are one step after those of `before` in A."""
    return _disagreement(before, after, betas) <= MOMENTS_FIT


def _disagreement(before: StateSample, after: StateSample, betas: BetaPair) -> float:
    if after.moments is None or "exp_avg" not in after.after:
        return float("inf")
    s = replace(_ANY, beta1=betas[0], beta2=betas[1])
    with np.errstate(all="ignore"):
        g = gradient(before.before, after.after, s)
        return float("inf") if g is None else moment_residual(before.before, after.after, g, s, after.moments)


def _followed(samples: Sequence[StateSample], betas: BetaPair) -> int:
    """How many follow from some state of their shape in A: exchanged states do, wrong betas do not."""
    by_shape: dict[tuple[int, ...] | None, list[StateSample]] = {}
    for each in samples:
        by_shape.setdefault(each.parameter.shape, []).append(each)
    return sum(
        any(_follows(before, after, betas) for before in members) for members in by_shape.values() for after in members
    )


def _inferred(samples: Sequence[StateSample], start: BetaPair) -> tuple[float | None, float | None]:
    share = max(MOST_ELEMENTS // len(samples), 16)
    rows: list[list[np.ndarray]] = []
    roundoff = 0.0
    for each in samples:
        if not {"exp_avg", "exp_avg_sq"} <= set(each.before) or each.moments is None:
            continue
        every = (each.before["exp_avg"], each.after["exp_avg"], each.before["exp_avg_sq"], each.after["exp_avg_sq"])
        stride = max(every[0].size // share, 1)
        rows.append([x[::stride] for x in every])
        roundoff = max(roundoff, each.moments.second.roundoff)
    if not rows:
        return None, None
    with np.errstate(all="ignore"):
        m_a, m_b, v_a, v_b = (np.concatenate([row[place] for row in rows]) for place in range(4))
        terms = beta_search.Terms.of(m_a, m_b, v_a, v_b, roundoff)
        found = beta_search.infer(terms, (1 - start[0], 1 - start[1]))
    return (None, None) if found is None else found.told


def match_states(found: Study, stepped: Sequence[Parameter]) -> None:
    """Whose state in B follows from whose in A, where a parameter's own does not."""
    failing: list[Parameter] = []
    for p in stepped:
        found.after[p.index] = p
        group, sample = found.groups[p.group], found.samples.states[p.index]
        if sample.moments is not None and group.betas is not None and not _follows(sample, sample, group.betas):
            failing.append(p)
    by_shape: dict[tuple[int, ...] | None, list[Parameter]] = {}
    for p in failing:
        by_shape.setdefault(p.shape, []).append(p)
    for members in by_shape.values():
        matrix = np.array([[_between(found, p, q) for q in members] for p in members])
        for row, column in unique_partners(matrix, MOMENTS_FIT, 2 * MOMENTS_FIT).items():
            found.after[members[row].index] = members[column]
    found.broken = {p.index for p in failing if found.after[p.index] is p}


def _between(found: Study, before: Parameter, after: Parameter) -> float:
    betas = found.groups[before.group].betas
    states = found.samples.states
    return float("inf") if betas is None else _disagreement(states[before.index], states[after.index], betas)
