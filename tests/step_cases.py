"""What the tests of the step rules step: parameters of every shape and memory format, gradients, exact comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64)

LAYOUTS: dict[str, Callable[[torch.dtype, torch.Generator], torch.Tensor]] = {
    "0-d": lambda dtype, source: values((), dtype, source),
    "empty": lambda dtype, source: values((0, 3), dtype, source),
    "one": lambda dtype, source: values((1,), dtype, source),
    "odd vector": lambda dtype, source: values((37,), dtype, source),
    "matrix": lambda dtype, source: values((16, 9), dtype, source),
    "transposed": lambda dtype, source: values((9, 16), dtype, source).t(),
    "every other column": lambda dtype, source: values((5, 14), dtype, source)[:, ::2],
    "channels last": lambda dtype, source: values((2, 3, 4, 5), dtype, source).to(memory_format=torch.channels_last),
}

OPTIONS: dict[str, dict[str, object]] = {
    "default": {},
    "no decay": {"weight_decay": 0.0},
    "strong decay": {"weight_decay": 0.7, "lr": 1e-2},
    "big eps": {"eps": 1e-1},
    "betas 0": {"betas": (0.0, 0.0)},
    "beta2 0.95": {"betas": (0.9, 0.95), "weight_decay": 0.1},
    "beta1 below a half": {"betas": (0.3, 0.999)},  # torch's lerp has two branches, at weight 0.5
    "amsgrad": {"amsgrad": True},
    "maximize": {"maximize": True},
    "amsgrad and maximize": {"amsgrad": True, "maximize": True, "weight_decay": 0.1},
}


def values(shape: tuple[int, ...], dtype: torch.dtype, source: torch.Generator) -> torch.Tensor:
    """Standard normal numbers of any dtype (drawn in float64 or complex128, then rounded)."""
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return torch.randn(shape, dtype=wide, generator=source).to(dtype)


def gradient(parameter: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    """Of the parameter's shape, contiguous, of a size that changes over three orders from step to step."""
    size = 10.0 ** float(torch.rand((), generator=source) * 3 - 3)
    return values(tuple(parameter.shape), parameter.dtype, source) * size


def twins(names: Iterable[str], dtype: torch.dtype, seed: int) -> Iterator[tuple[torch.nn.Parameter, ...]]:
    """Pairs of parameters with the same values and the same strides."""
    source = torch.Generator().manual_seed(seed)
    for name in names:
        made = LAYOUTS[name](dtype, source)
        other = torch.empty_strided(made.shape, made.stride(), dtype=dtype)
        other.copy_(made)
        yield torch.nn.Parameter(made), torch.nn.Parameter(other)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Every bit, the sign of zero too; any nan equals any other."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (torch.view_as_real(x) if x.is_complex() else x for x in (a.detach(), b.detach()))
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    bits_a, bits_b = (x.contiguous().view(integer) for x in (a, b))
    return bool(((bits_a == bits_b) | (a.isnan() & b.isnan()).contiguous()).all())


def same_state(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """The same slots in the same order, bit for bit."""
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)
