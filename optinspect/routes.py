"""Where a value lies in a tree of plain data: `optimizer.state[3].exp_avg`.

A route is a tuple of steps: keys of dicts, positions in lists, attribute names of Opaques.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from optinspect.opaque import Opaque

Route = tuple[Any, ...]
MAX_DEPTH = 200
_MAX_KEY = 200


def format_route(route: Route) -> str:
    """Identifiers joined by dots, positions in brackets, other keys quoted in brackets."""
    text = "".join(_formatted(step) for step in route)
    return text[1:] if text.startswith(".") else text


def _formatted(step: Any) -> str:
    if isinstance(step, str):
        return f".{step}" if step.isidentifier() else f'["{step[:_MAX_KEY]}"]'
    if isinstance(step, Opaque):
        return f"[{step.name}]"
    return f"[{step!r}]" if isinstance(step, int | float | bytes) or step is None else f"[{type(step).__name__}]"


def same_route(a: str, b: str) -> bool:
    """Routes are equal however a position or an odd key is written: `a[0]`, `a.0`, `a["0"]`."""
    return _spelled(a) == _spelled(b)


def _spelled(route: str) -> str:
    return route.translate({ord("["): ".", ord("]"): None, ord('"'): None}).strip(".")


def walk(root: Any, max_depth: int = MAX_DEPTH) -> Iterator[tuple[Route, Any]]:
    """Every value with its route, parents before children, in the file's order.

    A container is entered once, however often it is referred to (so cycles end); other values come once for each
    reference. Containers: dict, list, tuple, set, frozenset, Opaque. Nothing deeper than `max_depth` is entered.
    """
    entered: set[int] = set()
    pending: list[Iterator[tuple[Route, Any]]] = [iter((((), root),))]
    while pending:
        for route, value in pending[-1]:
            yield route, value
            if isinstance(value, _CONTAINERS) and id(value) not in entered and len(route) < max_depth:
                entered.add(id(value))
                pending.append(_children(route, value))
                break
        else:
            pending.pop()


_CONTAINERS = (dict, list, tuple, set, frozenset, Opaque)


def _children(route: Route, value: Any) -> Iterator[tuple[Route, Any]]:
    for step, child in steps(value):
        yield (*route, step), child


def steps(value: Any) -> Iterable[tuple[Any, Any]]:
    """The (step, child) pairs of a container; none for anything else."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple | set | frozenset):
        return enumerate(value)
    return _attributes(value) if isinstance(value, Opaque) else ()


def _attributes(value: Opaque) -> Iterator[tuple[Any, Any]]:
    """State by attribute name, then items, entries and the arguments of the call."""
    state = value.state if isinstance(value.state, tuple) else (value.state,)
    for number, part in enumerate(state):
        if isinstance(part, dict):
            yield from part.items()
        elif part is not None:
            yield ("state" if len(state) == 1 else f"state_{number}"), part
    yield from value.items.items()
    yield from enumerate(value.entries)
    if value.args:
        yield "args", value.args
