"""A flat state_dict made nested again: by the paths that were recorded, or by what the keys begin with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

OPTIMIZER = ("optimizer.", "optim.")
FLAT = ("state.", "param_groups.")
MODEL = "model."
MAX_DEPTH = 100


class _Listed(dict[Any, Any]):
    """A list that is being filled by position."""


def nested(values: Mapping[str, Any], paths: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The state_dict as it was before it was flattened. Keys without a path are cut where their meaning is known."""
    root: dict[str, Any] = {}
    for key, value in values.items():
        _put(root, paths.get(key) or _guessed(key), value)
    return _with_states({key: _settled(key, value) for key, value in root.items()})


def _guessed(key: str) -> tuple[str, ...]:
    """ "optimizer.state.a.b.exp_avg" is the flat key "state.a.b.exp_avg" of "optimizer"; "model.a.b" is "a.b"."""
    for name in OPTIMIZER:
        rest = key.removeprefix(name)
        if rest != key and rest.startswith(FLAT):
            return name[:-1], rest
    return ("model", key.removeprefix(MODEL)) if key.startswith(MODEL) else (key,)


def _put(root: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    """Numbers of a path are positions in a list. What is in the way is replaced: the last one counts."""
    held: dict[Any, Any] = root
    for step, following in pairwise(path):
        inner = held.get(step)
        if not isinstance(inner, dict):
            inner = held[step] = _Listed() if isinstance(following, int) else {}
        held = inner
    held[path[-1]] = value


def _settled(key: Any, value: Any, depth: int = 0) -> Any:
    """Lists as lists; the state's numbers, which were made text, as numbers."""
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return value
    inner = {name: _settled(name, item, depth + 1) for name, item in value.items()}
    if isinstance(value, _Listed):
        return [inner[place] for place in sorted(inner)]
    inner = _with_states(inner)
    if key == "state" and inner and all(isinstance(name, str) and name.isdecimal() for name in inner):
        return {int(name): item for name, item in inner.items()}
    return inner


def _with_states(held: dict[Any, Any]) -> dict[Any, Any]:
    """An optimizer's `state` where it was empty: a dict without members leaves no key behind when it is flattened.

    load_state_dict finds it all the same: torch.distributed.checkpoint fills the dicts that its caller made.
    """
    groups = held.get("param_groups")
    if "state" in held or not isinstance(groups, list) or not groups:
        return held
    return {"state": {}, **held} if all(isinstance(one, dict) and "params" in one for one in groups) else held
