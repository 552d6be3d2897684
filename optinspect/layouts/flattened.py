"""Optimizer state_dicts written flat: "state.3.exp_avg", "state.<name>.exp_avg", "param_groups.<name>.lr".

torch.distributed's flatten_optimizer_state_dict writes settings for each parameter and so loses the groups; a
safetensors file has only tensors, and `param_groups` as JSON in its header where the writer put it there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

STATE, GROUPS = "state.", "param_groups."


def is_flattened(held: Mapping[Any, Any]) -> bool:
    """Every key is a flat one, and either settings are among them or the state goes by numbers."""
    settings = numbered = False
    for key in held:
        if not isinstance(key, str) or key.count(".") < 2:
            return False
        if key.startswith(GROUPS):
            settings = True
        elif key.startswith(STATE):
            numbered = numbered or key.split(".")[1].isdigit()
        else:
            return False
    return settings or numbered


def unflattened(held: Mapping[Any, Any], metadata: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """`{"state": …, "param_groups": …}` as the optimizer had it, and a note where something had to be assumed."""
    state: dict[int | str, dict[str, Any]] = {}
    settings: dict[int | str, dict[str, Any]] = {}
    for key, value in held.items():
        table = state if key.startswith(STATE) else settings
        name, _, slot = key.partition(".")[2].rpartition(".")
        table.setdefault(int(name) if name.isdigit() else name, {})[slot] = value
    groups = _recorded(metadata)
    if groups is not None:
        return {"state": state, "param_groups": groups}, None
    if settings:
        note = "the file has settings for each parameter and no groups: parameters with equal settings are one group"
        return {"state": state, "param_groups": _grouped(settings)}, note
    return {"state": state}, None


def _recorded(metadata: Mapping[str, str]) -> list[Any] | None:
    try:
        groups = json.loads(metadata.get("param_groups", ""))
    except (ValueError, RecursionError):
        return None
    return groups if isinstance(groups, list) else None


def _grouped(settings: Mapping[int | str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, values in settings.items():
        group = groups.setdefault(repr(sorted(values.items(), key=lambda item: item[0])), {**values, "params": []})
        group["params"].append(name)
    return list(groups.values())
