"""Slots that a setting asks for, values and kinds that no optimizer leaves: torch itself tells what becomes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from check_cases import Net, first, train

import optinspect
from optinspect.report import Finding, Severity

Edit = Callable[[dict[str, Any]], object]
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "RMSprop": (torch.optim.RMSprop, {"lr": 1e-3, "momentum": 0.5, "centered": True}),
    "Adafactor": (torch.optim.Adafactor, {}),
    "AdamW": (torch.optim.AdamW, {"amsgrad": True}),
    "SGD": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    "Adadelta": (torch.optim.Adadelta, {}),
    "Rprop": (torch.optim.Rprop, {}),
    "NAdam": (torch.optim.NAdam, {}),
}


def trained(name: str, steps: int = 6) -> tuple[Net, Any]:
    torch.manual_seed(3)
    net = Net()
    kind, options = OPTIMIZERS[name]
    optimizer = kind(net.parameters(), **options)
    train(optimizer, net, steps=steps)
    return net, optimizer


def resumed(net: Net, optimizer: Any, held: dict[str, Any]) -> str:
    """What torch does with the state: "raises", "nan" or "goes on"."""
    twin = copy.deepcopy(net)
    again = type(optimizer)(twin.parameters())
    try:
        again.load_state_dict(copy.deepcopy(held))
        train(again, twin, steps=1)
    except (KeyError, AssertionError, ValueError, RuntimeError, TypeError, AttributeError):
        return "raises"
    return "goes on" if all(bool(one.isfinite().all()) for one in twin.parameters()) else "nan"


def without(slot: str, *indices: int) -> Edit:
    return lambda held: [held["state"][index].pop(slot) for index in indices]


def changed(slot: str, change: Callable[[Any], Any], index: int = 0) -> Edit:
    def edit(held: dict[str, Any]) -> None:
        held["state"][index][slot] = change(held["state"][index][slot])

    return edit


def switched(**settings: Any) -> Edit:
    return lambda held: held["param_groups"][0].update(settings)


EVERY = range(6)
FAULTS: dict[str, tuple[str, Edit, str, str, str]] = {
    "grad_avg of one": ("RMSprop", without("grad_avg", 0), "raises", "OI209", "state[0].grad_avg"),
    "grad_avg of all": ("RMSprop", without("grad_avg", *EVERY), "raises", "OI506", "grad_avg"),
    "buffer of one": ("RMSprop", without("momentum_buffer", 2), "raises", "OI209", "state[2].momentum_buffer"),
    "buffer of all": ("RMSprop", without("momentum_buffer", *EVERY), "raises", "OI506", "momentum_buffer"),
    "maximum of one": ("AdamW", without("max_exp_avg_sq", 1), "raises", "OI209", "state[1].max_exp_avg_sq"),
    "rows": ("Adafactor", without("row_var", 0), "raises", "OI209", "state[0].row_var"),
    "columns": ("Adafactor", without("col_var", 4), "raises", "OI209", "state[4].col_var"),
    "variance": ("Adafactor", without("variance", 1), "raises", "OI209", "state[1].variance"),
    "mean beyond": ("RMSprop", changed("grad_avg", lambda t: t + 10), "nan", "OI304", "state[0].grad_avg"),
    "negative delta": ("Adadelta", changed("acc_delta", first(-1.0)), "nan", "OI303", "state[0].acc_delta"),
    "no step size": ("Rprop", changed("step_size", first(0.0)), "goes on", "OI303", "state[0].step_size"),
    "negative step size": ("Rprop", changed("step_size", first(-0.1)), "goes on", "OI303", "state[0].step_size"),
    "product 1": ("NAdam", changed("mu_product", torch.ones_like), "goes on", "OI303", "state[0].mu_product"),
    "product 0": ("NAdam", changed("mu_product", torch.zeros_like), "goes on", "OI303", "state[0].mu_product"),
    "text": ("AdamW", changed("step", lambda _: "6"), "raises", "OI401", "state[0].step"),
    "two counts": ("AdamW", changed("step", lambda t: t.repeat(2)), "raises", "OI401", "state[0].step"),
    "sparse": ("AdamW", changed("exp_avg", lambda t: t.to_sparse()), "raises", "OI311", "state[0].exp_avg"),
    "a number": ("AdamW", changed("exp_avg", lambda _: 0.5), "raises", "OI311", "state[0].exp_avg"),
    "product as text": ("NAdam", changed("mu_product", lambda _: "0.4"), "raises", "OI311", "state[0].mu_product"),
    "momentum off": ("SGD", switched(momentum=0), "goes on", "OI511", "param_groups[0].momentum"),
    "RMSprop's momentum off": ("RMSprop", switched(momentum=0), "goes on", "OI511", "param_groups[0].momentum"),
    "centered off": ("RMSprop", switched(centered=False), "goes on", "OI511", "param_groups[0].centered"),
    "amsgrad off": ("AdamW", switched(amsgrad=False), "goes on", "OI511", "param_groups[0].amsgrad"),
}


def findings(path: Path, net: Net, held: dict[str, Any], **more: Any) -> list[Finding]:
    torch.save({"model": net.state_dict(), "optimizer": held} | more, path)
    return [each for each in optinspect.check(str(path)).findings if each.severity is not Severity.NOTE]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_one_finding(fault: str, tmp_path: Path) -> None:
    name, edit, becomes, code, route = FAULTS[fault]
    net, optimizer = trained(name)
    held = copy.deepcopy(optimizer.state_dict())
    assert resumed(net, optimizer, held) == "goes on" and not findings(tmp_path / "healthy.pt", net, held)
    edit(held)
    assert resumed(net, optimizer, held) == becomes
    found = findings(tmp_path / "c.pt", net, held)
    assert [each.rule for each in found] == [code], found
    assert route in (found[0].where.route or "")
    assert (found[0].severity is Severity.WARNING) == (code == "OI511")


@pytest.mark.parametrize("every", [False, True])
def test_sgd_makes_its_buffers_anew(every: bool, tmp_path: Path) -> None:
    net, optimizer = trained("SGD")
    held = copy.deepcopy(optimizer.state_dict())
    for index in EVERY if every else (0,):
        held["state"][index]["momentum_buffer"] = None
    assert resumed(net, optimizer, held) == "goes on"
    found = {each.rule for each in findings(tmp_path / "c.pt", net, held)}
    assert found == (set() if every else {"OI208"})


def test_counts_of_two_elements_are_one_finding(tmp_path: Path) -> None:
    net, optimizer = trained("AdamW")
    held = copy.deepcopy(optimizer.state_dict())
    for index in EVERY:
        changed("step", lambda t: t.repeat(2), index)(held)
    assert [each.rule for each in findings(tmp_path / "c.pt", net, held)] == ["OI401"]


def test_a_product_that_has_faded_is_healthy(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.NAdam(net.parameters())
    for _ in range(1_200):
        for parameter in net.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    held = optimizer.state_dict()
    assert held["state"][0]["mu_product"] == 0
    assert not findings(tmp_path / "c.pt", net, held)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_equal_gradients_reach_the_bound(alpha: float, dtype: torch.dtype, tmp_path: Path) -> None:
    """grad_avg² = square_avg, but for the rounding of each step."""
    net = torch.nn.Linear(16, 8, dtype=dtype)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=0.0, alpha=alpha, centered=True)
    for parameter in net.parameters():
        parameter.grad = torch.logspace(-3, 0, parameter.numel()).view_as(parameter).to(dtype)
    for _ in range(700):
        optimizer.step()
    found = findings(tmp_path / "c.pt", net, optimizer.state_dict())  # type: ignore[arg-type]
    assert "OI304" not in {each.rule for each in found}


def test_a_weight_in_whole_numbers(tmp_path: Path) -> None:
    net, optimizer = trained("AdamW")
    model = net.state_dict() | {"second.weight": net.second.weight.int()}
    torch.save({"model": model, "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    found = [each for each in optinspect.check(str(tmp_path / "c.pt")).findings if each.severity is Severity.ERROR]
    assert [(each.rule, each.where.parameter) for each in found] == [("OI308", "second.weight")]


SCHEDULES: dict[str, tuple[Callable[[Any], Any], str, Any, bool]] = {
    "no length": (lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10), "T_max", 0, True),
    "no step size": (lambda o: torch.optim.lr_scheduler.StepLR(o, 10), "step_size", 0, True),
    "no restart": (lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 10), "T_i", 0, True),
    "text": (lambda o: torch.optim.lr_scheduler.StepLR(o, 10), "last_epoch", "6", True),
    "None": (lambda o: torch.optim.lr_scheduler.StepLR(o, 10), "last_epoch", None, True),
    "no base": (lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 0.5), "base_lrs", [], True),
    "no last": (lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10), "_last_lr", [], False),
}


@pytest.mark.parametrize("fault", SCHEDULES)
def test_a_scheduler_that_cannot_go_on(fault: str, tmp_path: Path) -> None:
    make, key, value, raises = SCHEDULES[fault]
    torch.manual_seed(3)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    scheduler = make(optimizer)
    train(optimizer, net, scheduler, steps=6)
    held = copy.deepcopy(optimizer.state_dict())
    assert not findings(tmp_path / "healthy.pt", net, held, scheduler=scheduler.state_dict())
    sick = scheduler.state_dict() | {key: value}
    scheduler.load_state_dict(sick)
    if raises:
        with pytest.raises((ArithmeticError, TypeError, ValueError)):
            scheduler.step()
    found = findings(tmp_path / "c.pt", net, held, scheduler=sick)
    assert [(each.rule, each.where.route) for each in found] == [("OI709", f"scheduler.{key}")]


WHOLE = torch.get_rng_state()
RANDOM: dict[str, tuple[dict[str, Any], bool]] = {
    "whole": ({"rng": WHOLE}, False),
    "cut": ({"rng": WHOLE[:100].clone()}, True),
    "cut rng_state": ({"rng_state": WHOLE[:100].clone()}, True),
    "cut random_state": ({"random_state": WHOLE[:100].clone()}, True),
    "cast": ({"rng": {"torch": WHOLE.float()}}, True),
    "cast alone": ({"cpu_rng_state": WHOLE.float()}, True),
    "a GPU's": ({"rng_state": torch.zeros(16, dtype=torch.uint8)}, False),
    "a GPU's by its name": ({"cuda_rng_state": WHOLE[:24].clone()}, False),
    "GPUs'": ({"rng": {"torch": WHOLE, "cuda": [torch.zeros(16, dtype=torch.uint8)] * 2}}, False),
    "a pickle": ({"random_state": torch.tensor([0x80, 4, 0x95, 1, 2, 3], dtype=torch.uint8)}, False),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_states(kind: str, tmp_path: Path) -> None:
    more, sick = RANDOM[kind]
    net, optimizer = trained("AdamW")
    if sick:
        state = next(iter(more.values()))
        with pytest.raises((RuntimeError, TypeError)):
            torch.set_rng_state(state["torch"] if isinstance(state, dict) else state)
    found = findings(tmp_path / "c.pt", net, optimizer.state_dict(), **more)
    assert [each.rule for each in found] == (["OI714"] if sick else [])
