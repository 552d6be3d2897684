"""What one container of a checkpoint is, told by its content and, where that is not enough, by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from optinspect.layouts import companions
from optinspect.layouts.base import children, last, mapping, sequence
from optinspect.layouts.flattened import is_flattened
from optinspect.layouts.modules import is_module
from optinspect.opaque import Opaque
from optinspect.tensors import CompositeRef, TensorRef

Role = Literal["optimizer", "optimizer-object", "module", "model", "parameters", "scheduler", "scaler", "rng"]

MODEL_NAMES = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "module",
    "net_state_dict",
    "network_state_dict",
    "weights",
    "params",
    "generator",
    "policy",
)
"""Common spellings of the trained model, the most telling first."""

AVERAGED = re.compile(
    r"(?:^|[\W_])(?:ema|swa|shadow|averaged?|avg|moving_average|polyak)(?:$|[\W_])",
    re.IGNORECASE,
)
PARTS = re.compile(r"\.|^(?:weight|bias|kernel|scale|embedding|gamma|beta)$")
"""A name of a module's tensor: of two parts at least, or what modules call their tensors."""
COPY = re.compile(
    r"(?:^|[._])(?:best|target|teacher|momentum_encoder|old|prev(?:ious)?|initial|init|reference|ref)(?:$|[._])"
)
RECORDS = re.compile(
    r"(?:^|_)(?:best|loss|losses|metrics?|acc|accuracy|scores?|error|perplexity|ppl|reward|returns?|time|lr|norm|"
    r"mean|std|var|min|max|total|history)(?:$|_)",
    re.IGNORECASE,
)
"""A number that a script keeps of its run or its data: the loss of the last step, the best so far."""
PARAMETER_LISTS = re.compile(r"^(?:model_?)?(?:params?|parameters|weights|model|state_dict)$", re.IGNORECASE)
OPTIMIZER_NAMES = re.compile(r"^(?:optim(?:izer)?s?|opt)(?:_state(?:_dict)?s?)?$", re.IGNORECASE)


def role_of(value: Any, route: str, depth: int) -> Role | None:
    """The role of a container; None where it is none of these and its members are to be looked at."""
    if isinstance(value, Opaque) and not value.items and not value.entries:
        return _role_of_object(value)
    if is_optimizer(value, route):
        return "optimizer"
    if companions.is_scaler(value, route):
        return "scaler"
    if companions.is_scheduler(value, route):
        return "scheduler"
    if companions.is_rng(value, route):
        return "rng"
    if is_parameter_list(value, route, depth):
        return "parameters"
    return "model" if is_model(value, route, depth) else None


def _role_of_object(value: Opaque) -> Role | None:
    if is_module(value):
        return "module"
    if sequence(value.attribute("param_groups")) is not None and mapping_or_empty(value.attribute("state")) is not None:
        return "optimizer-object"
    return "scheduler" if companions.is_scheduler_object(value) else None


def mapping_or_empty(value: object) -> Mapping[Any, Any] | None:
    return value.items if isinstance(value, Opaque) else value if isinstance(value, dict) else None


def is_optimizer(value: object, route: str) -> bool:
    """`state` and `param_groups`; one of them is enough where its content leaves no doubt."""
    held = mapping(value)
    if held is None:
        return False
    if is_flattened(held):
        return True
    if "param_groups" in held:
        groups = sequence(held["param_groups"])
        return "state" in held or bool(groups and any("params" in (mapping(group) or {}) for group in groups[:3]))
    return "state" in held and _is_bare_state(held["state"], route)


def _is_bare_state(value: object, route: str) -> bool:
    """Parameters' slots by number, or any slots where the name says optimizer."""
    state = mapping(value)
    if not state or not (all(isinstance(key, int) for key in state) or OPTIMIZER_NAMES.match(last(route))):
        return False
    return any(isinstance(slot, TensorRef | CompositeRef) for _, slots in state.items() for _, slot in children(slots))


def is_parameter_list(value: object, route: str, depth: int) -> bool:
    members = sequence(value)
    if not members or not all(isinstance(item, TensorRef | CompositeRef) for item in members):
        return False
    parameters = all(isinstance(item, TensorRef) and item.is_parameter for item in members)
    return parameters or depth == 0 or PARAMETER_LISTS.match(last(route)) is not None


def is_model(value: object, route: str, depth: int) -> bool:
    """Mostly tensors under names, or dicts of dicts of nothing else whose keys are parts of names."""
    held = mapping(value)
    if not held or not any(isinstance(key, str) for key in held):
        return False
    tensors = [item for item in held.values() if isinstance(item, TensorRef | CompositeRef)]
    if len(tensors) * 2 > _weight(held) and (depth == 0 or len(tensors) == len(held) or _has_names(held, route)):
        named = last(route) in MODEL_NAMES or depth == 0
        if named or any(item.shape for item in tensors):
            return not all(companions.is_rng(item, f"{route}.{key}") for key, item in held.items())
    return is_nested_model(held)


def _has_names(held: Mapping[Any, Any], route: str) -> bool:
    """Called a model, or with names as modules give them: other things beside the tensors may be anything."""
    return last(route) in MODEL_NAMES or any(isinstance(key, str) and PARTS.search(key) for key in held)


def _weight(held: Mapping[Any, Any]) -> int:
    """Members that count against a model: all but torch's own extras."""
    return sum(not (isinstance(key, str) and (key == "_metadata" or key.endswith("_extra_state"))) for key in held)


def is_nested_model(held: Mapping[Any, Any]) -> bool:
    """`{"layer1": {"weight": …, "bias": …}, …}`: only dicts and tensors, no key with a dot, no spelling of a model."""
    pending: list[Mapping[Any, Any]] = [held]
    seen: set[int] = set()
    tensors = 0
    while pending:
        inner = pending.pop()
        seen.add(id(inner))
        for key, item in inner.items():
            if not isinstance(key, str) or "." in key:
                return False
            if isinstance(item, TensorRef | CompositeRef):
                tensors += bool(item.shape)
            elif isinstance(item, dict) and item and id(item) not in seen and not (inner is held and _is_spelling(key)):
                pending.append(item)
            else:
                return False
    return tensors > 0 and len(seen) > 1


def _is_spelling(key: str) -> bool:
    return key in MODEL_NAMES or AVERAGED.search(key) is not None
