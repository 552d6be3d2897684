"""What other packages write and is right: check says nothing of it, and names stay with their tensors."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from optinspect.commands.check import Options, build
from optinspect.commands.check_choice import Choice
from optinspect.directories.folder import SPARE, allow_open
from optinspect.naming import name_parameters
from optinspect.reading import open_checkpoint
from optinspect.report import Finding


def found(path: Path) -> dict[str, Finding]:
    """Rule → what it says of the file."""
    report = build([str(path)], Options(choice=Choice((), ())))
    return {finding.rule: finding for finding in report.findings}


def net() -> torch.nn.Module:
    torch.manual_seed(4)
    layers = [torch.nn.Linear(6, 8), torch.nn.Linear(8, 8), torch.nn.LayerNorm(8)]
    return torch.nn.ModuleDict(
        {"stem": layers[0], "body": torch.nn.Sequential(*layers[1:]), "head": torch.nn.Linear(8, 3)}
    )


def saved(folder: Path, state: dict[int, Any], group: dict[str, Any], **beside: Any) -> Path:
    """model and optimizer as another package's state_dict has them."""
    model = net()
    groups = [{**group, "params": list(range(len(list(model.parameters()))))}]
    optimizer = {"state": state, "param_groups": groups}
    torch.save({"model": model.state_dict(), "optimizer": optimizer, "step": 6, **beside}, folder / "c.pt")
    return folder / "c.pt"


def shapes() -> list[torch.Tensor]:
    return [torch.randn(p.shape) for p in net().parameters()]


def test_eight_bit_states_share_one_map_of_codes(tmp_path: Path) -> None:
    """bitsandbytes: uint8 codes, one quantile map for all; their smallest value is no moment's."""
    maps = torch.linspace(-1, 1, 256), torch.linspace(0, 1, 256)
    state = {
        n: {
            "step": 6,
            "__bnb_optimizer_quant_state__": {
                "state1": torch.randint(0, 255, p.shape, dtype=torch.uint8),
                "state2": torch.randint(0, 255, p.shape, dtype=torch.uint8),
                "qmap1": maps[0],
                "qmap2": maps[1],
                "absmax1": torch.rand(1),
                "absmax2": torch.rand(1),
            },
        }
        for n, p in enumerate(shapes())
    }
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "alpha": 0.0}
    path = saved(tmp_path, state, {**group, "t_alpha": None, "t_beta3": None})
    assert "OI310" not in found(path)
    with open_checkpoint(path) as checkpoint:
        assert set(checkpoint.optimizers[0].families) <= {"AdamW8bit", "Adam8bit"}


def test_layerwise_eight_bit_optimizers_are_told_by_their_norms(tmp_path: Path) -> None:
    state = {n: {"step": 6, "state1": p, "unorm_vec": torch.ones(1)} for n, p in enumerate(shapes())}
    group = {"lr": 1e-2, "betas": (0.9, 0), "eps": 0.0, "weight_decay": 0}
    with open_checkpoint(saved(tmp_path, state, group)) as checkpoint:
        assert set(checkpoint.optimizers[0].families) == {"LARS8bit", "LARS32bit"}


SGDW = {"lr": 1e-4, "momentum": 0.0, "weight_decay": 0.0, "weight_decouple": True, "dampening": 0.0, "nesterov": False}
A2GRAD = {"beta": 10.0, "lips": 10.0, "foreach": None, "step": 6}
GRAVITY = {"lr": 1e-2, "alpha": 0.01, "beta": 0.9, "foreach": None, "step": 6}


@pytest.mark.parametrize(
    ("family", "group", "slots"),
    [
        ("SGDW", {**SGDW, "foreach": None, "step": 6}, {}),
        ("A2Grad", A2GRAD, {"avg_grad": 1, "x_k": 1, "alpha_k": 0, "v_k": 0}),
        ("Gravity", GRAVITY, {"v": 1}),
    ],
)
def test_other_packages_habits_are_no_errors(
    tmp_path: Path, family: str, group: dict[str, Any], slots: dict[str, int]
) -> None:
    """No state without momentum, no lr, a velocity called v that is no mean of squares."""
    state = {
        n: {slot: p.clone() if full else torch.tensor(0.5) for slot, full in slots.items()}
        for n, p in enumerate(shapes())
        if slots
    }
    path = saved(tmp_path, state, group)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.optimizers[0].families == (family,)
    assert not {rule for rule, finding in found(path).items() if finding.severity.value != "note"}


def test_counters_beside_the_parameters_states_are_no_orphans(tmp_path: Path) -> None:
    state: dict[Any, Any] = {n: {"exp_avg": p, "exp_avg_sq": p * p, "step": 6} for n, p in enumerate(shapes())}
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "own_setting": 3.5}
    path = saved(tmp_path, state | {"total_step": 6, "current_step": 7}, group)
    with open_checkpoint(path) as checkpoint:
        (optimizer,) = checkpoint.optimizers
        assert not optimizer.orphans
        assert optimizer.extra == {"total_step": 6, "current_step": 7}
    assert "OI204" not in found(path)


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ({}, "warning"),
        ({"args": {"amp": True}}, "warning"),
        ({"args": {"amp": False}}, "note"),
        ({"precision": "32"}, "note"),
    ],
)
def test_an_empty_scaler_is_only_noted_where_the_file_says_that_it_was_off(
    tmp_path: Path, said: dict[str, Any], severity: str
) -> None:
    state = {n: {"momentum_buffer": p} for n, p in enumerate(shapes())}
    group = {**torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], momentum=0.9).state_dict()["param_groups"][0]}
    finding = found(saved(tmp_path, state, group, scaler={}, **said))["OI712"]
    assert finding.severity.value == severity


def test_dqns_target_network_is_not_what_is_stepped(tmp_path: Path) -> None:
    """stable-baselines3: one optimizer, and a policy of two networks with equal shapes."""
    network, target = net(), net()
    optimizer = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    both = {f"q_net_target.{n}": v for n, v in target.state_dict().items()}
    both |= {f"q_net.{n}": v for n, v in network.state_dict().items()}
    with zipfile.ZipFile(tmp_path / "dqn.zip", "w") as archive:
        for name, value in (("policy", both), ("policy.optimizer", optimizer.state_dict())):
            torch.save(value, tmp_path / "part")
            archive.write(tmp_path / "part", f"{name}.pth")
        archive.writestr("data", "{}")
    with open_checkpoint(tmp_path / "dqn.zip") as checkpoint:
        assert [model.role for model in checkpoint.models] == ["model", "copy"]
        named = [row.name for row in name_parameters(checkpoint)[0].parameters]
        assert named == [f"q_net.{name}" for name, _ in network.named_parameters()]
    (tmp_path / "part").unlink()
    with open_checkpoint(tmp_path) as alone:  # the directory of a run that holds nothing else
        assert [model.route for model in alone.models] == [model.route for model in checkpoint.models]


def test_groups_that_run_backwards_keep_their_names(tmp_path: Path) -> None:
    """skorch takes what a pattern matches from the end of the module on."""
    model = net()
    live = dict(model.named_parameters())
    order = [
        [n for n in reversed(live) if n.startswith("head.")],
        [n for n in reversed(live) if n.startswith("stem.")],
        [n for n in live if n.startswith("body.")],
    ]
    optimizer = torch.optim.SGD([{"params": [live[n] for n in names]} for names in order], lr=0.1, momentum=0.9)
    for parameter in live.values():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    with open_checkpoint(tmp_path / "c.pt") as checkpoint:
        named = [row.name for row in name_parameters(checkpoint)[0].parameters]
    assert named == [name for names in order for name in names]


def test_a_directory_of_many_files_may_have_them_open() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1000:
        pytest.skip("the system allows no more files")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        allow_open(500)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 500 + SPARE
        allow_open(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 500 + SPARE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Tokens(torch.nn.Module):
    """Parameters of its own beside a layer, as the embeddings of DINOv2 and ViT have them; attention's own pair."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 8))
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 8))
        self.patches = torch.nn.Linear(4, 8)
        self.attention = torch.nn.MultiheadAttention(8, 2)


LOST = {
    "cls_token": "note",
    "mask_token": "note",
    "patches.weight": "warning",
    "patches.bias": "warning",
    "attention.in_proj_weight": "warning",
    "attention.in_proj_bias": "warning",
}


@pytest.mark.parametrize("around", ["embeddings", ""], ids=["in a module", "at the top"])
@pytest.mark.parametrize("lost", LOST)
def test_a_token_that_no_step_used_is_no_half_of_a_layer(lost: str, around: str, tmp_path: Path) -> None:
    """DINOv2 gives mask_token a gradient in pre-training only; a layer's weight and bias have one together."""
    torch.manual_seed(4)
    tokens = Tokens()
    model = torch.nn.ModuleDict({around: tokens}) if around else tokens
    optimizer = torch.optim.AdamW(model.named_parameters())
    for name, parameter in tokens.named_parameters():
        parameter.grad = None if name == lost else torch.randn(parameter.shape)
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    assert found(tmp_path / "c.pt")["OI208"].severity.value == LOST[lost]
