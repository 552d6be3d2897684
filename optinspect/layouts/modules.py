"""A whole pickled torch.nn.Module: its tensors in `named_parameters()` order, without its class.

Every module keeps `_parameters`, `_buffers` and `_modules`; a state_dict lists, for each module, its own parameters,
then its buffers, then its children. A module or tensor that is reachable twice has both names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from optinspect.layouts.base import Problems, join, tensor
from optinspect.layouts.models import Named
from optinspect.opaque import Opaque

MAX_MODULES = 200_000
_ABSENT = object()


def is_module(value: object) -> bool:
    return (
        isinstance(value, Opaque)
        and mapping_of(value, "_parameters") is not None
        and mapping_of(value, "_modules") is not None
    )


def mapping_of(module: Opaque, attribute: str) -> dict[Any, Any] | None:
    """An attribute that is a dict; an empty one counts."""
    found = module.attribute(attribute, _ABSENT)
    if isinstance(found, Opaque):
        return found.items
    return found if isinstance(found, dict) else None


def of_module(root: Opaque, route: str, problems: Problems) -> list[Named]:
    """Names, tensors and exact kinds. A cycle ends where it begins; what exceeds the limit is a problem."""
    named: list[Named] = []
    pending: list[tuple[str, Opaque, frozenset[int]]] = [("", root, frozenset())]
    visited = 0
    while pending:
        prefix, module, above = pending.pop()
        visited += 1
        if visited > MAX_MODULES:
            problems.add(route, "more modules than can be listed", f"{MAX_MODULES:,} listed")
            break
        named.extend(_own(prefix, module, route, problems))
        inside = above | {id(module)}
        nested = (
            (prefix + str(name) + ".", child, inside) for name, child in _modules(module) if id(child) not in inside
        )
        pending.extend(reversed(list(nested)))
    return named


def _modules(module: Opaque) -> Iterator[tuple[object, Opaque]]:
    for name, child in (mapping_of(module, "_modules") or {}).items():
        if isinstance(child, Opaque):
            yield name, child


def _own(prefix: str, module: Opaque, route: str, problems: Problems) -> Iterator[Named]:
    for name, value in (mapping_of(module, "_parameters") or {}).items():
        held = tensor(value)
        if held is not None:
            yield f"{prefix}{name}", held, "parameter"
        elif value is not None:
            problems.add(join(route, f"{prefix}{name}"), "a parameter of a module is no tensor", type(value).__name__)
    for name, value in (mapping_of(module, "_buffers") or {}).items():
        if (held := tensor(value)) is not None:
            yield f"{prefix}{name}", held, "buffer"
