"""Write a training checkpoint of the shape of GPT-2 small: 124 million parameters, AdamW in two groups, 1.5 GB.

    python bench/gpt2_checkpoint.py FILE [--layers N] [--later] [--many]

--later writes the same run ten steps on: every value moved by about a thousandth of itself.
--many writes 25,000 tiny parameters instead: 100,000 tensors.

Values are random, of the sizes that training gives (weights 0.02, m 1e-4, v 1e-8, log-normal over elements); the
time to read and measure them depends on nothing else. Needs about 2 GB of memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

WIDTH, VOCABULARY, CONTEXT = 768, 50257, 1024


def shapes(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in module order, as nanoGPT names them."""
    yield "transformer.wte.weight", (VOCABULARY, WIDTH)
    yield "transformer.wpe.weight", (CONTEXT, WIDTH)
    for layer in range(layers):
        block = f"transformer.h.{layer}"
        yield from ((f"{block}.ln_1.weight", (WIDTH,)), (f"{block}.ln_1.bias", (WIDTH,)))
        yield from ((f"{block}.attn.c_attn.weight", (3 * WIDTH, WIDTH)), (f"{block}.attn.c_attn.bias", (3 * WIDTH,)))
        yield from ((f"{block}.attn.c_proj.weight", (WIDTH, WIDTH)), (f"{block}.attn.c_proj.bias", (WIDTH,)))
        yield from ((f"{block}.ln_2.weight", (WIDTH,)), (f"{block}.ln_2.bias", (WIDTH,)))
        yield from ((f"{block}.mlp.c_fc.weight", (4 * WIDTH, WIDTH)), (f"{block}.mlp.c_fc.bias", (4 * WIDTH,)))
        yield from ((f"{block}.mlp.c_proj.weight", (WIDTH, 4 * WIDTH)), (f"{block}.mlp.c_proj.bias", (WIDTH,)))
    yield from (("transformer.ln_f.weight", (WIDTH,)), ("transformer.ln_f.bias", (WIDTH,)))


def lognormal(shape: tuple[int, ...], scale: float, random: torch.Generator) -> torch.Tensor:
    return torch.empty(shape).log_normal_(0.0, 1.0, generator=random).mul_(scale)


def weight(name: str, shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    values = torch.empty(shape).normal_(0.0, 0.02, generator=random)
    return values.add_(1.0) if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")) else values


def moments(shape: tuple[int, ...], random: torch.Generator) -> dict[str, torch.Tensor]:
    m = lognormal(shape, 1e-4, random)
    m.mul_(torch.empty(shape).bernoulli_(0.5, generator=random).mul_(2.0).sub_(1.0))
    v = lognormal(shape, 1e-8, random).add_(m.square())  # no gradients give m² far above v: `check` would say so
    return {"step": torch.tensor(2000.0), "exp_avg": m, "exp_avg_sq": v}


def checkpoint(layers: int = 12) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    named = list(shapes(layers))
    model = {name: weight(name, shape, random) for name, shape in named}
    model["lm_head.weight"] = model["transformer.wte.weight"]  # tied
    # AdamW with two groups: decay for matrices first, as nanoGPT passes them
    ordered = sorted(named, key=lambda item: len(item[1]) < 2)
    matrices = sum(len(shape) >= 2 for _, shape in named)
    settings = torch.optim.AdamW([torch.zeros(1)], lr=6e-4, betas=(0.9, 0.95)).state_dict()["param_groups"][0]
    groups = [
        {**settings, "weight_decay": 0.1, "params": list(range(matrices))},
        {**settings, "weight_decay": 0.0, "params": list(range(matrices, len(named)))},
    ]
    state = {index: moments(shape, random) for index, (_, shape) in enumerate(ordered)}
    return {
        "model": model,
        "optimizer": {"state": state, "param_groups": groups},
        "iter_num": 2000,
        "best_val_loss": 3.1,
    }


def later(saved: dict[str, Any]) -> dict[str, Any]:
    """In place: as ten steps leave it, as far as the time to compare the two goes."""
    random = torch.Generator().manual_seed(1)
    states = saved["optimizer"]["state"].values()
    moved = [*saved["model"].values(), *(state[slot] for state in states for slot in ("exp_avg", "exp_avg_sq"))]
    for tensor in {id(each): each for each in moved}.values():
        tensor.mul_(torch.empty(tensor.shape).normal_(1.0, 1e-3, generator=random))
    for state in states:
        state["step"] += 10
    for group in saved["optimizer"]["param_groups"]:
        group["lr"] *= 0.99
    return saved | {"iter_num": saved["iter_num"] + 10}


def many_tensors(parameters: int = 25_000) -> dict[str, Any]:
    """A checkpoint of 4 × `parameters` tiny tensors: weight, step, m and v of each."""
    random = torch.Generator().manual_seed(0)
    model = {f"layers.{index}.bias": torch.randn(16, generator=random) for index in range(parameters)}
    settings = torch.optim.AdamW([torch.zeros(1)]).state_dict()["param_groups"][0]
    state = {index: moments((16,), random) for index in range(parameters)}
    return {"model": model, "optimizer": {"state": state, "param_groups": [{**settings, "params": list(state)}]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--later", action="store_true")
    parser.add_argument("--many", action="store_true")
    options = parser.parse_args()
    saved = many_tensors() if options.many else checkpoint(options.layers)
    torch.save(later(saved) if options.later else saved, options.file)
    print(f"{options.file}: {options.file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
