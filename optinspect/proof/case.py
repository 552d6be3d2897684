"""Everything known of one optimizer in two files while a verdict is being reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from optinspect.checkpoint import Checkpoint
from optinspect.folding import Bundle, fold
from optinspect.proof.candidates import Candidate
from optinspect.proof.clocks import Clocks
from optinspect.proof.drift import Drift, Drifting
from optinspect.proof.pairing import Pair, Parameter
from optinspect.proof.recovery import gradient
from optinspect.proof.result import Verdict
from optinspect.proof.studied import Study
from optinspect.proof.tallies import PIECE, Stepping, Still, Tally
from optinspect.report import Finding, Severity

SLOPE_ELEMENTS = 1 << 22
"""Elements of all parameters from which lr is inferred: more tell nothing new."""

Work = Stepping | Still | Drifting


@dataclass
class Case:
    """steps: by index, None where neither file counts. reasons: index → why it is undecided.

    tallies, drifts   of the full pass; columns: index → which of its candidates each fitting rule is
    verdicts          what is settled so far; the rest follows from the residuals
    """

    pair: Pair
    clocks: Clocks
    files: tuple[Checkpoint, Checkpoint]
    steps: Mapping[int, float | None]
    reasons: dict[int, str] = field(default_factory=dict)
    study: Study | None = None
    works: dict[int, Work] = field(default_factory=dict)
    tallies: dict[int, Tally] = field(default_factory=dict)
    drifts: dict[int, Drift] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.pair.parameters

    def refute(self, members: Sequence[Parameter], found: Finding) -> None:
        self.findings.append(found)
        if found.severity is Severity.ERROR:
            self.verdicts.update((p.index, "refuted") for p in members)

    def open(self, members: Sequence[Parameter]) -> list[Parameter]:
        """Those that nothing has been found about."""
        return [p for p in members if p.index not in self.verdicts]

    def changes(self, p: Parameter) -> object:
        return self.tallies[p.index].changes if p.index in self.tallies else self.drifts[p.index].changes

    def run(self, threads: int | None, progress: Callable[[int], None] | None) -> None:
        """The full pass over everything in `works`; what cannot be read becomes a reason."""
        bundles = [Bundle(index, None, work.tensors()) for index, work in self.works.items()]
        works = self.works
        for done in fold(
            bundles, lambda bundle, blocks: works[bundle.key].tally(blocks), threads=threads, progress=progress
        ):
            value = done.value
            if done.problems:
                self.reasons[done.key] = next(iter(done.problems.values()))
            if isinstance(works[done.key], Drifting):
                self.drifts[done.key] = value if value is not None else Drift()
            else:
                self.tallies[done.key] = value if value is not None else Tally()


def stepping(study: Study, stepped: Sequence[Parameter]) -> dict[int, Work]:
    """The work of k = 1: the lead and everything else that fits, each distinct formula once."""
    total = sum(prod(p.shape or (0,)) for p in stepped)
    every = max(-(-total // SLOPE_ELEMENTS), 1)
    works: dict[int, Work] = {}
    distinct: dict[int, tuple[Candidate, ...]] = {
        number: different(study, number, [*group.fitting] or ([group.lead] if group.lead else []))
        for number, group in study.groups.items()
    }
    for p in stepped:
        chosen = distinct[p.group]
        after = study.after[p.index]
        weight = study.weights.get(p.index)
        if not chosen:
            works[p.index] = Still(p, weight)
            continue
        small = prod(p.shape or (0,)) <= 4 * PIECE
        moments = study.samples.states[after.index].moments
        works[p.index] = Stepping(p, weight, after, chosen, moments, 1 if small else every)
    return works


def different(study: Study, number: int, fitting: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Without decay several rules are one formula: those that predict the same samples to the last bit."""
    kept: list[Candidate] = []
    seen: list[list[np.ndarray]] = []
    for each in fitting:
        predicted = _predictions(study, number, each)
        if not any(
            all(np.array_equal(x, y, equal_nan=True) for x, y in zip(predicted, old, strict=True)) for old in seen
        ):
            kept.append(each)
            seen.append(predicted)
    return tuple(kept)


def _predictions(study: Study, number: int, each: Candidate) -> list[np.ndarray]:
    found = []
    for p in study.groups[number].members:
        weight = study.weights.get(p.index)
        sample = None if weight is None else study.samples.by_place.get(weight.place)
        if sample is None:
            continue
        state = study.sample(p)
        with np.errstate(all="ignore"):
            g = gradient(state.before, state.after, each.settings)
            if g is not None:
                found.append(each.moved(sample.a, g, state.after, each.number(state.parameter.b)))
    return found
