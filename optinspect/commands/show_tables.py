"""The tables of `show`: their columns (docs/json.md), and a row for each group, parameter and model tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optinspect.checkpoint import OptimizerState, ParamGroup
from optinspect.commands.facts import Facts, Spare, Subject
from optinspect.optimizers import named, non_default
from optinspect.plain import plain
from optinspect.ranges import pairs
from optinspect.report import Column, Table, Unit

OWN_COLUMNS = ("params", "param_names", "lr", "initial_lr", "weight_decay", "betas", "eps")
"""Keys of a group that are not repeated among its other hyperparameters."""

OPTIMIZERS = (
    Column("optimizer", "optimizer", Unit.COUNT, 0),
    Column("route", "where", Unit.NAME, 0),
    Column("family", "family", Unit.TEXT, 1),
    Column("family_candidates", "could be", Unit.LIST, 1),
    Column("groups", "groups", Unit.COUNT, 2),
    Column("parameters", "parameters", Unit.COUNT, 1),
    Column("elements", "elements", Unit.COUNT, 3),
    Column("state_bytes", "state", Unit.BYTES, 2),
    Column("step_min", "step from", Unit.STEP, 2),
    Column("step_max", "to", Unit.STEP, 2),
)
GROUPS = (
    Column("optimizer", "optimizer", Unit.COUNT, 0),
    Column("group", "group", Unit.COUNT, 0),
    Column("lr", "lr", Unit.SETTING, 0),
    Column("initial_lr", "initial lr", Unit.SETTING, 1),
    Column("weight_decay", "weight decay", Unit.SETTING, 0),
    Column("betas", "betas", Unit.LIST, 1),
    Column("eps", "eps", Unit.SETTING, 3),
    Column("hyperparameters", "hyperparameters", Unit.ANY, 9, machine=True),
    Column("non_default", "not default", Unit.ANY, 2),
    Column("parameters", "parameters", Unit.COUNT, 1),
    Column("indices", "index", Unit.RANGES, 2),
    Column("elements", "elements", Unit.COUNT, 3),
    Column("state_bytes", "state", Unit.BYTES, 4),
)
PARAMETERS = (
    Column("optimizer", "optimizer", Unit.COUNT, 0),
    Column("index", "index", Unit.COUNT, 0),
    Column("key", "key", Unit.ANY, 9, machine=True),
    Column("name", "name", Unit.NAME, 0),
    Column("aliases", "tied to", Unit.LIST, 5),
    Column("group", "group", Unit.COUNT, 1),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("dtype", "dtype", Unit.TEXT, 4),
    Column("device", "device", Unit.TEXT, 9, machine=True),
    Column("elements", "elements", Unit.COUNT, 8),
    Column("step", "step", Unit.STEP, 3),
    Column("slots", "state", Unit.LIST, 5),
    Column("state", "state kept", Unit.TEXT, 9, machine=True),
    Column("evidence", "named by", Unit.TEXT, 0),
    Column("convention", "convention", Unit.TEXT, 7),
    Column("solutions", "solutions", Unit.COUNT, 3),
    Column("rivals", "rivals", Unit.LIST, 9, machine=True),
    Column("effective_step", "eff. step", Unit.REAL, 4),
    Column("update_ratio", "step/weight", Unit.RATIO, 2),
)
UNOPTIMIZED = (
    Column("name", "name", Unit.NAME, 0),
    Column("aliases", "tied to", Unit.LIST, 4),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("dtype", "dtype", Unit.TEXT, 2),
    Column("elements", "elements", Unit.COUNT, 3),
    Column("kind", "kind", Unit.TEXT, 0),
)


def tables(facts: Facts) -> tuple[Table, ...]:
    """All but the statistics."""
    several = len(facts.checkpoint.optimizers) > 1
    groups = list(_groups(facts))
    return (
        Table("optimizers", "Optimizers", OPTIMIZERS, list(_optimizers(facts)), machine=not several),
        Table("groups", "Groups", numbered(GROUPS, several), groups),
        Table(
            "parameters",
            "Parameters",
            numbered(PARAMETERS, several),
            [_parameter(facts, subject) for subject in facts.subjects],
            total=len(facts.everything),
        ),
        Table(
            "unoptimized",
            "In the model, in no group",
            UNOPTIMIZED,
            [_spare(each) for each in facts.spare],
            total=facts.spare_total,
        ),
    )


def numbered(columns: tuple[Column, ...], several: bool) -> tuple[Column, ...]:
    """People need the optimizer's number only where there are several."""
    return tuple(replace(c, machine=not several) if c.key == "optimizer" else c for c in columns)


def _optimizers(facts: Facts) -> Iterator[Mapping[str, Any]]:
    for number, optimizer in enumerate(facts.checkpoint.optimizers):
        subjects = [subject for subject in facts.everything if subject.optimizer == number]
        yield {
            "optimizer": number,
            "route": optimizer.route,
            "family": optimizer.family,
            "family_candidates": list(optimizer.families) if len(optimizer.families) > 1 else None,
            "groups": len(optimizer.groups),
            "parameters": len(optimizer.parameters),
            "elements": elements(subjects),
            "state_bytes": optimizer.nbytes,
            "step_min": whole(min(optimizer.steps, default=None)),
            "step_max": whole(max(optimizer.steps, default=None)),
        }


def _groups(facts: Facts) -> Iterator[Mapping[str, Any]]:
    for number, optimizer in enumerate(facts.checkpoint.optimizers):
        chosen = {s.group.number for s in facts.subjects if s.optimizer == number}
        for group in optimizer.groups:
            if group.number in chosen or len(facts.subjects) == len(facts.everything):
                yield _group(number, optimizer, group, facts.by_group.get((number, group.number), ()))


def _group(number: int, optimizer: OptimizerState, group: ParamGroup, subjects: Sequence[Subject]) -> dict[str, Any]:
    settings = group.hyperparameters
    description = named(optimizer.families[0]) if optimizer.families else None
    differing = {key: plain(value) for key, value in non_default(description, settings).items()}
    return {
        "optimizer": number,
        "group": group.number,
        **{key: plain(settings.get(key)) for key in ("lr", "initial_lr", "weight_decay", "betas", "eps")},
        "hyperparameters": {key: plain(value) for key, value in settings.items() if key not in OWN_COLUMNS},
        "non_default": {key: value for key, value in differing.items() if key not in OWN_COLUMNS} or None,
        "parameters": len(group.params),
        "indices": pairs(subject.state.index for subject in subjects),
        "elements": elements(subjects),
        "state_bytes": sum(subject.state.nbytes for subject in subjects),
    }


def _parameter(facts: Facts, subject: Subject) -> dict[str, Any]:
    state, name = subject.state, subject.named
    entry = name.entry
    measured = facts.measured.get(subject.key) if facts.measured is not None else None
    shape = entry.shape if entry else state.shape
    device = entry.tensor.device if entry else next((tensor.device for _, tensor in state.tensors), None)
    return {
        "optimizer": subject.optimizer,
        "index": state.index,
        "key": state.key,
        "name": name.name,
        "aliases": list(name.aliases) or None,
        "group": state.group,
        "shape": None if shape is None else list(shape),
        "dtype": entry.tensor.dtype.name if entry and entry.tensor.dtype else None,
        "device": device,
        "elements": subject.elements,
        "step": whole(state.step),
        "slots": list(state.slots),
        "state": state.present,
        "evidence": name.evidence,
        "convention": name.convention,
        "solutions": name.solutions,
        "rivals": list(name.rivals) or None,
        "effective_step": measured.effective_step if measured else None,
        "update_ratio": measured.update_ratio if measured else None,
    }


def _spare(spare: Spare) -> dict[str, Any]:
    _, entry, kind = spare
    return {
        "name": entry.name,
        "aliases": list(entry.aliases) or None,
        "shape": list(entry.shape),
        "dtype": entry.tensor.dtype.name if entry.tensor.dtype else None,
        "elements": entry.tensor.numel,
        "kind": kind,
    }


def elements(subjects: Sequence[Subject]) -> int | None:
    """None where the file does not show the shape of one of them."""
    counts = [subject.elements for subject in subjects]
    return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


def whole(step: float | None) -> int | float | None:
    """A step count as an integer, where it is one."""
    return int(step) if step is not None and float(step).is_integer() else step
