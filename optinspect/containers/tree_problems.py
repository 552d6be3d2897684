"""The last look at a tree that was read: it is not too deep, and every problem knows where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from optinspect.checkpoint import Problem
from optinspect.containers.base import Limits, Tree
from optinspect.containers.pickle_data import Pickled
from optinspect.errors import LimitExceeded
from optinspect.opaque import Opaque
from optinspect.routes import format_route, steps, walk
from optinspect.tensors import CompositeRef, TensorRef

_CONTAINERS = (dict, list, tuple, set, frozenset, Opaque)
_MAX_PROBLEMS = 1000


def finish(tree: Tree, pickled: Pickled, limits: Limits) -> Tree:
    """The tree with what its pickle says of names and problems. Raises LimitExceeded when it is too deep."""
    check_depth(tree.root, limits.depth, tree.path)
    located = located_problems(tree.root, pickled.problems)
    return replace(tree, opaque=pickled.opaque, dangerous=pickled.called, problems=[*tree.problems, *located])


def check_depth(root: Any, limit: int, where: str) -> None:
    """Refuse nesting that would exhaust whoever walks the tree by recursion."""
    entered = {id(root)}
    pending = [iter(_inner(root))]
    while pending:
        for child in pending[-1]:
            if id(child) not in entered:
                entered.add(id(child))
                if len(pending) >= limit:
                    raise LimitExceeded("levels of nesting", limit, limit + 1, where=where)
                inner = _inner(child)
                if inner:
                    pending.append(iter(inner))
                    break
        else:
            pending.pop()


def _inner(value: Any) -> list[Any]:
    kind = type(value)
    if kind is Opaque and not value.items and not value.entries and type(value.state) is dict:  # nearly always
        inner = [child for child in value.state.values() if isinstance(child, _CONTAINERS)]
        return [*inner, value.args] if value.args else inner
    if kind is tuple or kind is list:
        return [child for child in value if isinstance(child, _CONTAINERS)]
    return [child for _, child in steps(value) if isinstance(child, _CONTAINERS)]


def located_problems(root: Any, found: list[tuple[Any, str, str]]) -> list[Problem]:
    """A Problem for every tensor that has one, or lies on a storage that has one, with its first route."""
    if not found:
        return []
    by_identity = {id(what): (kind, message) for what, kind, message in found}
    problems = []
    for route, tensor in _tensors(root):
        known = by_identity.get(id(tensor)) or by_identity.get(id(tensor.storage))
        if known is not None:
            problems.append(Problem(known[0], format_route(route), known[1]))  # type: ignore[arg-type]
            if len(problems) == _MAX_PROBLEMS:
                break
    return problems


def _tensors(root: Any) -> Iterator[tuple[tuple[Any, ...], TensorRef]]:
    for route, value in walk(root):
        if isinstance(value, TensorRef):
            yield route, value
        elif isinstance(value, CompositeRef):
            for name, part in value.parts.items():
                yield (*route, *name.split(".")), part


def whole_tensors(root: Any) -> tuple[int, int]:
    """How many tensors of the tree are whole, of how many."""
    tensors = {id(tensor): tensor for _, tensor in _tensors(root)}
    return sum(tensor.problem is None for tensor in tensors.values()), len(tensors)
