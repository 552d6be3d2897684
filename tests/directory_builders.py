"""Directories as frameworks write them, small and generated: by torch.save, safetensors, torch.distributed."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

GPT2_CONFIG = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "transformers_version": "4.40.0"}


class Block(torch.nn.Module):
    """GPT-2's block: all of its matrices are square here, so that shapes alone name nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = torch.nn.LayerNorm(width)
        self.attn = torch.nn.ModuleDict({n: torch.nn.Linear(width, width) for n in ("c_attn", "c_proj")})
        self.ln_2 = torch.nn.LayerNorm(width)
        self.mlp = torch.nn.ModuleDict({n: torch.nn.Linear(width, width) for n in ("c_fc", "c_proj")})


class Gpt(torch.nn.Module):
    def __init__(self, layers: int = 11, width: int = 4) -> None:
        super().__init__()
        self.transformer = torch.nn.ModuleDict(
            {
                "wte": torch.nn.Embedding(7, width),
                "wpe": torch.nn.Embedding(5, width),
                "h": torch.nn.ModuleList(Block(width) for _ in range(layers)),
                "ln_f": torch.nn.LayerNorm(width),
            }
        )
        self.lm_head = torch.nn.Linear(width, 7, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight  # type: ignore[union-attr]


def trained(
    model: torch.nn.Module, groups: Sequence[Sequence[str]], cls: Any = torch.optim.AdamW, **settings: Any
) -> torch.optim.Optimizer:
    """An optimizer over named groups (decay, no decay, …) after three steps with random gradients."""
    torch.manual_seed(0)
    parameters = dict(model.named_parameters())
    decays = [0.1, *([0.0] * (len(groups) - 1))]
    rows = [
        {"params": [parameters[n] for n in names], "weight_decay": decay}
        for names, decay in zip(groups, decays, strict=True)
    ]
    optimizer: torch.optim.Optimizer = cls(rows, lr=1e-3, **settings)
    for _ in range(3):
        for group in rows:
            for parameter in group["params"]:  # type: ignore[attr-defined]
                parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return optimizer


def decay_groups(model: torch.nn.Module, frozen: Sequence[str] = ()) -> list[list[str]]:
    """As transformers' Trainer makes them: decay first, then norms and biases, frozen ones left out."""
    live = {name: p for name, p in model.named_parameters() if name not in frozen}
    return [[n for n, p in live.items() if p.ndim >= 2], [n for n, p in live.items() if p.ndim < 2]]


def trainer_directory(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    config: Mapping[str, Any] | None = None,
    shards: int = 1,
    step: int = 3,
) -> Path:
    """checkpoint-N: safetensors holds a tied tensor once, under its first name."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[int, str] = {}
    tensors = {n: v.clone() for n, v in model.state_dict().items() if seen.setdefault(v.data_ptr(), n) == n}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
    else:
        names = list(tensors)
        where = {name: f"model-{1 + i % shards:05}-of-{shards:05}.safetensors" for i, name in enumerate(names)}
        for file in set(where.values()):
            save_file({n: tensors[n] for n in names if where[n] == file}, folder / file)
        index = {"metadata": {}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config if config is not None else GPT2_CONFIG))
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    torch.save(schedule.state_dict(), folder / "scheduler.pt")
    torch.save({"python": (3, tuple(range(625)), None), "cpu": torch.get_rng_state()}, folder / "rng_state.pth")
    state = {"global_step": step, "epoch": 0.5, "max_steps": 8, "log_history": [{"loss": float("nan"), "step": 1}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def distributed_directory(folder: Path, state: Mapping[str, Any]) -> Path:
    """torch.distributed.checkpoint.save of one process."""
    from torch.distributed import checkpoint  # noqa: PLC0415  half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.save(dict(state), checkpoint_id=str(folder), no_dist=True)
    return folder


def by_name(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state_dict with names for numbers, as get_optimizer_state_dict gives it."""
    names = {id(p): n for n, p in model.named_parameters()}
    held = optimizer.state_dict()
    order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    groups = [{**group, "params": [order[i] for i in group["params"]]} for group in held["param_groups"]]
    return {"state": {order[i]: slots for i, slots in held["state"].items()}, "param_groups": groups}


def deepspeed_directory(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, ranks: int, stage: int, step: int = 3
) -> Path:
    """What DeepSpeed writes for ZeRO 1–3 (flat partitions and param_shapes), made from a plain optimizer."""
    tag = folder / f"global_step{step}"
    tag.mkdir(parents=True)
    (folder / "latest").write_text(tag.name)
    names = {id(p): n for n, p in model.named_parameters()}
    shapes = [{names[id(p)]: p.shape for p in group["params"]} for group in optimizer.param_groups]
    settings = [
        {**{k: v for k, v in group.items() if k != "params"}, "params": [g]}
        for g, group in enumerate(optimizer.param_groups)
    ]
    module = {n: v if stage < 3 else torch.empty(0) for n, v in model.state_dict().items()}
    states = {
        "module": module,
        "param_shapes": shapes,
        "buffer_names": [],
        "frozen_param_shapes": None,
        "shared_params": {},
        "lr_scheduler": {"last_batch_iteration": step - 1},
        "global_steps": step,
        "dp_world_size": ranks,
        "mp_world_size": 1,
    }
    cut = _split if stage == 3 else _cut
    kinds = ("fp32", "exp_avg", "exp_avg_sq")
    flats = {
        kind: [cut([_values(optimizer, p, kind) for p in group["params"]], ranks) for group in optimizer.param_groups]
        for kind in kinds
    }
    for rank in range(ranks):
        base = {
            "state": {
                g: {"step": torch.tensor(float(step)), **{kind: flats[kind][g][rank] for kind in kinds[1:]}}
                for g in range(len(settings))
            },
            "param_groups": settings,
        }
        masters = [flats["fp32"][g][rank] for g in range(len(settings))]
        whole = (
            {"fp32_flat_groups": masters, "optimizer_state_dict": base}
            if stage == 3
            else {"single_partition_of_fp32_groups": masters, "base_optimizer_state": base}
        )
        torch.save({"optimizer_state_dict": whole}, tag / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        if stage == 3:
            torch.save(states, tag / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
    if stage < 3:
        torch.save(states, tag / "mp_rank_00_model_states.pt")
    return folder


def _values(optimizer: torch.optim.Optimizer, parameter: torch.Tensor, kind: str) -> torch.Tensor:
    return parameter.detach() if kind == "fp32" else optimizer.state[parameter][kind]


def _cut(tensors: Sequence[torch.Tensor], ranks: int) -> list[torch.Tensor]:
    """One after another, padded at the end, cut into equal parts: parameters may straddle ranks."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    part = ceil(len(flat) / ranks)
    padded = torch.nn.functional.pad(flat, (0, part * ranks - len(flat)))
    return [padded[r * part : (r + 1) * part].clone() for r in range(ranks)]


def _split(tensors: Sequence[torch.Tensor], ranks: int) -> list[torch.Tensor]:
    """Every tensor over all ranks, the last part padded."""
    parts: list[list[torch.Tensor]] = [[] for _ in range(ranks)]
    for tensor in tensors:
        share = ceil(tensor.numel() / ranks)
        padded = torch.nn.functional.pad(tensor.reshape(-1), (0, share * ranks - tensor.numel()))
        for rank in range(ranks):
            parts[rank].append(padded[rank * share : (rank + 1) * share])
    return [torch.cat(part) for part in parts]


def universal_directory(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, groups: Sequence[Sequence[str]]
) -> Path:
    """As DeepSpeed's ds_to_universal writes it: a folder a parameter, the groups beside, names in `param_shapes`."""
    home = folder / "global_step3_universal"
    live = dict(model.named_parameters())
    for name, parameter in live.items():
        slots = optimizer.state[parameter]
        part = home / "zero" / name
        part.mkdir(parents=True)
        held = {"fp32": parameter.detach().clone(), "exp_avg": slots["exp_avg"], "exp_avg_sq": slots["exp_avg_sq"]}
        for slot, value in held.items():
            torch.save({"param": value, "cat_dim": 0}, part / f"{slot}.pt")
        torch.save(int(slots["step"]), part / "step.pt")
    written = [{**group, "params": [n]} for n, group in enumerate(optimizer.state_dict()["param_groups"])]
    torch.save({"param_groups": written, "ds_version": "0.19.8"}, home / "zero" / "optimizer_state.pt")
    shapes = [OrderedDict((name, live[name].shape) for name in names) for names in groups]
    module = {name: value.bfloat16() for name, value in model.state_dict().items()}
    states = {"module": module, "param_shapes": shapes, "buffer_names": [], "global_steps": 3, "dp_world_size": 2}
    torch.save(states, home / "mp_rank_00_model_states.pt")
    (folder / "latest_universal").write_text(home.name)
    return folder
