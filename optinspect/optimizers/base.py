"""What an optimizer is, as far as a file shows it: its slots, its settings and their defaults."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final, Literal

from optinspect.tensors import TensorRef
from optinspect.terms import AdamTerms

SlotKind = Literal["parameter", "scalar", "factored", "quantised", "other"]
"""parameter: the parameter's own shape; scalar: one number; factored: rows, columns, preconditioners;
quantised: codes or scales in a layout of their own; other: anything else."""


class _NoDefault:
    """Marks a setting whose default is not known or that is no setting (a running value)."""

    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT: Final = _NoDefault()

COMMON_KEYS = frozenset({"params", "param_names", "lr", "initial_lr", "weight_decay", "betas", "eps"})
"""Shown in columns of their own, so never among the other settings."""

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Switch:
    """A slot that a step needs where the setting `key` is true or above 0, and does not look at where it is not.

    anew  a step makes the slot where it is missing, from the gradient itself (which may be sparse)
    """

    key: str
    slot: str
    anew: bool = False

    def on(self, settings: Settings) -> bool | None:
        """None where the setting is absent or no number."""
        value = settings.get(self.key)
        return value > 0 if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class Range:
    """Where the values of a slot lie once a step was taken: strictly between two numbers.

    end  whether under these settings, after so many steps, they may reach the ends themselves
    """

    low: float
    high: float
    end: Callable[[Settings, float], bool]

    def takes(self, value: float, settings: Settings, step: float) -> bool:
        if self.low < value < self.high:
            return True
        return value in (self.low, self.high) and self.end(settings, step)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One optimizer class of the field.

    name       its class name
    source     the package that has it
    slots      every slot it may keep, with its kind
    defaults   every key its group may hold, with the default (torch: of 2.13); NO_DEFAULT for running values
    always     slots that every parameter with state has
    later      keys that older versions do not write; those it never has may be among them
    variants   keys that other writers of it add, with the same slots; its own class does not have them
    fixed      settings that tell it from a sibling with the same keys
    m_slot, v_slot, max_slot   first and second moment of an Adam-like one, in the parameter's shape
    step_key   the group's counter where no slot counts ("step", "k")
    adam_step  its step is lr · m̂/(√v̂ + eps) of these two, but for the weight decay
    patterns   a slot is recognised by a part of its name ("0.scale_by_soap_exp_avg_2")
    with_any, without   slots that tell it from a sibling: some parameter has one of them, none has one of them
    factors    the slots of row and column factors, whose shapes give the parameter's
    tensor_class   the tensor subclass of its slots ("OptimState4bit")
    signed     slots that may be negative though others have squares under that name
    switches   slots that a setting asks for
    by_rank    slots of every parameter with one dimension or none, and of every one with more
    ranges     where the values of a slot lie that are no squares
    centred    slots of a mean and of a mean of squares with equal weights, whose sum is at most 1 (mean² ≤ the other),
               and the key of their decay
    """

    name: str
    source: str
    slots: Mapping[str, SlotKind]
    defaults: Settings
    always: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    variants: frozenset[str] = frozenset()
    fixed: Settings = field(default_factory=dict)
    m_slot: str | None = None
    v_slot: str | None = None
    max_slot: str | None = None
    step_key: str | None = None
    adam_step: bool = False
    patterns: bool = False
    with_any: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    factors: tuple[str, str] | None = None
    tensor_class: str | None = None
    signed: frozenset[str] = frozenset()
    switches: tuple[Switch, ...] = ()
    by_rank: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    ranges: Mapping[str, Range] = field(default_factory=dict)
    centred: tuple[str, str, str] | None = None

    @property
    def asked(self) -> tuple[Switch, ...]:
        """`switches`, and AMSGrad's wherever there is a slot for its maximum."""
        return (*self.switches, *([Switch("amsgrad", self.max_slot)] if self.max_slot else []))

    def of_rank(self, rank: int | None, held: Collection[str]) -> frozenset[str]:
        """Slots that a parameter of so many dimensions has; where they are not known, as the slots held tell it."""
        vector, matrix = self.by_rank
        if rank is None:
            return next((slots for slots in (matrix, vector) if slots.intersection(held)), frozenset())
        return matrix if rank > 1 else vector

    @property
    def required(self) -> frozenset[str]:
        return frozenset(self.defaults) - self.later

    def kind(self, slot: str) -> SlotKind | None:
        """What `slot` is; None for a slot it does not keep. Of a list ("Q.0") the name in front counts."""
        found = self.slots.get(slot) or self.slots.get(slot.partition(".")[0])
        if found is None and self.patterns:
            found = next((kind for name, kind in self.slots.items() if name in slot), None)
        return found


def slots(
    parameter: str = "", scalar: str = "", factored: str = "", quantised: str = "", other: str = ""
) -> dict[str, SlotKind]:
    """Slot kinds from names separated by blanks."""
    table: dict[str, SlotKind] = {}
    rows: tuple[tuple[SlotKind, str], ...] = (
        ("parameter", parameter),
        ("scalar", scalar),
        ("factored", factored),
        ("quantised", quantised),
        ("other", other),
    )
    for kind, names in rows:
        table.update(dict.fromkeys(names.split(), kind))
    return table


def words(names: str) -> frozenset[str]:
    return frozenset(names.split())


def same_setting(value: Any, default: Any) -> bool:
    """Equal as settings: 0 and 0.0 are, (0.9, 0.999) and [0.9, 0.999] are, True and 1 are not."""
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return len(value) == len(default) and all(same_setting(a, b) for a, b in zip(value, default, strict=True))
    if isinstance(value, bool) or isinstance(default, bool):
        return value is default
    if isinstance(value, int | float) and isinstance(default, int | float):
        return float(value) == float(default)
    return type(value) is type(default) and bool(value == default)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None


def terms_of(optimizer: Optimizer, held: Mapping[str, Any], group: Settings, step: float) -> AdamTerms | None:
    """Where `optimizer` keeps m and v (`v_slot` is the maximum where AMSGrad keeps one), and its constants."""
    m_slot, v_slot, betas = optimizer.m_slot, optimizer.v_slot, group.get("betas")
    if not optimizer.adam_step or m_slot is None or v_slot is None or m_slot not in held or v_slot not in held:
        return None
    if group.get("amsgrad") is True and optimizer.max_slot in held:
        v_slot = optimizer.max_slot or v_slot
    if not isinstance(betas, list | tuple) or len(betas) != 2 or not isfinite(step):
        return None
    if any(isinstance(held[slot], TensorRef) and not held[slot].dtype.is_floating for slot in (m_slot, v_slot)):
        return None  # codes of a quantised state are no moments
    lr, eps, beta1, beta2 = (_number(value) for value in (group.get("lr"), group.get("eps"), betas[0], betas[1]))
    if lr is None or eps is None or beta1 is None or beta2 is None or not (0 <= beta1 < 1 and 0 <= beta2 < 1):
        return None
    return AdamTerms(m_slot, v_slot, lr, beta1, beta2, eps, float(step))
