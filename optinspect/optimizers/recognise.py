"""Which optimizers fit a group's keys and the slots of its parameters. Nothing is claimed from one of them alone.

A description fits when
  1. the group has every key that all its versions write, its `fixed` settings and its number of betas,
  2. no key but its `variants` belongs to another optimizer's vocabulary; a key that nobody knows is taken for the
     user's own only where the rest is torch's unmistakable set, or where it is text or a known label,
  3. the slots seen are among its own and hold its `always` slots; without any state the keys decide alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optinspect.optimizers.base import NO_DEFAULT, Optimizer, same_setting, words

LABELS = words(
    "params param_names initial_lr name group_name param_group group_type tag label layer layer_id layer_name module"
    " lr_scale lr_mult lr_multiplier lr_factor wd_scale wd_mult decay_mult weight_decay_mult"
    " max_lr min_lr swa_lr max_momentum base_momentum base_lr apply_decay is_wd no_decay use_decay"
    " lookahead_alpha lookahead_k lookahead_step"
)
"""Keys that schedulers, trainers and users add to a group of any optimizer."""

USUAL = words("lr betas eps weight_decay momentum step foreach maximize amsgrad")
"""Settings that say nothing about who has them."""

LOSABLE = words("lr betas eps weight_decay momentum")
"""One of these may be lost where everything else is torch's and the slots speak too."""

IMPLEMENTATION = words("foreach capturable differentiable fused maximize")
"""torch's switches of implementation: three of them together are torch's own hand."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The keys and values of a group, the slot names seen on its parameters, and the slots' tensor subclasses."""

    settings: Mapping[str, Any]
    slots: frozenset[str]
    tensor_classes: frozenset[str] = frozenset()

    @property
    def is_torch(self) -> bool:
        return len(IMPLEMENTATION & self.settings.keys()) >= 3


def matching(optimizers: Sequence[Optimizer], vocabulary: Collection[str], evidence: Evidence) -> tuple[Optimizer, ...]:
    """The optimizers that fit; those whose defaults the group has kept most come first.

    Where one of torch's own fits, packages that wrote the very same keys and slots are not named.
    """
    found = [
        optimizer
        for optimizer in optimizers
        if _keys_fit(optimizer, vocabulary, evidence) and _slots_fit(optimizer, evidence)
    ]
    found = _by_key_order(found, evidence.settings)
    torchs = [one for one in found if one.source == "torch.optim"]
    return tuple(sorted(torchs or found, key=lambda one: -_kept(one, evidence.settings)))


def _keys_fit(optimizer: Optimizer, vocabulary: Collection[str], evidence: Evidence) -> bool:
    settings = evidence.settings
    missing = optimizer.required - settings.keys()
    if missing and not (len(missing) == 1 and missing < LOSABLE and evidence.is_torch and evidence.slots):
        return False
    if evidence.slots and optimizer.step_key and optimizer.step_key not in settings and "step" not in evidence.slots:
        return False  # who counts in the group has counted by now
    if any(key in settings and not same_setting(settings[key], value) for key, value in optimizer.fixed.items()):
        return False
    if not evidence.is_torch and not _same_length(settings.get("betas"), optimizer.defaults.get("betas")):
        return False
    return all(
        key in optimizer.defaults
        or key in optimizer.variants
        or _is_users(key, settings[key], vocabulary, evidence.is_torch)
        for key in settings
    )


def _same_length(value: Any, default: Any) -> bool:
    both = isinstance(value, list | tuple) and isinstance(default, list | tuple)
    return not both or len(value) == len(default)


def _is_users(key: object, value: Any, vocabulary: Collection[str], is_torch: bool) -> bool:
    if key in LABELS or not isinstance(key, str):
        return True
    return key not in vocabulary and (is_torch or isinstance(value, str))


def _slots_fit(optimizer: Optimizer, evidence: Evidence) -> bool:
    slots = evidence.slots
    if not slots:  # keys alone must leave no doubt: what every other optimizer has too says nothing
        return optimizer.tensor_class is None and (evidence.is_torch or not optimizer.required <= USUAL)
    if optimizer.tensor_class not in (evidence.tensor_classes or (None,)):
        return False
    if optimizer.without & slots or (optimizer.with_any and not optimizer.with_any & slots):
        return False
    return all(optimizer.kind(slot) for slot in slots) and all(
        _has(optimizer, name, slots) for name in optimizer.always
    )


def _has(optimizer: Optimizer, name: str, slots: frozenset[str]) -> bool:
    return name in slots or any((name in slot) if optimizer.patterns else slot.startswith(f"{name}.") for slot in slots)


def _by_key_order(found: list[Optimizer], settings: Mapping[str, Any]) -> list[Optimizer]:
    """AdamW alone where `foreach` comes before `maximize`.

    From 1.12 to 2.6 torch's AdamW listed its defaults in that order and Adam in the other; a state resumed from an
    older file gets them appended in Adam's order by both, so the other order decides nothing.
    """
    order = list(settings)
    both = {"AdamW", "Adam"} <= {one.name for one in found}
    if both and {"foreach", "maximize"} <= settings.keys() and order.index("foreach") < order.index("maximize"):
        return [one for one in found if one.name != "Adam"]
    return found


def _kept(optimizer: Optimizer, settings: Mapping[str, Any]) -> int:
    return sum(same_setting(value, optimizer.defaults.get(key, NO_DEFAULT)) for key, value in settings.items())
