"""Faults put into a healthy run at a random place: what must be found, and where."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from field_runs import Run


@dataclass
class Injected:
    """Part of the right route, and the parameter where the fault is one parameter's."""

    place: str
    parameter: str | None = None


Inject = Callable[[Run, random.Random], "Injected | None"]


def _pick(run: Run, r: random.Random, fits: Callable[[dict[str, Any]], bool] = lambda s: True) -> int | None:
    state = run.saved["optimizer"]["state"]
    indices = [i for i, slots in state.items() if bool((slots["exp_avg_sq"] != 0).any()) and fits(slots)]
    return r.choice(indices) if indices else None


def _slot(name: str, change: Callable[[Any, random.Random], Any], fits: Callable[[Any], bool]) -> Inject:
    def inject(run: Run, r: random.Random) -> Injected | None:
        index = _pick(run, r, fits)
        if index is None:
            return None
        slots = run.saved["optimizer"]["state"][index]
        slots[name] = change(slots[name], r)
        return Injected(f"optimizer.state[{index}]", run.names[index])

    return inject


def _element(value: float) -> Callable[[torch.Tensor, random.Random], torch.Tensor]:
    def change(tensor: torch.Tensor, r: random.Random) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[r.randrange(tensor.numel())] = value
        return tensor

    return change


def _setting(key: str, value: Any) -> Inject:
    def inject(run: Run, r: random.Random) -> Injected | None:
        groups = run.saved["optimizer"]["param_groups"]
        for group in groups if r.random() < 0.5 else [r.choice(groups)]:
            group[key] = copy.deepcopy(value)
        return Injected(f".{key}")

    return inject


def _weight(value: float) -> Inject:
    def inject(run: Run, r: random.Random) -> Injected | None:
        index = _pick(run, r, _several)
        if index is None:
            return None
        name = run.names[index]
        run.saved["model"][name] = _element(value)(run.saved["model"][name], r)
        return Injected(name, name)

    return inject


def _listed(change: Callable[[list[int], random.Random], None]) -> Inject:
    def inject(run: Run, r: random.Random) -> Injected | None:
        groups = [group for group in run.saved["optimizer"]["param_groups"] if len(group["params"]) > 1]
        if not groups:
            return None
        change(r.choice(groups)["params"], r)
        return Injected("params")

    return inject


def _swap(params: list[int], r: random.Random) -> None:
    a, b = r.sample(range(len(params)), 2)
    params[a], params[b] = params[b], params[a]


def _stranger(run: Run, r: random.Random) -> Injected:
    run.saved["model"]["old_head.weight"] = torch.randn(r.randint(2, 9), 3)
    return Injected("old_head", "old_head.weight")


def _text_keys(run: Run, r: random.Random) -> Injected:
    held = run.saved["optimizer"]
    held["state"] = {str(key): value for key, value in held["state"].items()}
    return Injected("state")


def _scheduler(key: str, value: Any) -> Inject:
    def inject(run: Run, r: random.Random) -> Injected | None:
        if not run.scheduled or key not in run.saved["scheduler"]:
            return None
        run.saved["scheduler"][key] = value
        return Injected("scheduler")

    return inject


def _several(slots: dict[str, Any]) -> bool:
    return bool(slots["exp_avg"].numel() >= 4)


def _matrix(slots: dict[str, Any]) -> bool:
    return slots["exp_avg"].ndim == 2 and slots["exp_avg"].shape[0] != slots["exp_avg"].shape[1]


def _any(slots: dict[str, Any]) -> bool:
    return True


nan, inf = float("nan"), float("inf")
FAULTS: dict[str, Inject] = {
    "nan in m": _slot("exp_avg", _element(nan), _any),
    "inf in m": _slot("exp_avg", _element(-inf), _any),
    "nan in v": _slot("exp_avg_sq", _element(nan), _any),
    "negative v": _slot("exp_avg_sq", _element(-1e-4), _any),
    "outlier in v": _slot("exp_avg_sq", _element(1e10), _several),
    "m too large": _slot("exp_avg", lambda t, r: t * 1000, _several),
    "v lost": _slot("exp_avg_sq", lambda t, r: torch.zeros_like(t), _any),
    "v scaled": _slot("exp_avg_sq", lambda t, r: t * 1e-6, _several),
    "m wiped": _slot("exp_avg", lambda t, r: torch.zeros_like(t), _any),
    "v in half": _slot("exp_avg_sq", lambda t, r: t.half(), _any),
    "m in whole numbers": _slot("exp_avg", lambda t, r: t.long(), _any),
    "m is None": _slot("exp_avg", lambda t, r: None, _any),
    "m from meta": _slot("exp_avg", lambda t, r: t.to("meta"), _any),
    "m flat": _slot("exp_avg", lambda t, r: t.flatten(), _matrix),
    "m transposed": _slot("exp_avg", lambda t, r: t.T.contiguous(), _matrix),
    "v a number": _slot("exp_avg_sq", lambda t, r: t.mean(), _several),
    "m expanded": _slot("exp_avg", lambda t, r: torch.zeros([1] * t.ndim).expand(t.shape), _several),
    "step nan": _slot("step", lambda t, r: t * nan, _any),
    "step negative": _slot("step", lambda t, r: t * 0 - 1, _any),
    "step 0": _slot("step", lambda t, r: t * 0, _any),
    "step between": _slot("step", lambda t, r: t + 0.5, _any),
    "nan in a weight": _weight(nan),
    "inf in a weight": _weight(inf),
    "outlier in a weight": _weight(1e30),
    "lr nan": _setting("lr", nan),
    "lr negative": _setting("lr", -1e-3),
    "lr a text": _setting("lr", "1e-3"),
    "lr a vector": _setting("lr", torch.tensor([1e-3, 1e-3])),
    "beta2 one": _setting("betas", (0.9, 1.0)),
    "one beta": _setting("betas", [0.9]),
    "betas exchanged": _setting("betas", (0.999, 0.9)),
    "eps negative": _setting("eps", -1e-8),
    "eps without its sign": _setting("eps", 1e8),
    "decay negative": _setting("weight_decay", -0.1),
    "misspelt": _setting("weight_decay_rate", 0.01),
    "index twice": _listed(lambda params, r: params.__setitem__(0, params[1])),
    "indices exchanged": _listed(_swap),
    "a stranger in the model": _stranger,
    "text keys": _text_keys,
    "scheduler nan": _scheduler("_last_lr", [nan]),
    "scheduler before its start": _scheduler("last_epoch", -7),
}
