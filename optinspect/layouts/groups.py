"""`param_groups` of an optimizer: which parameters, under which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Key, ParamGroup
from optinspect.layouts.base import Problems, join, mapping, sequence
from optinspect.layouts.names import without_prefix
from optinspect.layouts.values import setting
from optinspect.tensors import TensorRef


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups, and the tensors that stand in `params` where a whole optimizer was pickled."""

    groups: tuple[ParamGroup, ...]
    tensors: Mapping[int, TensorRef]
    """Position over all groups → the parameter itself."""
    note: str | None = None


def read_groups(value: object, route: str, problems: Problems) -> Groups:
    """Every group that can be read; what is wrong with the others becomes a problem."""
    members = sequence(value)
    if members is None:
        if value is not None:
            problems.add(route, "param_groups is no list", type(value).__name__)
        return Groups((), {})
    if not members:
        problems.add(route, "param_groups is empty")
    groups: list[ParamGroup] = []
    tensors: dict[int, TensorRef] = {}
    position = 0
    for number, member in enumerate(members):
        group = _group(member, number, position, join(route, number), tensors, problems)
        groups.append(group)
        position += len(group.params)
    _repeated(groups, route, problems)
    return _with_plain_names(groups, tensors)


def _group(
    value: object, number: int, position: int, route: str, tensors: dict[int, TensorRef], problems: Problems
) -> ParamGroup:
    settings = mapping(value)
    if settings is None:
        problems.add(route, "a parameter group is no dict", type(value).__name__)
        return ParamGroup(number, (), None, {})
    params = _params(settings, position, route, tensors, problems)
    return ParamGroup(
        number=number,
        params=params,
        names=_names(settings, params, route, problems),
        hyperparameters={
            str(key): setting(item, problems, route, key)
            for key, item in settings.items()
            if key not in ("params", "param_names")
        },
    )


def _params(
    settings: Mapping[Any, Any], position: int, route: str, tensors: dict[int, TensorRef], problems: Problems
) -> tuple[Key, ...]:
    if "params" not in settings:
        problems.add(route, "a parameter group has no params")
        return ()
    stored = settings["params"]
    members = sequence(stored)
    if members is None:
        members = sorted(stored, key=repr) if isinstance(stored, set | frozenset) else [stored]
    keys: list[Key] = []
    for place, member in enumerate(members, start=position):
        if isinstance(member, TensorRef):
            tensors[place] = member
            keys.append(place)
        elif isinstance(member, int | str) and not isinstance(member, bool):
            keys.append(member)
        else:
            problems.add(join(route, "params"), "a parameter is neither number nor name", type(member).__name__)
            keys.append(f"<{type(member).__name__}>")
    return tuple(keys)


def _names(
    settings: Mapping[Any, Any], params: tuple[Key, ...], route: str, problems: Problems
) -> tuple[str, ...] | None:
    """param_names, or the keys themselves where they are names."""
    if settings.get("param_names") is None:
        named = params and all(isinstance(key, str) and not key.isdigit() and key[:1] != "<" for key in params)
        return tuple(map(str, params)) if named else None
    names = sequence(settings["param_names"])
    if names is None or not all(isinstance(name, str) for name in names):
        problems.add(route, "param_names is no list of names")
        return None
    if len(names) != len(params):
        problems.add(route, "param_names does not fit params", f"{len(names)} names for {len(params)} parameters")
        return None
    return tuple(names)


def _repeated(groups: list[ParamGroup], route: str, problems: Problems) -> None:
    seen: dict[Key, int] = {}
    for group in groups:
        for key in group.params:
            if key in seen:
                where = f"{key!r:.60} in groups {seen[key]} and {group.number}"
                problems.add(join(route, group.number), "a parameter is listed twice", where)
            seen[key] = group.number


def _with_plain_names(groups: list[ParamGroup], tensors: Mapping[int, TensorRef]) -> Groups:
    """Wrapper prefixes taken off where every name of the optimizer has them."""
    prefix, _ = without_prefix([name for group in groups for name in group.names or ()])
    if not prefix:
        return Groups(tuple(groups), tensors)
    cut = [
        ParamGroup(
            group.number,
            group.params,
            group.names and tuple(name[len(prefix) :] for name in group.names),
            group.hyperparameters,
        )
        for group in groups
    ]
    return Groups(tuple(cut), tensors, f"wrapper prefix '{prefix}' taken off the optimizer's parameter names")
