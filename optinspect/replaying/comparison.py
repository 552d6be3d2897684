"""How far two tensors of one shape and dtype are apart: largest difference, units in the last place, every bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 20
"""Elements compared at once: the temporaries are float64."""


@dataclass(frozen=True, slots=True)
class Apart:
    """max_abs: largest |a − b|, nan where one alone is nan; max_ulps: representable numbers between a and b."""

    max_abs: float = 0.0
    max_ulps: int = 0
    bit_equal: bool = True

    def __add__(self, other: Apart) -> Apart:
        larger = other.max_abs if other.max_abs != other.max_abs else max(self.max_abs, other.max_abs)
        return Apart(larger, max(self.max_ulps, other.max_ulps), self.bit_equal and other.bit_equal)


def apart(a: torch.Tensor, b: torch.Tensor) -> Apart:
    """The distance of two tensors of one shape and dtype. Any nan is as near to any other as can be."""
    import torch  # noqa: PLC0415

    a, b = (torch.view_as_real(x) if x.is_complex() else x for x in (a.detach(), b.detach()))
    if same_bits(a, b):
        return Apart()
    total = Apart()
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for start in range(0, flat_a.numel(), BLOCK):
        total += _block(flat_a[start : start + BLOCK], flat_b[start : start + BLOCK])
    return total


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Every bit, the sign of zero and the payload of a nan too."""
    import torch  # noqa: PLC0415

    a, b = (torch.view_as_real(x) if x.is_complex() else x for x in (a.detach(), b.detach()))
    return a.dtype == b.dtype and torch.equal(bits(a), bits(b))


def bits(x: torch.Tensor) -> torch.Tensor:
    """The elements' bits as integers of their size."""
    import torch  # noqa: PLC0415

    sizes = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.contiguous().view(sizes[x.element_size()])


def _block(a: torch.Tensor, b: torch.Tensor) -> Apart:
    differ = bits(a) != bits(b)
    differ &= ~(a.isnan() & b.isnan())
    if not bool(differ.any()):
        return Apart()
    a, b = a[differ], b[differ]
    distance = (a.double() - b.double()).abs()
    return Apart(float(distance.max()), _ulps(a, b), False)


def _ulps(a: torch.Tensor, b: torch.Tensor) -> int:
    """Numbers are ordered as their bits are, negative ones backwards; −0 and 0 are one number."""
    low = -(2 ** (8 * a.element_size() - 1))
    first, second = (_ordered(x, low) for x in (a, b))
    same_side = (first >= 0) == (second >= 0)
    near = (first - second).abs()[same_side]
    far = [abs(one - two) for one, two in zip(first[~same_side].tolist(), second[~same_side].tolist(), strict=True)]
    return max(int(near.max()) if near.numel() else 0, max(far, default=0))


def _ordered(x: torch.Tensor, low: int) -> torch.Tensor:
    import torch  # noqa: PLC0415

    whole = bits(x).to(torch.int64)
    return torch.where(whole < 0, low - whole, whole)
