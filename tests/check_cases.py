"""A healthy checkpoint that torch trains here, and for every rule one edit that makes it sick."""

from __future__ import annotations

import argparse
import copy
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

STEPS = 20
Edit = Callable[[dict[str, Any]], Any]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(6, 12)
        self.norm = torch.nn.LayerNorm(12)
        self.second = torch.nn.Linear(12, 7)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.second(torch.tanh(self.norm(self.first(x))))
        return hidden


def train(optimizer: torch.optim.Optimizer, net: Net, scheduler: Any = None, steps: int = STEPS) -> None:
    generator = torch.Generator().manual_seed(7)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(16, 6, generator=generator)).square().mean().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def groups(net: Net) -> list[dict[str, Any]]:
    matrices = [p for p in net.parameters() if p.ndim >= 2]
    vectors = [p for p in net.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


@cache
def _trained() -> dict[str, Any]:
    torch.manual_seed(11)
    net = Net()
    optimizer = torch.optim.AdamW(groups(net), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    train(optimizer, net, scheduler)
    return {
        "model": dict(net.state_dict()),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": torch.amp.GradScaler("cpu", init_scale=1024.0).state_dict(),
        "rng": {"torch": torch.get_rng_state()},
        "step": STEPS,
        "epoch": 2,
        "config": {"max_steps": 60},
    }


def healthy() -> dict[str, Any]:
    """A copy to edit: AdamW in two groups, 20 steps, with everything beside it."""
    return copy.deepcopy(_trained())


def state(checkpoint: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = checkpoint["optimizer"]["state"][index]
    return found


def setting(key: str, value: Any, group: int | None = None) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        for number, each in enumerate(c["optimizer"]["param_groups"]):
            if group in (None, number):
                each[key] = value

    return edit


def all_states(slot: str, change: Callable[[Any], Any]) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        for each in c["optimizer"]["state"].values():
            each[slot] = change(each[slot])

    return edit


def slot(name: str, change: Callable[[Any], Any], index: int = 0) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        state(c, index)[name] = change(state(c, index)[name])

    return edit


def together(*edits: Edit) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        for each in edits:
            each(c)

    return edit


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        c["model"] = {k: change(v) if k != "mask" else v for k, v in c["model"].items()}

    return edit


def drop(*keys: str) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        for key in keys:
            del c[key]

    return edit


def put(route: str, value: Any) -> Edit:
    """Set c["a"]["b"] of "a.b"."""

    def edit(c: dict[str, Any]) -> None:
        *outer, last = route.split(".")
        for key in outer:
            c = c[key]
        c[last] = value

    return edit


def first(value: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The tensor with its first element replaced."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[0] = value
        return tensor

    return change


def without_schedule(c: dict[str, Any]) -> None:
    del c["scheduler"]
    for group in c["optimizer"]["param_groups"]:
        del group["initial_lr"]


def names(c: dict[str, Any]) -> list[list[str]]:
    matrices = [k for k, v in c["model"].items() if v.ndim >= 2 and k != "mask"]
    return [matrices, [k for k, v in c["model"].items() if v.ndim < 2]]


def named(change: Callable[[list[list[str]]], Any]) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        told = names(c)
        change(told)
        for group, own in zip(c["optimizer"]["param_groups"], told, strict=True):
            if own:
                group["param_names"] = own

    return edit


def exchange(values: Any, a: int, b: int) -> None:
    values[a], values[b] = values[b], values[a]


def orphaned(c: dict[str, Any]) -> None:
    c["optimizer"]["state"][99] = copy.deepcopy(state(c))


def text_keys(c: dict[str, Any]) -> None:
    c["optimizer"]["state"] = {str(k): v for k, v in c["optimizer"]["state"].items()}


def listed_twice(c: dict[str, Any]) -> None:
    c["optimizer"]["param_groups"][1]["params"].append(0)


def reversed_order(c: dict[str, Any]) -> None:
    c["optimizer"]["param_groups"][1]["params"].reverse()


def shared(c: dict[str, Any]) -> None:
    state(c, 2)["exp_avg"] = state(c, 3)["exp_avg"]


def cut_rows(c: dict[str, Any]) -> None:
    for name in ("exp_avg", "exp_avg_sq"):
        state(c)[name] = state(c)[name][:9].clone()


def amsgrad(factor: float | None) -> Edit:
    def edit(c: dict[str, Any]) -> None:
        for each in c["optimizer"]["state"].values():
            if factor is not None:
                each["max_exp_avg_sq"] = each["exp_avg_sq"] * factor
        setting("amsgrad", True)(c)

    return edit


def average(c: dict[str, Any]) -> None:
    c["ema"] = {k: v.clone() for k, v in c["model"].items()}


def decay_turned(c: dict[str, Any]) -> None:
    setting("weight_decay", 0.0, 0)(c)
    setting("weight_decay", 0.1, 1)(c)


def half_moments(c: dict[str, Any]) -> None:
    """float16 all over, with squares that vanish there."""
    weights(torch.Tensor.half)(c)
    for each in c["optimizer"]["state"].values():
        each["exp_avg"] = each["exp_avg"].half().clamp(-1e-3, 1e-3)
        each["exp_avg_sq"] = (each["exp_avg_sq"] * 1e-9).half()
    setting("eps", 1e-4)(c)


def off_course(c: dict[str, Any]) -> None:
    setting("lr", 0.004)(c)
    c["scheduler"]["_last_lr"] = [0.004, 0.004]


def with_a_stranger(c: dict[str, Any]) -> None:
    """The very dict that torch's state_dict() gives, which knows its modules, and a tensor more."""
    kept = Net().state_dict()
    kept.update(c["model"])
    c["model"] = kept
    kept["old_head.weight"] = torch.randn(5, 3)


def exchanged(path: Path) -> None:
    """One group in the model's order, and the state of two matrices at each other's index."""
    torch.manual_seed(11)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    train(optimizer, net)
    held = optimizer.state_dict()
    exchange(held["state"], 0, 4)
    torch.save({"model": net.state_dict(), "optimizer": held}, path)


def trainer_directory(path: Path) -> Path:
    """A checkpoint of transformers' Trainer from which scheduler.pt was left out."""
    c = healthy()
    folder = path.parent / "checkpoint-20"
    folder.mkdir()
    torch.save(c["optimizer"], folder / "optimizer.pt")
    torch.save(c["model"], folder / "pytorch_model.bin")
    torch.save(c["rng"], folder / "rng_state.pth")
    (folder / "trainer_state.json").write_text('{"global_step": 20, "epoch": 2.0}')
    return folder


@dataclass(frozen=True)
class Sick:
    """An edit of the healthy checkpoint; or of the file it was saved to (`file`). `place`: part of the right route."""

    edit: Edit | None = None
    place: str = ""
    parameter: str | None = None
    file: Callable[[Path], None] | None = None
    also: frozenset[str] = frozenset()
    """Other rules that may speak up: the edit does more than one thing."""
    folder: Callable[[Path], Path] | None = None
    """Writes a directory instead."""

    def write(self, path: Path) -> Path:
        if self.folder is not None:
            return self.folder(path)
        c = healthy()
        if self.edit is not None:
            self.edit(c)
        torch.save(c, path)
        if self.file is not None:
            self.file(path)
        return path


def rewritten(change: Callable[[dict[str, bytes]], None]) -> Callable[[Path], None]:
    """The archive written again, its records changed and every checksum right."""

    def edit(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        change(records)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in records.items():
                archive.writestr(name, data)

    return edit


def _pickle(records: dict[str, bytes], old: bytes, new: bytes) -> None:
    name = next(name for name in records if name.endswith("/data.pkl"))
    assert old in records[name]
    records[name] = records[name].replace(old, new, 1)


def _without_version(records: dict[str, bytes]) -> None:
    for name in [name for name in records if name.endswith("version")]:
        del records[name]


def _longer(records: dict[str, bytes]) -> None:
    name = next(name for name in records if name.endswith("/data/0"))
    records[name] += bytes(64)


def flipped(path: Path) -> None:
    """One bit of the first weight."""
    data = bytearray(path.read_bytes())
    where = data.find(healthy()["model"]["first.weight"].numpy().tobytes())
    assert where > 0
    data[where + 40] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


FIRST = "first.weight"
STATE = "optimizer.state[0]"

SICK: dict[str, Sick] = {
    "OI101": Sick(file=cut),
    "OI102": Sick(slot("exp_avg", lambda t: t.to("meta")), f"{STATE}.exp_avg", FIRST),
    "OI103": Sick(file=rewritten(lambda r: _pickle(r, b"K\x0cK\x06\x86", b"K\x0dK\x06\x86")), place="first.weight"),
    "OI104": Sick(file=flipped, place="first.weight", parameter=FIRST),
    "OI105": Sick(file=rewritten(_longer), place="model.mask"),
    "OI106": Sick(file=rewritten(_without_version), place="version"),
    "OI201": Sick(drop("optimizer")),
    "OI202": Sick(drop("model")),
    "OI203": Sick(listed_twice, "param_groups[1].params"),
    "OI204": Sick(orphaned, "optimizer.state[99]"),
    "OI205": Sick(text_keys, "optimizer.state"),
    "OI206": Sick(put("optimizer.param_groups", []), "optimizer.param_groups"),
    "OI207": Sick(put("optimizer.state", {}), "optimizer.state"),
    "OI208": Sick(lambda c: c["optimizer"]["state"].pop(0), STATE, FIRST),
    "OI209": Sick(lambda c: state(c).pop("exp_avg_sq"), f"{STATE}.exp_avg_sq", FIRST),
    "OI210": Sick(reversed_order, "param_groups[1].params"),
    "OI211": Sick(named(lambda told: told[1].clear()), "param_groups[1]"),
    "OI212": Sick(named(lambda told: told[0].__setitem__(0, "ghost.weight")), STATE),
    "OI213": Sick(named(lambda told: exchange(told[1], 0, 2)), "optimizer.state[2]", "norm.bias"),
    "OI214": Sick(cut_rows, STATE, FIRST),
    "OI215": Sick(lambda c: c["model"].pop("first.weight"), STATE),
    "OI216": Sick(lambda c: c["model"].__setitem__("old.weight", torch.randn(5, 3)), "old.weight", "old.weight"),
    "OI217": Sick(with_a_stranger, "old_head", "old_head.weight"),
    "OI218": Sick(lambda c: c["optimizer"]["param_groups"][1]["params"].append(6), "param_groups[1].params"),
    "OI219": Sick(folder=trainer_directory),
    "OI220": Sick(file=exchanged, place="optimizer.state[0]", parameter=FIRST),
    "OI301": Sick(slot("exp_avg", first(torch.nan)), f"{STATE}.exp_avg", FIRST),
    "OI302": Sick(weights(first(torch.inf)), "first.weight", FIRST),
    "OI303": Sick(slot("exp_avg_sq", first(-1e-4)), f"{STATE}.exp_avg_sq", FIRST),
    "OI304": Sick(slot("exp_avg", lambda t: t * 1000), f"{STATE}.exp_avg", FIRST),
    "OI305": Sick(amsgrad(0.5), f"{STATE}.max_exp_avg_sq", FIRST),
    "OI306": Sick(half_moments, "exp_avg_sq"),
    "OI307": Sick(slot("exp_avg_sq", lambda t: t.mean()), f"{STATE}.exp_avg_sq", FIRST),
    "OI308": Sick(slot("exp_avg_sq", lambda t: t.bfloat16()), f"{STATE}.exp_avg_sq", FIRST),
    "OI309": Sick(weights(lambda t: t.bfloat16()), STATE, FIRST),
    "OI310": Sick(shared, "exp_avg"),
    "OI311": Sick(slot("exp_avg", lambda t: torch.zeros(1, 1).expand_as(t)), f"{STATE}.exp_avg", FIRST),
    "OI313": Sick(together(slot("exp_avg", torch.zeros_like), slot("exp_avg_sq", torch.zeros_like)), STATE, FIRST),
    "OI314": Sick(slot("exp_avg", torch.zeros_like), f"{STATE}.exp_avg", FIRST),
    "OI315": Sick(lambda c: c["model"]["first.weight"].zero_(), "first.weight", FIRST),
    "OI316": Sick(lambda c: c["model"].__setitem__(FIRST, first(1e20)(c["model"][FIRST])), "first.weight", FIRST),
    "OI317": Sick(weights(lambda t: t.bfloat16().float()), "model"),
    "OI318": Sick(together(weights(lambda t: t.bfloat16()), without_schedule, setting("lr", 1e-9)), STATE),
    "OI319": Sick(lambda c: c["model"].update({"bn.running_var": torch.tensor([1.0, -1.0])}), "bn.running_var"),
    "OI401": Sick(slot("step", lambda t: t * torch.nan), f"{STATE}.step", FIRST),
    "OI402": Sick(all_states("step", lambda t: torch.full_like(t, 2.0**24)), f"{STATE}.step"),
    "OI403": Sick(all_states("step", torch.zeros_like), f"{STATE}.step"),
    "OI404": Sick(slot("step", lambda t: t - 3), f"{STATE}.step", FIRST),
    "OI405": Sick(together(drop("scaler"), put("step", 33)), "optimizer.state"),
    "OI501": Sick(setting("lr", float("nan")), "param_groups[0].lr"),
    "OI502": Sick(setting("betas", (0.9, 1.0)), "param_groups[0].betas"),
    "OI503": Sick(setting("eps", -1e-8), "param_groups[0].eps"),
    "OI504": Sick(setting("weight_decay", -0.1), "param_groups[0].weight_decay"),
    "OI505": Sick(lambda c: [group.pop("betas") for group in c["optimizer"]["param_groups"]], "param_groups[0]"),
    "OI506": Sick(amsgrad(None), "max_exp_avg_sq"),
    "OI507": Sick(setting("weight_decay_rate", 0.01), "param_groups[0].weight_decay_rate"),
    "OI508": Sick(weights(torch.Tensor.half), STATE),
    "OI509": Sick(setting("weight_decay", 1e-9), STATE),
    "OI510": Sick(setting("eps", 1e8), "param_groups[0].eps"),
    "OI511": Sick(together(amsgrad(1.0), setting("amsgrad", False)), "param_groups[0].amsgrad"),
    "OI701": Sick(setting("lr", 0.5, 1), "param_groups[1].lr"),
    "OI702": Sick(off_course, "param_groups[0].lr"),
    "OI703": Sick(put("scheduler.base_lrs", [1e-2]), "scheduler.base_lrs"),
    "OI704": Sick(put("scheduler.base_lrs", [3e-3, 3e-3]), "scheduler.base_lrs"),
    "OI705": Sick(lambda c: [g.pop("initial_lr") for g in c["optimizer"]["param_groups"]], "param_groups[0]"),
    "OI706": Sick(put("scheduler", None), "scheduler"),
    "OI707": Sick(put("scheduler.last_epoch", 0), "scheduler.last_epoch"),
    "OI708": Sick(together(put("scheduler.last_epoch", 80), put("scheduler._step_count", 81)), "scheduler.last_epoch"),
    "OI709": Sick(put("scheduler._last_lr", [float("nan")] * 2), "scheduler._last_lr"),
    "OI711": Sick(put("scaler.scale", 0.0), "scaler.scale"),
    "OI712": Sick(put("scaler", {}), "scaler"),
    "OI713": Sick(together(drop("scaler"), half_moments), also=frozenset({"OI306"})),
    "OI714": Sick(put("rng", {"torch": torch.zeros(100, dtype=torch.uint8)}), "rng.torch"),
    "OI715": Sick(average, "ema"),
    "OI716": Sick(drop("rng")),
    "OI801": Sick(setting("maximize", True), "param_groups[0].maximize"),
    "OI802": Sick(setting("weight_decay", 0.1), "param_groups[1].weight_decay"),
    "OI803": Sick(decay_turned, "param_groups[1].weight_decay"),
    "OI804": Sick(put("args", argparse.Namespace(lr=1e-2))),
}
"""Code → what that rule condemns, and as a rule no other."""
