"""What stands beside model and optimizer: schedulers, GradScalers, random states, counters. Recognised by content."""

from __future__ import annotations

import re
from typing import Any

from optinspect.layouts.base import last, mapping, sequence
from optinspect.opaque import Opaque
from optinspect.tensors import TensorRef

SCHEDULERS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (name, frozenset(keys.split()))
    for name, keys in (
        ("SequentialLR", "_schedulers _milestones"),
        ("ChainedScheduler", "_schedulers _last_lr"),
        ("ReduceLROnPlateau", "best num_bad_epochs patience"),
        ("CosineAnnealingWarmRestarts", "T_0 T_mult T_cur"),
        ("CosineAnnealingLR", "T_max eta_min last_epoch"),
        ("OneCycleLR", "total_steps _schedule_phases"),
        ("OneCycleLR", "total_steps cycle_momentum"),
        ("CyclicLR", "total_size step_ratio"),
        ("SWALR", "anneal_epochs base_lrs"),
        ("PolynomialLR", "total_iters power base_lrs"),
        ("LinearLR", "start_factor end_factor total_iters"),
        ("ConstantLR", "factor total_iters base_lrs"),
        ("MultiStepLR", "milestones gamma base_lrs"),
        ("StepLR", "step_size gamma base_lrs"),
        ("ExponentialLR", "gamma base_lrs"),
        ("LambdaLR", "lr_lambdas base_lrs"),
    )
)
"""Class → keys that only it has; the first that fits. MultiplicativeLR keeps LambdaLR's keys: it cannot be told."""

SCHEDULER_NAME = re.compile(r"sched(?:uler)?s?(?:_states?|_state_dicts?)?$", re.IGNORECASE)
SCHEDULER_KEY = re.compile(r"_?last_\w+|base_\w+|_?step_count|_?global_step")
"""What a scheduler of any library keeps: where it is, and where it started from."""

SCALER_NAME = re.compile(r"(?:^|_)(?:grad_?)?scaler", re.IGNORECASE)
RNG_NAME = re.compile(r"rng|random|(?:^|_)seed_?state|generator_state", re.IGNORECASE)
COUNTER = re.compile(
    r"_*(?:(?:global|current|cur|train|start|last|optimizer|opt|completed)_)*"
    r"(?:steps?|epochs?|it|iters?|iterations?|iter_num|updates?|batch|batch_idx|samples(?:_seen)?|n?tokens(?:_seen)?)"
    r"(?:_num|_seen|_run|_count|_idx|_completed)?_*"
    r"|_?(?:num_updates|num_timesteps|n_iter|n_updates|n_averaged|total_batch_idx)",
    re.IGNORECASE,
)
CONFIG = re.compile(
    r"(?:^|_)(?:args?|config|cfg|conf|hparams|hyper_?param\w*|opts?|options|settings|model_args|train_args|params)$",
    re.IGNORECASE,
)
"""What a run was asked to do, not how far it came: its numbers count nothing."""

LIMITS = frozenset({"epochs", "iters", "train_epochs", "train_steps", "train_iters", "train_batch", "train_samples"})
"""How far it is to go, as a rule."""


def is_scheduler(value: object, route: str) -> bool:
    held = mapping(value)
    if not held or "param_groups" in held:
        return False
    keys = held.keys()
    if "_schedulers" in keys or {"best", "num_bad_epochs"} <= keys:
        return True
    if "last_epoch" in keys:
        return bool(keys & {"_step_count", "base_lrs", "_last_lr", "_get_lr_called_within_step"}) or _named(route)
    return _named(route) and any(isinstance(key, str) and SCHEDULER_KEY.fullmatch(key) for key in keys)


def _named(route: str) -> bool:
    """Called a scheduler, itself or the list or dict ("schedulers.LambdaLR") that it stands in."""
    return any(SCHEDULER_NAME.search(part.partition("[")[0]) for part in route.split(".")[-2:])


def scheduler_name(value: object) -> str | None:
    """The class that keeps these keys; None where none of torch's does."""
    if isinstance(value, Opaque) and not value.items:
        return value.name.rpartition(".")[2]
    held = mapping(value) or {}
    return next((name for name, keys in SCHEDULERS if keys <= held.keys()), None)


def is_scheduler_object(value: object) -> bool:
    return (
        isinstance(value, Opaque)
        and value.attribute("last_epoch") is not None
        and (value.attribute("base_lrs") is not None or value.attribute("num_bad_epochs") is not None)
    )


def is_scaler(value: object, route: str) -> bool:
    held = mapping(value)
    if held is None and isinstance(value, dict):
        held = value
    if held is None:
        return False
    if {"scale", "growth_factor"} <= held.keys() or {"scale", "_growth_tracker"} <= held.keys():
        return True
    if {"cur_scale", "dynamic"} <= held.keys():  # DeepSpeed's
        return True
    return not held and SCALER_NAME.search(last(route)) is not None


def is_rng(value: object, route: str) -> bool:
    """Mersenne states of Python and numpy by their form; torch's byte tensors by form and name, even where a cast has
    made numbers of the bytes.
    """
    members = sequence(value)
    if members is not None:
        return _is_mersenne(members) or (
            len(members) > 0 and all(is_bytes(item) for item in members) and _about_rng(route)
        )
    held = mapping(value)
    if held is not None:  # numpy's newer get_state(legacy=False)
        return held.get("bit_generator") is not None and "state" in held
    known = is_bytes(value) and value.shape in ((5056,), (816,))  # type: ignore[attr-defined]
    return known or (may_be_rng(value) and _about_rng(route))


def may_be_rng(value: object) -> bool:
    """Bytes, or as many numbers as the state of torch's CPU generator has bytes."""
    return is_bytes(value) or (isinstance(value, TensorRef) and value.shape in ((5056,), (5048,)))


def _about_rng(route: str) -> bool:
    return RNG_NAME.search(route) is not None


def is_bytes(value: object) -> bool:
    return isinstance(value, TensorRef) and value.dtype.name == "uint8" and len(value.shape) == 1


def _is_mersenne(members: list[Any] | tuple[Any, ...]) -> bool:
    if len(members) == 3 and members[0] in (2, 3) and isinstance(members[1], tuple | list):
        return len(members[1]) == 625
    return len(members) == 5 and members[0] == "MT19937"


def is_counter(key: object, route: str) -> bool:
    """A name that counts how far a run came, outside of its configuration."""
    if not isinstance(key, str) or key in LIMITS or COUNTER.fullmatch(key) is None:
        return False
    return not any(CONFIG.search(part.partition("[")[0]) for part in route.split(".")[:-1])
