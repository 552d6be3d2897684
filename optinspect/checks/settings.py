"""OI501 to OI506: hyperparameters that are missing or impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import isfinite, isnan
from typing import Any

from optinspect.checkpoint import OptimizerState, ParamGroup
from optinspect.checks.base import Complaint, Context, Rule, rule
from optinspect.checks.states import slots_kept
from optinspect.checks.values import Found
from optinspect.plain import plain
from optinspect.report import Severity
from optinspect.tensors import is_tensor

Group = tuple[int, OptimizerState, ParamGroup]


def _said(value: Any) -> str:
    """A value that is no number, in a few words."""
    if is_tensor(value):
        return f"a tensor of shape {list(value.shape)}"
    return f"{plain(value, nodes=8)!r}"[:60]


def _wrong(value: Any, low: float, below: float | None = None) -> str | None:
    """What is wrong with a number that must be finite and in [low, below)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {_said(value)} (a number expected)"
    if isnan(value):
        return "is NaN"
    if not isfinite(value):
        return f"is {'Inf' if value > 0 else '-Inf'}"
    if value < low:
        return f"is {value:g}: negative" if low == 0 else f"is {value:g} (at least {low:g} expected)"
    return f"is {value:g} (below {below:g} expected)" if below is not None and value >= below else None


def _each(context: Context, key: str, judge: Callable[[Any, Group], str | None]) -> Iterator[Complaint]:
    """Judge one key in every group that has it."""
    found = []
    for number, optimizer, group in context.groups:
        if key in group.hyperparameters:
            wrong = judge(group.hyperparameters[key], (number, optimizer, group))
            if wrong is not None:
                found.append((number, optimizer, group, key, f"{key} {wrong}"))
    return context.alike(found)


@rule("OI501", Severity.ERROR, title="an impossible learning rate", repair="set lr in every group before going on")
def lr(context: Context) -> Iterable[Complaint]:
    """`lr` is NaN, infinite, negative, None, a text, or a tensor of several elements.

    Why a resume breaks: the checkpoint's lr replaces the one of the script: the next step destroys the weights, or
    raises an error that does not name the file.
    Harmless when: the optimizer chooses its own step and stores None (Adafactor with relative_step: not looked at).
    Repair: set lr in every group, and `_last_lr` and `base_lrs` of the scheduler to fit.
    Seen: schedules that divide by zero; values that went through YAML ("1e-3" is a text there).
    """

    def judge(value: Any, group: Group) -> str | None:
        if value is None and group[2].hyperparameters.get("relative_step"):
            return None
        return _wrong(value, 0)

    return _each(context, "lr", judge)


@rule("OI502", Severity.ERROR, title="impossible betas or momentum")
def betas(context: Context) -> Iterable[Complaint]:
    """A β is outside [0, 1), or there is another number of them than the optimizer takes; so is momentum, RMSprop's
    alpha or Adadelta's rho. β1 ≥ 0.99 above β2 is a warning: the two look exchanged.

    Why a resume breaks: averages grow without bound (β ≥ 1), 1 − β^t divides by zero (β2 = 1), or unpacking fails.
    torch checks these only in the constructor, never when a checkpoint brings them.
    Harmless when: never.
    Repair: set betas to what the run was configured with.
    Seen: edited files; configuration texts that were split at the wrong place.
    """

    def judge(value: Any, group: Group) -> str | None:
        description = context.facts.descriptions.get((group[0], group[2].number))
        usual = description.defaults.get("betas") if description else None
        if not isinstance(value, list | tuple):
            return f"is {_said(value)} (two numbers expected)"
        if isinstance(usual, tuple | list) and len(usual) != len(value):
            return f"has {len(value)} values ({len(usual)} expected)"
        wrong = (_wrong(one, 0, 1) for one in value if one is not None)
        return next((f"[{place}] {one}" for place, one in enumerate(wrong) if one is not None), None)

    yield from _each(context, "betas", judge)
    for key in ("momentum", *FADING):
        yield from _each(context, key, partial(_fading, context, key))
    for each in _each(context, "betas", lambda value, group: _exchanged(context, value, group)):
        yield replace(each, severity=Severity.WARNING)


FADING: Mapping[str, str] = {"alpha": "RMSprop", "rho": "Adadelta"}
"""Decay rates of averages under other names, and whose they are: elsewhere the keys mean something else."""
SLOW = 0.99
"""A β1 from here on that is above β2 is (0.999, 0.9) with its values exchanged; (0.95, 0.9) is a choice."""


def _fading(context: Context, key: str, value: Any, group: Group) -> str | None:
    description = context.facts.descriptions.get((group[0], group[2].number))
    if key in FADING and (description is None or description.name != FADING[key]):
        return None
    return _wrong(value, 0, 1) if value is not None or _torchs(context, group) else None


def _exchanged(context: Context, value: Any, group: Group) -> str | None:
    plain = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, float) for one in value)
    if not plain or not _torchs(context, group) or not 1 > value[0] >= SLOW or not 0 <= value[1] < value[0]:
        return None
    return f"is ({value[0]:g}, {value[1]:g}): the two look exchanged"


def _torchs(context: Context, group: Group) -> bool:
    description = context.facts.descriptions.get((group[0], group[2].number))
    return description is not None and description.source == "torch.optim"


@rule("OI503", Severity.ERROR, title="an impossible eps")
def eps(context: Context) -> Iterable[Complaint]:
    """`eps` is negative, not finite, or no number.

    Why a resume breaks: √v + eps reaches zero or changes its sign where gradients are small.
    Harmless when: never.
    Repair: set eps to what the run was configured with (torch's default is 1e-8).
    Seen: edited files; exponents that lost their sign.
    """

    def judge(value: Any, group: Group) -> str | None:
        if value is None and _torchs(context, group):
            return "is None (a number expected)"
        values = value if isinstance(value, list | tuple) else (value,)
        return next((wrong for one in values if one is not None and (wrong := _wrong(one, 0))), None)

    return _each(context, "eps", judge)


@rule("OI504", Severity.ERROR, title="an impossible weight decay")
def weight_decay(context: Context) -> Iterable[Complaint]:
    """`weight_decay` is negative, not finite, or no number.

    Why a resume breaks: a negative decay lets the weights grow exponentially.
    Harmless when: never; torch's constructors refuse it, load_state_dict does not.
    Repair: set weight_decay to what the run was configured with.
    Seen: edited files; signs turned round for `maximize`.
    """

    def judge(value: Any, group: Group) -> str | None:
        return _wrong(value, 0) if value is not None or _torchs(context, group) else None

    return _each(context, "weight_decay", judge)


@rule("OI505", Severity.ERROR, title="a group lacks a setting")
def keys_missing(context: Context) -> Iterable[Complaint]:
    """A parameter group has no `lr`, or lacks a key that every version of its optimizer writes.

    Why a resume breaks: load_state_dict takes the file's keys and no others: the next step raises KeyError: 'betas'.
    Harmless when: the training script sets the key after loading.
    Repair: add the key with the value of the run. Keys that only newer versions write are never missed here.
    Seen: pytorch#146157, #143828 (an empty group made later ones lose lr and betas), madgrad#15.
    """
    found = []
    for number, optimizer, group in context.groups:
        description = context.facts.descriptions.get((number, group.number))
        needed = description.required if description is not None else frozenset({"lr"})
        if description is None or "lr" in description.defaults:  # A2Grad has none
            needed |= {"lr"}
        for key in sorted(needed - group.hyperparameters.keys()):
            of = f": {description.name} always writes it" if description is not None else ""
            found.append((number, optimizer, group, "", f"{key} is missing{of}"))
    return context.alike(found)


@rule("OI506", Severity.ERROR, title="a setting asks for a slot that is not there", requires=("OI207", "OI208"))
def unprovided(context: Context) -> Iterable[Complaint]:
    """A group says amsgrad=True, but none of its parameters keeps a max_exp_avg_sq; or RMSprop's centered=True without
    grad_avg, its momentum above 0 without momentum_buffer.

    Why a resume breaks: the step raises KeyError: 'max_exp_avg_sq'.
    Harmless when: never. SGD makes its momentum_buffer anew; the reverse is OI511.
    Repair: set amsgrad=False, or max_exp_avg_sq to a copy of exp_avg_sq; for RMSprop, centered=False or momentum=0.
    Seen: hyperparameters of one run put on the state of another: the flag travels with the file.
    """
    found: Found = []
    kept = slots_kept(context.facts)
    for subject in context.subjects:
        description, settings = context.facts.description(subject), subject.group.hyperparameters
        for each in description.asked if description is not None and subject.state.present != "missing" else ():
            provided = each.anew or (subject.optimizer, subject.group.number, each.slot) in kept
            if each.on(settings) and not provided:
                found.append((subject, each.slot, f"{each.key}={settings[each.key]}, but {each.slot} is missing"))
    return context.each(found)


RULES: tuple[Rule, ...] = (
    lr,
    betas,
    eps,
    weight_decay,
    keys_missing,
    unprovided,
)
