"""What the samples show of k = 1: the betas that were used, whose state is whose, and which rules can fit."""

from __future__ import annotations

from collections.abc import Sequence

from optinspect.proof.fitting import Rivals
from optinspect.proof.pairing import Pair, Parameter
from optinspect.proof.sampling import Samples
from optinspect.proof.studied import GroupStudy, Study
from optinspect.proof.study_moments import choose_betas, match_states
from optinspect.proof.study_rules import choose_rules, confirm_rules, match_weights


def study(pair: Pair, stepped: Sequence[Parameter]) -> Study:
    """Raises what reading raises."""
    samples = Samples(stepped, pair.weights)
    by_group: dict[int, list[Parameter]] = {}
    for p in stepped:
        by_group.setdefault(p.group, []).append(p)
    found = Study(samples, {number: GroupStudy(tuple(members)) for number, members in by_group.items()})
    for number in by_group:
        choose_betas(pair, number, found)
    match_states(found, stepped)
    rivals = {shape: Rivals(weights) for shape, weights in samples.weights.items()}
    for number in by_group:
        choose_rules(pair, number, found, rivals)
    match_weights(found, stepped, rivals)
    for number in by_group:
        confirm_rules(pair, number, found)
    return found
