"""How far torch.optim.AdamW's implementations are from the built-in AdamW on this machine's CPU.

    python bench/implementations.py

The same weights and gradients go to both; per dtype and implementation, after 1, 10 and 1,000 steps: the share of
weights that differ in any bit, the largest distance in ulps of the weight, and the largest difference over the rms of
the weights. An ulp count is large for a weight that has come close to zero; the last column says what that is worth.
"""

from __future__ import annotations

import torch

import optinspect

SHAPE = (128, 129)
STEPS = (1, 10, 1000)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
IMPLEMENTATIONS: dict[str, dict[str, bool]] = {
    "foreach=False": {"foreach": False},
    "foreach=True": {"foreach": True},
    "fused=True": {"fused": True},
}


def ordered(x: torch.Tensor) -> torch.Tensor:
    """Integers in which neighbouring numbers of x's dtype are one apart."""
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    bits = x.view(integer).to(torch.int64)
    return torch.where(bits < 0, torch.iinfo(integer).min - bits, bits)


def distance(a: torch.Tensor, b: torch.Tensor) -> tuple[float, int, float]:
    """Share of elements that differ, largest difference in ulps and relative to the rms."""
    differs = float((a != b).double().mean())
    ulps = int((ordered(a) - ordered(b)).abs().max())
    return differs, ulps, float((a.double() - b.double()).abs().max() / b.double().square().mean().sqrt())


def measure(dtype: torch.dtype, options: dict[str, bool]) -> dict[int, tuple[float, int, float]]:
    source = torch.Generator().manual_seed(0)
    mine = torch.nn.Parameter((torch.randn(SHAPE, generator=source) * 0.02).to(dtype))
    other = torch.nn.Parameter(mine.detach().clone())
    settings = {"lr": 1e-3, "weight_decay": 0.1, "eps": 1e-6}  # an eps that float16 has
    optimizers = optinspect.AdamW([mine], **settings), torch.optim.AdamW([other], **settings, **options)
    found = {}
    for step in range(1, max(STEPS) + 1):
        mine.grad = torch.randn(SHAPE, generator=source).to(dtype) * 0.1
        other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        if step in STEPS:
            found[step] = distance(mine.detach(), other.detach())
    return found


def main() -> None:
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {SHAPE[0] * SHAPE[1]:,} weights")
    print(f"{'dtype':<10}{'against':<16}" + "".join(f"{f'{step} steps':>32}" for step in STEPS))
    print(" " * 26 + f"{'differ':>12}{'ulps':>9}{'of rms':>11}" * len(STEPS))
    for dtype in DTYPES:
        for name, options in IMPLEMENTATIONS.items():
            cells = (f"{share:>12.2%}{ulps:>9,}{rms:>11.1e}" for share, ulps, rms in measure(dtype, options).values())
            print(f"{str(dtype).removeprefix('torch.'):<10}{name:<16}" + "".join(cells))


if __name__ == "__main__":
    main()
