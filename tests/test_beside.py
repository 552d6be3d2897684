"""Parameters outside of the model (a criterion's, a temperature's): named with honest evidence, checked, and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import optinspect
from optinspect.errors import Mismatch, UsageError
from optinspect.naming import name_parameters


class Criterion(nn.Module):
    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            setattr(self, name, nn.Parameter(tensor))


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))


def stepped(optimizer: Any, *, steps: int = 2) -> Any:
    for _ in range(steps):
        for group in optimizer.param_groups:
            for each in group["params"]:
                each.grad = torch.randn_like(each)
        optimizer.step()
    return optimizer


def names(file: Path) -> list[tuple[str | None, str]]:
    with optinspect.open(file) as checkpoint:
        (naming,) = name_parameters(checkpoint)
    return [(row.name, row.evidence) for row in naming.parameters]


def errors(file: Path) -> list[str]:
    return [each.rule for each in optinspect.check(file).findings if each.severity.value == "error"]


EXTRAS = {
    "scalar": {"log_t": torch.tensor(0.07)},
    "one element": {"log_t": torch.ones(1)},
    "centres": {"proto": torch.randn(3, 4)},
    "two": {"log_t": torch.tensor(0.07), "proto": torch.randn(3, 4)},
}


@pytest.mark.parametrize("kind", EXTRAS)
@pytest.mark.parametrize("bare", [False, True], ids=["criterion", "bare"])
def test_tensors_beside_the_model_are_candidates_and_never_certain(kind: str, bare: bool, tmp_path: Path) -> None:
    net, extra = model(), Criterion(**EXTRAS[kind])
    optimizer = stepped(torch.optim.AdamW([*net.parameters(), *extra.parameters()]))
    held = extra.state_dict() if bare else {"criterion": extra.state_dict()}
    file = tmp_path / "c.pt"
    torch.save({"model": net.state_dict(), **held, "optimizer": optimizer.state_dict(), "epoch": 3}, file)
    found = names(file)
    own = [f"model.{name}" for name, _ in net.named_parameters()]
    beside = [name if bare else f"criterion.{name}" for name, _ in extra.named_parameters()]
    assert [name for name, _ in found] == own + beside
    assert {evidence for _, evidence in found[len(own) :]} == {"order"}
    assert not errors(file)


@pytest.mark.parametrize(
    "held", [{"loss": torch.tensor(0.3)}, {"log_t": torch.tensor(0.1), "margin": torch.tensor(1.0)}]
)
def test_what_may_be_the_parameter_gives_a_note_and_no_name(held: dict[str, torch.Tensor], tmp_path: Path) -> None:
    net, temperature = model(), nn.Parameter(torch.tensor(0.1))
    optimizer = stepped(torch.optim.AdamW([*net.parameters(), temperature]))
    file = tmp_path / "c.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), **held}, file)
    assert names(file)[-1] == (None, "none")
    assert not errors(file)
    assert "OI215" in [each.rule for each in optinspect.check(file).findings]


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_a_parameter_that_the_file_does_not_hold_is_still_an_error(optimizer: Any, tmp_path: Path) -> None:
    net, temperature = model(), nn.Parameter(torch.tensor(0.1))
    made = stepped(optimizer([*net.parameters(), temperature]))
    file = tmp_path / "c.pt"
    torch.save({"model": net.state_dict(), "optimizer": made.state_dict()}, file)
    assert errors(file) == ["OI215" if made.state else "OI218"]


def test_a_lost_weight_is_found_beside_a_criterion(tmp_path: Path) -> None:
    net, extra = model(), Criterion(proto=torch.randn(3, 4))
    optimizer = stepped(torch.optim.AdamW([*net.parameters(), *extra.parameters()]))
    weights = net.state_dict()
    del weights["0.weight"]
    file = tmp_path / "c.pt"
    torch.save({"model": weights, "criterion": extra.state_dict(), "optimizer": optimizer.state_dict()}, file)
    assert errors(file) == ["OI215"]


@pytest.mark.parametrize("saved", [False, True], ids=["not saved", "saved"])
@pytest.mark.parametrize("given", ["nothing", "model", "both"])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_load_goes_by_the_live_parameters(kind: Any, given: str, saved: bool, tmp_path: Path) -> None:
    def made() -> tuple[nn.Module, nn.Module, Any]:
        net, extra = model(), Criterion(log_t=torch.tensor(0.07), proto=torch.randn(3, 4))
        return net, extra, kind([*net.parameters(), *extra.parameters()], lr=1e-3)

    net, extra, optimizer = made()
    held = {"model": net.state_dict(), "optimizer": stepped(optimizer).state_dict()}
    file = tmp_path / "c.pt"
    torch.save(held | ({"criterion": extra.state_dict()} if saved else {}), file)
    net, extra, optimizer = made()
    both = {**dict(net.named_parameters()), **{f"criterion.{name}": p for name, p in extra.named_parameters()}}
    loaded = optinspect.load(optimizer, file, {"nothing": None, "model": net, "both": both}[given])
    assert "OI2" not in str(loaded)
    assert ("OI914" in str(loaded)) is (given == "both" and not saved)
    for mine, there in zip(optimizer.state_dict()["state"].values(), held["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(mine[slot], there[slot]) for slot in there)


def pair(seed: int, shapes: tuple[tuple[int, int], tuple[int, int]]) -> list[tuple[nn.Module, Any]]:
    torch.manual_seed(seed)
    nets = [nn.Linear(*shape) for shape in shapes]
    return [(net, stepped(torch.optim.Adam(net.parameters()))) for net in nets]


@pytest.mark.parametrize("shapes", [((6, 5), (8, 7)), ((4, 3), (4, 3))], ids=["other shapes", "twins"])
@pytest.mark.parametrize("which", [0, 1])
def test_of_two_models_the_one_of_the_optimizer_is_compared_and_loaded(
    which: int, shapes: tuple[tuple[int, int], tuple[int, int]], tmp_path: Path
) -> None:
    file, held = tmp_path / "c.pt", pair(0, shapes)
    torch.save(
        {f"q{n}": net.state_dict() for n, (net, _) in enumerate(held)}
        | {f"q{n}_opt": optimizer.state_dict() for n, (_, optimizer) in enumerate(held)},
        file,
    )
    net, optimizer = pair(1, shapes)[which]
    assert not optinspect.load(optimizer, file, net, optimizer_key=f"q{which}_opt").notes
    optinspect.load(optimizer, file, net, optimizer_key=f"q{which}_opt", load_model=True)
    assert torch.equal(net.weight, held[which][0].weight)  # type: ignore[arg-type]


def test_models_that_cannot_be_told_apart_are_not_compared_and_not_loaded(tmp_path: Path) -> None:
    file, held = tmp_path / "c.pt", pair(0, ((4, 3), (4, 3)))
    (one, optimizer), (two, other) = held
    whole = {"left": one.state_dict(), "right": two.state_dict()}
    torch.save(whole | {"x_opt": optimizer.state_dict(), "y_opt": other.state_dict()}, file)
    assert not optinspect.load(other, file, two, optimizer_key="y_opt").notes
    with pytest.raises(Mismatch, match="cannot be told"):
        optinspect.load(other, file, two, optimizer_key="y_opt", load_model=True)


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"betas": (0.9, 1.5)}, "betas is (0.9, 1.5)"),
        ({"eps": -1e-8}, "eps is -1e-08"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"lr": lambda group: -group["lr"]}, "lr is -0.001"),
    ],
)
def test_an_override_that_torch_refuses_is_refused(override: dict[str, Any], word: str, tmp_path: Path) -> None:
    net = model()
    optimizer, file = stepped(torch.optim.AdamW(net.parameters())), tmp_path / "c.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    before = dict(optimizer.param_groups[0])
    with pytest.raises(UsageError, match="for group 0") as caught:
        optinspect.load(optimizer, file, net, **override)
    assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert optimizer.param_groups[0] == before


def test_an_override_that_needs_another_setting_of_the_group_is_taken(tmp_path: Path) -> None:
    net = model()
    optimizer, file = stepped(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)), tmp_path / "c.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    optinspect.load(optimizer, file, net, nesterov=True)
    assert optimizer.param_groups[0]["nesterov"] is True


def test_the_sentences_name_types_and_whole_keys(tmp_path: Path) -> None:
    net = model()
    file = tmp_path / "c.pt"
    torch.save({"optimizer": stepped(torch.optim.AdamW(net.parameters(), lr=1e-3)).state_dict()}, file)
    live = torch.optim.AdamW(net.parameters(), lr=torch.tensor(1e-3))
    assert "the tensor 0.001 here becomes the float 0.001" in str(optinspect.load(live, file, net))
    with pytest.raises(UsageError) as caught:
        optinspect.load(live, file, net, momentum=0.9)
    listed = caught.value.message.partition("expected one of ")[2].rstrip(")").split(", ")
    assert listed[-1] == "…"
    assert set(listed[:-1]) < live.param_groups[0].keys()
