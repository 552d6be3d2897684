"""What a user would write to look into a checkpoint: load it, five figures for every tensor.

python bench/user_script.py FILE [--state]     --state: the optimizer's tensors only
"""

import sys

import torch


def show(name: str, value: object) -> None:
    if torch.is_tensor(value) and value.is_floating_point() and value.numel() > 1:
        figures = (value.mean(), value.std(), value.min(), value.max(), value.norm())
        print(name, tuple(value.shape), *(f"{figure.item():.3e}" for figure in figures))


checkpoint = torch.load(sys.argv[1], map_location="cpu")
for index, state in checkpoint["optimizer"]["state"].items():
    for slot, value in state.items():
        show(f"{index} {slot}", value)
if "--state" not in sys.argv:
    for name, value in checkpoint["model"].items():
        show(name, value)
