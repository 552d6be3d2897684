"""Modules listed in another order than the model has them, most of it without state: no fault, and no wrong names."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naming_builders import from_torch, live_names
from torch import nn

import optinspect
from optinspect.naming import Naming, name_parameters
from optinspect.naming.runs import cuts, moved

Listed = Callable[[nn.Module], list[nn.Parameter]]


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)


class Scaled(nn.Module):
    """Its own parameter is first in module order."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.embedding = nn.Embedding(9, 4)
        self.body = nn.Sequential(*[nn.Linear(4, 4) for _ in range(4)])


class Bottleneck(nn.Module):
    """Every layer of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[nn.Linear(n + 2, n + 3) for n in range(5)])
        self.fc = nn.Linear(7, 3)


def _first(*modules: str) -> Listed:
    """All parameters, those of some modules before the rest."""

    def listed(net: nn.Module) -> list[nn.Parameter]:
        rows = list(net.named_parameters())
        head = [p for module in modules for name, p in rows if name.split(".")[0] == module]
        return [*head, *(p for name, p in rows if name.split(".")[0] not in modules)]

    return listed


def _stepped(net: nn.Module, listed: Listed, trained: Callable[[str], bool]) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(listed(net), lr=1e-3)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(trained(name))
        parameter.grad = torch.randn_like(parameter) if trained(name) else None
    for _ in range(2):
        optimizer.step()
    return optimizer


def _saved(path: Path, net: nn.Module, optimizer: torch.optim.Optimizer, exchange: Sequence[int] = ()) -> Path:
    held = optimizer.state_dict()
    if exchange:
        a, b = exchange
        held["state"][a], held["state"][b] = held["state"][b], held["state"][a]
    torch.save({"model": net.state_dict(), "optimizer": held}, path)
    return path


def _misplaced(path: Path) -> set[str]:
    return {found.rule for found in optinspect.check(str(path)).findings} & {"OI214", "OI215", "OI220"}


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Listed, Callable[[str], bool]]] = {
    "head first, backbone frozen": (ConvNet, _first("fc"), lambda name: name.startswith("fc")),
    "head and norms, the rest frozen": (ConvNet, _first("fc"), lambda name: name[:2] in ("fc", "bn")),
    "head, then a layer": (ConvNet, _first("fc", "conv"), lambda name: name[:2] in ("fc", "co")),
    "own parameter second, body frozen": (Scaled, _first("embedding"), lambda name: not name.startswith("body")),
    "own parameter second, all trained": (Scaled, _first("embedding"), lambda _: True),
    "own parameter last": (Scaled, _first("embedding", "body"), lambda _: True),
    "head first, biases frozen": (Bottleneck, _first("fc", "layers"), lambda name: name.endswith("weight")),
}


@pytest.mark.parametrize("case", HEALTHY)
def test_modules_listed_in_another_order_are_no_fault(case: str, tmp_path: Path) -> None:
    make, listed, trained = HEALTHY[case]
    net = make()
    optimizer = _stepped(net, listed, trained)
    (naming,) = name_parameters(from_torch({"model": net}, {"optimizer": optimizer}))
    told = [row.name for row in naming.parameters]
    truth = live_names(net, optimizer)
    sure = [(row.name, truth[row.index]) for row in naming.parameters if row.evidence == "forced"]
    assert all(name == true for name, true in sure)
    with_state = [i for i, p in enumerate(optimizer.param_groups[0]["params"]) if p in optimizer.state]
    assert all(told[i] in (None, truth[i]) for i in with_state)
    assert not _misplaced(_saved(tmp_path / "a.pt", net, optimizer))
    fresh = make()
    for name, parameter in fresh.named_parameters():
        parameter.requires_grad_(trained(name))
    optinspect.load(torch.optim.AdamW(listed(fresh), lr=1e-3), str(tmp_path / "a.pt"), fresh)


def test_one_run_moved_is_named_whole_and_unique_shapes_stay_forced() -> None:
    net = ConvNet()
    optimizer = _stepped(net, _first("fc"), lambda name: name.startswith("fc"))
    naming = _named(net, optimizer)
    assert [row.name for row in naming.parameters] == live_names(net, optimizer)
    assert [row.evidence for row in naming.parameters] == ["forced"] * 2 + ["order"] * 7


def _named(net: nn.Module, optimizer: torch.optim.Optimizer) -> Naming:
    return name_parameters(from_torch({"model": net}, {"optimizer": optimizer}))[0]


@pytest.mark.parametrize("seed", range(12))
def test_any_one_module_may_be_listed_first_whatever_is_frozen(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    net = chance.choice([ConvNet, Scaled, Bottleneck])()
    tops = list(dict.fromkeys(name.split(".")[0] for name, _ in net.named_parameters()))
    kept = {name for name, _ in net.named_parameters() if chance.random() < 0.5}
    optimizer = _stepped(net, _first(chance.choice(tops)), lambda name: name in kept or name == "fc.weight")
    truth = live_names(net, optimizer)
    assert all(r.name == truth[r.index] for r in _named(net, optimizer).parameters if r.evidence == "forced")
    assert not _misplaced(_saved(tmp_path / "a.pt", net, optimizer))


@pytest.mark.parametrize("exchange", [(0, 1), (0, 2), (2, 6), (4, 9), (3, 8), (10, 11)])
def test_two_states_exchanged_are_told(exchange: tuple[int, int], tmp_path: Path) -> None:
    """Weight and bias of one layer, and layers that keep their other parameter: no order of modules explains it."""
    net = Bottleneck()
    optimizer = _stepped(net, _first(), lambda _: True)
    path = tmp_path / "a.pt"
    assert _misplaced(_saved(path, net, optimizer)) == set()
    assert _misplaced(_saved(path, net, optimizer, exchange)) == {"OI220"}


def test_an_exchange_among_few_states_is_told_where_more_agree(tmp_path: Path) -> None:
    net, told = Bottleneck(), {}
    for trained in (("layers.0", "layers.3", "fc"), ("layers.0", "layers.3")):
        optimizer = _stepped(net, _first(), lambda name, trained=trained: name.startswith(trained))
        assert _misplaced(_saved(tmp_path / "a.pt", net, optimizer)) == set()
        told[trained] = _misplaced(_saved(tmp_path / "b.pt", net, optimizer, (0, 6)))
    assert list(told.values()) == [{"OI220"}, set()]  # four agree; two against two says nothing


def test_where_a_list_may_be_cut() -> None:
    layer, own = ["fc", "fc"], ["", ""]
    assert cuts([*own, *layer, "head"]) == {0, 1, 2, 4, 5}  # own parameters one by one, a layer as a whole
    assert cuts(own) == {0, 2}  # a lone layer
    blocks = ["h.0.norm", "h.0.proj", "h.1.norm", "h.1.proj"]
    assert cuts(blocks) == {0, 2, 4}  # the order inside a numbered block is its class's


@given(st.lists(st.integers(1, 4), min_size=2, max_size=9), st.data())
def test_every_exchange_of_neighbouring_runs_is_found(widths: list[int], data: st.DataObject) -> None:
    parents = [f"m{n}" for n, width in enumerate(widths) for _ in range(1 + width % 2)]
    due = [(width, leaf) for width in widths for leaf in range(1 + width % 2)]
    begin, middle, end = sorted(data.draw(st.sets(st.sampled_from(sorted(cuts(parents))), min_size=3, max_size=3)))
    order = [*range(begin), *range(middle, end), *range(begin, middle), *range(end, len(due))]
    shapes = [due[place] if data.draw(st.booleans()) else None for place in order]
    if all(shape in (None, own) for shape, own in zip(shapes, due, strict=True)):
        return
    found = moved(shapes, due, parents, limit=1)
    assert found is not None and sorted(found.order) == list(range(len(due)))
    assert all(shape in (None, due[place]) for shape, place in zip(shapes, found.order, strict=True))
