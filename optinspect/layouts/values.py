"""Numbers out of a file: step counters and settings that may be tensors of one element."""

from __future__ import annotations

from functools import reduce
from typing import Any

from optinspect.errors import OptinspectError
from optinspect.layouts.base import Problems, join
from optinspect.scalars import item
from optinspect.tensors import TensorRef


def scalar(value: Any, problems: Problems, route: str, *steps: object) -> int | float | bool | None:
    """A plain number, or the value of a tensor of one element; None for anything else.

    A tensor that cannot be read, or has more elements, is a problem at `route`, extended by `steps`.
    """
    if isinstance(value, int | float):
        return value
    if not isinstance(value, TensorRef):
        return None
    try:
        number = item(value)
    except OptinspectError as error:
        problems.add(reduce(join, steps, route), "a number that cannot be read", error.message)
        return None
    return None if isinstance(number, complex) else number


def setting(value: Any, problems: Problems, route: str, *steps: object) -> Any:
    """A hyperparameter with one-element tensors (lr, betas) as numbers; whatever else it is stays as stored."""
    if isinstance(value, TensorRef) and value.numel == 1:
        number = scalar(value, problems, route, *steps)
        return value if number is None else number
    if isinstance(value, list | tuple) and any(isinstance(item, TensorRef) for item in value):
        converted = [setting(item, problems, route, *steps, place) for place, item in enumerate(value)]
        return tuple(converted) if isinstance(value, tuple) else converted
    return value
