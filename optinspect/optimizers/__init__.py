"""Optimizers as data: what they keep, what their groups hold, and how a file shows which one wrote it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from optinspect.optimizers import compact, third_party, torch_adam, torch_other
from optinspect.optimizers.base import COMMON_KEYS, NO_DEFAULT, Optimizer, SlotKind, same_setting, terms_of
from optinspect.optimizers.recognise import Evidence, matching
from optinspect.terms import AdamTerms

__all__ = [
    "OPTIMIZERS",
    "Optimizer",
    "SlotKind",
    "adam_terms",
    "candidates",
    "families",
    "named",
    "non_default",
]

OPTIMIZERS: tuple[Optimizer, ...] = (
    *torch_adam.OPTIMIZERS,
    *torch_other.OPTIMIZERS,
    *compact.OPTIMIZERS,
    *third_party.OPTIMIZERS,
)
"""Earlier entries come first among candidates that a file cannot tell apart."""

_VOCABULARY = frozenset(key for optimizer in OPTIMIZERS for key in optimizer.defaults)


def candidates(
    hyperparameters: Mapping[str, Any], slots: Collection[str], tensor_classes: Collection[str] = ()
) -> tuple[Optimizer, ...]:
    """Every description that fits a group's keys and the slots seen on its parameters, most likely first.

    `tensor_classes`: bare names of the tensor subclasses among the slots ("OptimState4bit").
    """
    return matching(OPTIMIZERS, _VOCABULARY, Evidence(hyperparameters, frozenset(slots), frozenset(tensor_classes)))


def families(
    hyperparameters: Mapping[str, Any], slots: Collection[str], tensor_classes: Collection[str] = ()
) -> tuple[str, ...]:
    """Names of the optimizers that can have written this: one where the file decides, () where none is known."""
    return tuple(dict.fromkeys(one.name for one in candidates(hyperparameters, slots, tensor_classes)))


def named(family: str) -> Optimizer | None:
    """The first description of that class name."""
    return next((optimizer for optimizer in OPTIMIZERS if optimizer.name == family), None)


def non_default(optimizer: Optimizer | None, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from the optimizer's defaults, in the file's order.

    Keys without a known default (the user's own, or of an unknown optimizer) are always among them.
    """
    defaults: Mapping[str, Any] = optimizer.defaults if optimizer else {}
    return {
        key: value
        for key, value in hyperparameters.items()
        if key not in COMMON_KEYS and not same_setting(value, defaults.get(key, NO_DEFAULT))
    }


def adam_terms(
    families: str | Collection[str] | None, slots: Mapping[str, Any], group: Mapping[str, Any], step: float | None
) -> AdamTerms | None:
    """Where an Adam-like state keeps m and v, with the constants of its step; None where it is not Adam-like.

    families   of the OptimizerState: every candidate must be Adam-like. None or (): an optimizer that nobody knows is
               taken for one where it keeps exp_avg and exp_avg_sq under two betas.
    step       updates so far, ≥ 1; with β outside [0, 1) or settings that are no finite numbers there are no terms
    """
    if step is None or not step >= 1:
        return None
    names = (families,) if isinstance(families, str) else tuple(families or ())
    terms = [_terms(name, slots, group, step) for name in names] or [terms_of(_ANY_ADAM, slots, group, step)]
    return terms[0] if all(terms) else None


def _terms(name: str, slots: Mapping[str, Any], group: Mapping[str, Any], step: float) -> AdamTerms | None:
    described = (terms_of(one, slots, group, step) for one in OPTIMIZERS if one.name == name)
    return next(filter(None, described), None)


_ANY_ADAM = Optimizer(
    "", "", slots={}, defaults={}, m_slot="exp_avg", v_slot="exp_avg_sq", max_slot="max_exp_avg_sq", adam_step=True
)
