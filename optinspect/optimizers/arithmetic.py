"""The few array operations that every step rule is written in, for two backends.

`TorchArithmetic` calls the kernels that torch.optim's single-tensor path calls, so a rule written in the same order is
bit-equal with it. `Float64Arithmetic` is numpy in double precision: it predicts, it does not imitate (numpy has no
fused multiply-add; its float32 is not torch's).

An operation whose name ends in an underscore changes its first array in place, as in torch; the others return a new
array. All arrays of one call have one shape. Numbers are Python floats, or 0-d tensors where a live optimizer's
learning rate is one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    import numpy.typing as npt
    import torch

    Doubles: TypeAlias = npt.NDArray[np.float64]

A = TypeVar("A")


class Arithmetic(Protocol[A]):
    """What a backend gives."""

    def zeros_like(self, x: A) -> A: ...

    def scalar(self, value: float) -> A:
        """A 0-d array: a slot that holds one number for the whole parameter."""
        ...

    def number(self, x: A) -> float:
        """The number in a 0-d array."""
        ...

    def copy(self, x: A) -> A: ...

    def parts(self, x: A) -> A:
        """The real numbers in a complex x as a real array that shares its memory; x itself where it is real."""
        ...

    def negative(self, x: A) -> A: ...

    def add(self, x: A, y: A, alpha: float) -> A:
        """x + alpha·y."""
        ...

    def multiply(self, x: A, y: A) -> A: ...

    def sqrt(self, x: A) -> A: ...

    def divide(self, x: A, s: float) -> A: ...

    def scale_(self, x: A, s: float) -> None:
        """x ← x·s."""
        ...

    def shift_(self, x: A, s: float) -> None:
        """x ← x + s."""
        ...

    def add_(self, x: A, y: A, alpha: float) -> None:
        """x ← x + alpha·y."""
        ...

    def lerp_(self, x: A, y: A, w: float) -> None:
        """x ← x + w·(y − x)."""
        ...

    def addcmul_(self, x: A, a: A, b: A, value: float) -> None:
        """x ← x + value·a·b."""
        ...

    def addcdiv_(self, x: A, a: A, b: A, value: float) -> None:
        """x ← x + value·a/b."""
        ...

    def maximum_(self, x: A, y: A) -> None:
        """x ← max(x, y), nan where either is."""
        ...


class TorchArithmetic:
    """torch's own kernels, for tensors of any floating or complex dtype on any device."""

    def zeros_like(self, x: torch.Tensor) -> torch.Tensor:
        import torch  # noqa: PLC0415

        return torch.zeros_like(x, memory_format=torch.preserve_format)

    def scalar(self, value: float) -> torch.Tensor:
        """float32, or float64 where that is torch's default: what torch.optim keeps its counters in."""
        import torch  # noqa: PLC0415

        wide = torch.get_default_dtype() == torch.float64
        return torch.tensor(value, dtype=torch.float64 if wide else torch.float32)

    def number(self, x: torch.Tensor) -> float:
        return float(x.item())

    def copy(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().clone()

    def parts(self, x: torch.Tensor) -> torch.Tensor:
        import torch  # noqa: PLC0415

        return torch.view_as_real(x) if x.is_complex() else x

    def negative(self, x: torch.Tensor) -> torch.Tensor:
        return -x

    def add(self, x: torch.Tensor, y: torch.Tensor, alpha: float) -> torch.Tensor:
        return x.add(y, alpha=alpha)

    def multiply(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x * y

    def sqrt(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()

    def divide(self, x: torch.Tensor, s: float) -> torch.Tensor:
        return x / s

    def scale_(self, x: torch.Tensor, s: float) -> None:
        x.mul_(s)

    def shift_(self, x: torch.Tensor, s: float) -> None:
        x.add_(s)

    def add_(self, x: torch.Tensor, y: torch.Tensor, alpha: float) -> None:
        x.add_(y, alpha=alpha)

    def lerp_(self, x: torch.Tensor, y: torch.Tensor, w: float) -> None:
        x.lerp_(y, w)

    def addcmul_(self, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, value: float) -> None:
        x.addcmul_(a, b, value=value)

    def addcdiv_(self, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, value: float) -> None:
        x.addcdiv_(a, b, value=value)

    def maximum_(self, x: torch.Tensor, y: torch.Tensor) -> None:
        import torch  # noqa: PLC0415

        torch.maximum(x, y, out=x)


def _numpy() -> Any:
    """Loaded with the first operation: the rules themselves can be listed without it."""
    import numpy  # noqa: PLC0415

    return numpy


F = TypeVar("F", bound=Callable[..., Any])


def _as_torch(operation: F) -> F:
    """Overflow and division by zero give inf or nan without a warning."""

    @wraps(operation)
    def quiet(*arguments: Any) -> Any:
        with _numpy().errstate(all="ignore"):
            return operation(*arguments)

    return quiet  # type: ignore[return-value]


class Float64Arithmetic:
    """numpy in double precision. Arrays of float64, 0-d ones too; complex values come as pairs of real ones."""

    def zeros_like(self, x: Doubles) -> Doubles:
        return _array(_numpy().zeros_like(x))

    def scalar(self, value: float) -> Doubles:
        return _array(value)

    def number(self, x: Doubles) -> float:
        return float(x)

    def copy(self, x: Doubles) -> Doubles:
        return _array(x.copy())

    def parts(self, x: Doubles) -> Doubles:
        return x

    def negative(self, x: Doubles) -> Doubles:
        return _array(-x)

    @_as_torch
    def add(self, x: Doubles, y: Doubles, alpha: float) -> Doubles:
        return _array(x + alpha * y)

    @_as_torch
    def multiply(self, x: Doubles, y: Doubles) -> Doubles:
        return _array(x * y)

    @_as_torch
    def sqrt(self, x: Doubles) -> Doubles:
        return _array(_numpy().sqrt(x))

    @_as_torch
    def divide(self, x: Doubles, s: float) -> Doubles:
        return _array(_numpy().divide(x, s))

    @_as_torch
    def scale_(self, x: Doubles, s: float) -> None:
        x *= s

    @_as_torch
    def shift_(self, x: Doubles, s: float) -> None:
        x += s

    @_as_torch
    def add_(self, x: Doubles, y: Doubles, alpha: float) -> None:
        x += alpha * y

    @_as_torch
    def lerp_(self, x: Doubles, y: Doubles, w: float) -> None:
        x += w * (y - x)

    @_as_torch
    def addcmul_(self, x: Doubles, a: Doubles, b: Doubles, value: float) -> None:
        x += value * a * b

    @_as_torch
    def addcdiv_(self, x: Doubles, a: Doubles, b: Doubles, value: float) -> None:
        x += value * (a / b)

    @_as_torch
    def maximum_(self, x: Doubles, y: Doubles) -> None:
        _numpy().maximum(x, y, out=x)


def _array(x: Any) -> Doubles:
    """numpy gives a number for a 0-d result, and a number cannot be changed in place."""
    array: Doubles = _numpy().asarray(x, dtype=_numpy().float64)
    return array
