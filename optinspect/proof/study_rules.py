"""From samples of the weights: which rules can have moved them, and which weight each state moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from optinspect.proof.candidates import Candidate, candidates, mistaken
from optinspect.proof.fitting import Rivals, unique_partners
from optinspect.proof.inference import LeastSquares, round_value
from optinspect.proof.pairing import Pair, Parameter
from optinspect.proof.precision import FITS, RULED_OUT, step_unit
from optinspect.proof.recovery import gradient
from optinspect.proof.sampling import StateSample, WeightSample
from optinspect.proof.studied import GroupStudy, Study

LEAST_ELEMENTS = 64
"""From which a free lr is a test: one number for so many equations."""


def options(pair: Pair, number: int, group: GroupStudy) -> list[Candidate]:
    """The candidates of a group under the betas that its moments fit."""
    every = list(candidates(pair, number, group.members))
    if group.betas is None:
        return every
    beta1, beta2 = group.betas
    return list(dict.fromkeys(replace(c, settings=replace(c.settings, beta1=beta1, beta2=beta2)) for c in every))


def choose_rules(pair: Pair, number: int, found: Study, rivals: Mapping[tuple[int, ...], Rivals]) -> None:
    """The candidate under which most members can have moved some weight of their shape."""
    group = found.groups[number]
    sound = [p for p in group.members if p.index not in found.broken and p.shape is not None]
    best = -1
    for each in options(pair, number, group):
        count = 0
        for p in sound:
            residuals = rivals[p.shape].residuals(each, found.sample(p)) if p.shape is not None else np.empty(0)
            count += bool(residuals.size and residuals.min() <= FITS)
        if count > best:
            best, group.lead = count, each
        if count == len(sound):
            break


def match_weights(found: Study, stepped: Sequence[Parameter], rivals: Mapping[tuple[int, ...], Rivals]) -> None:
    by_shape: dict[tuple[int, ...], list[Parameter]] = {}
    for p in stepped:
        if p.weight is not None:
            found.weights[p.index] = p.weight
        if p.shape is not None and p.index not in found.broken and found.groups[p.group].lead is not None:
            by_shape.setdefault(p.shape, []).append(p)
    for shape, members in by_shape.items():
        stacked = rivals[shape]
        if not stacked.weights:
            continue
        leads = [found.groups[p.group].lead for p in members]
        matrix = np.array(
            [
                stacked.residuals(lead, found.sample(p))
                for p, lead in zip(members, leads, strict=True)
                if lead is not None
            ]
        )
        places = {each.weight.place: column for column, each in enumerate(stacked.weights)}
        partners = unique_partners(matrix, FITS, RULED_OUT)
        moved = stacked.stillness()
        for row, p in enumerate(members):
            column = partners.get(row)
            if np.count_nonzero(matrix[row] <= FITS) == 1:
                found.sole.add(p.index)
            own = places.get(p.weight.place) if p.weight is not None else None
            if column is not None and moved[column] >= RULED_OUT:
                found.proved.add(p.index)
                found.weights[p.index] = stacked.weights[column].weight
                if own is not None and own != column:
                    found.renamed[p.index] = p.weight.place if p.weight else stacked.weights[column].weight.place
            elif (own is None or matrix[row, own] > FITS) and matrix[row].min() > FITS:
                found.unfit.add(p.index)
            elif own is None or matrix[row, own] > FITS:
                found.weights[p.index] = stacked.weights[int(matrix[row].argmin())].weight


def confirm_rules(pair: Pair, number: int, found: Study) -> None:
    """Every candidate that fits all sound members with the weights they move; else the first with an lr of its own."""
    group = found.groups[number]
    sound = [
        p
        for p in group.members
        if p.index not in found.broken and p.index in found.weights and p.index not in found.unfit
    ]
    every = options(pair, number, group)
    enough = 2 * len(sound) >= len(group.members) and bool(sound)
    group.fitting = _distinct_rules(each for each in every if enough and _fits_all(found, sound, each))
    if group.fitting:
        group.lead = group.fitting[0]
        return
    free = _with_free_lr(pair, number, found)
    if free is not None:
        sound = [p for p in group.members if p.index in found.weights and p.index not in found.broken]
        group.fitting, group.lead = [free], free
        found.unfit -= {p.index for p in sound}


def _distinct_rules(every: Iterable[Candidate]) -> list[Candidate]:
    first: dict[str, Candidate] = {}
    for each in every:
        first.setdefault(each.rule.name, each)
    return list(first.values())


def _fits_all(found: Study, members: Sequence[Parameter], each: Candidate) -> bool:
    return all(residual(found, p, each) <= FITS for p in members)


def residual(found: Study, p: Parameter, each: Candidate) -> float:
    """On the samples, of a parameter with the weight it moves."""
    weight = found.weights.get(p.index)
    sample = None if weight is None else found.samples.by_place.get(weight.place)
    return float("inf") if sample is None else float(Rivals([sample]).residuals(each, found.sample(p))[0])


def _with_free_lr(pair: Pair, number: int, found: Study) -> Candidate | None:
    """The declared rule at the lr that the weights show, where that fits everything and neither file states it."""
    group = found.groups[number]
    members = [p for p in group.members if p.index in found.weights and p.index not in found.broken]
    first = next((each for each in options(pair, number, group) if not mistaken(each.rule)), None)
    if first is None or 2 * len(members) < len(group.members):
        return None
    total = LeastSquares()
    for p in members:
        total = total + _slope(found.samples.by_place[found.weights[p.index].place], found.sample(p), first)
    slope = total.solve()
    if slope is None or total.n < LEAST_ELEMENTS or not slope.lr > 0 or slope.lr_error > 1e-4 * slope.lr:
        return None
    near = round_value(slope.lr, 4 * slope.lr_error / slope.lr, digits=3)
    free = replace(first, source="neither", settings=replace(first.settings, lr=near or slope.lr))
    return free if _fits_all(found, members, free) else None


def _slope(weight: WeightSample, state: StateSample, each: Candidate) -> LeastSquares:
    with np.errstate(all="ignore"):
        g = gradient(state.before, state.after, each.settings)
        if g is None:
            return LeastSquares()
        x = each.direction(g, state.after, each.number(state.parameter.b))
        own = weight.precision
        unit = step_unit(weight.a, weight.b, own.roundoff, own.smallest, max(own.roundoff, state.roundoff))
        return LeastSquares.of(x, weight.a, weight.b - weight.a, unit, each.settings.lr)
