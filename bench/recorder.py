"""What recording costs: the time of training steps with and without `optinspect.Recorder`, alternating in one run.

    python bench/recorder.py [--folder DIR] [--rounds N]

Two models: a small one, whose steps are so short that every microsecond shows, and a transformer of 11 million
parameters, where the recording is as large as it is slow to write. The folder should be on the disk that you record to.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch

import optinspect


def small() -> tuple[torch.nn.Module, torch.Tensor]:
    layers = [torch.nn.Linear(64, 64) for _ in range(8)]
    return torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.ReLU()))), torch.randn(128, 64)


def transformer() -> tuple[torch.nn.Module, torch.Tensor]:
    layer = torch.nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.0, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), torch.randn(8, 128, 384)


def step_time(model: torch.nn.Module, data: torch.Tensor, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Seconds a step, the median of `steps`."""
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        model(data).pow(2).mean().backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(name: str, model: torch.nn.Module, data: torch.Tensor, folder: Path, rounds: int, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    step_time(model, data, optimizer, 2)
    plain, recorded, written = [], [], 0
    for number in range(rounds):
        plain.append(step_time(model, data, optimizer, steps))
        path = folder / f"{name}-{number}"
        with optinspect.Recorder(optimizer, path, model=model):
            recorded.append(step_time(model, data, optimizer, steps))
        written = sum(each.stat().st_size for each in path.iterdir())
        shutil.rmtree(path)
    without, with_it = statistics.median(plain), statistics.median(recorded)
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{name}: {count:,} parameters, {written / steps / 1e6:.2f} MB a step; {without * 1e3:.2f} ms a step without,"
        f" {with_it * 1e3:.2f} ms with: × {with_it / without:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure("small", *small(), Path(folder), arguments.rounds, 200)
        measure("transformer", *transformer(), Path(folder), arguments.rounds, 6)


if __name__ == "__main__":
    main()
