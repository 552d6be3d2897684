"""Names of real torch optimizers, against the identity of the live parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from naming_builders import by_evidence, from_torch, live_names, names, step
from torch import nn

from optinspect.naming import name_parameters, unoptimized

Groups = Callable[[nn.Module], Iterable[dict[str, object]]]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(3 * width, width)
        self.ln_2 = nn.LayerNorm(width)


class Transformer(nn.Module):
    def __init__(self, layers: int = 3, width: int = 4, tied: bool = False) -> None:
        super().__init__()
        self.wte = nn.Embedding(11, width)
        self.wpe = nn.Embedding(5, width)
        self.h = nn.ModuleList(Block(width) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, 11, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 3)


def named(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(module.named_parameters())


def whole(module: nn.Module) -> list[dict[str, object]]:
    return [{"params": [p for _, p in named(module)]}]


def decay(module: nn.Module) -> list[dict[str, object]]:
    return [
        {"params": [p for _, p in named(module) if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for _, p in named(module) if p.ndim < 2], "weight_decay": 0.0},
    ]


def no_decay_first(module: nn.Module) -> list[dict[str, object]]:
    return decay(module)[::-1]


def biases_apart(module: nn.Module) -> list[dict[str, object]]:
    biases = [p for name, p in named(module) if name.endswith("bias")]
    rest = [p for name, p in named(module) if not name.endswith("bias")]
    return [{"params": rest, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]


def per_parameter(module: nn.Module) -> list[dict[str, object]]:
    return [{"params": [p], "weight_decay": 0.1 if p.ndim >= 2 else 0.0} for _, p in named(module)]


def by_name(module: nn.Module) -> list[dict[str, object]]:
    return [{"params": [p for _, p in sorted(named(module))]}]


def backwards(module: nn.Module) -> list[dict[str, object]]:
    return [{"params": [p for _, p in named(module)][::-1]}]


def largest_first(module: nn.Module) -> list[dict[str, object]]:
    return [{"params": sorted((p for _, p in named(module)), key=lambda p: -p.numel())}]


def layerwise(module: nn.Module) -> list[dict[str, object]]:
    return [
        {"params": [p for name, p in named(module) if _depth(name) == depth], "lr": 1e-3 * 0.8 ** (10 - depth)}
        for depth in range(5)
    ]


def layerwise_from_the_head(module: nn.Module) -> list[dict[str, object]]:
    return layerwise(module)[::-1]


def layerwise_with_decay(module: nn.Module) -> list[dict[str, object]]:
    return [
        {"params": chosen, "lr": group["lr"], "weight_decay": 0.1 if matrices else 0.0}
        for group in layerwise(module)
        for matrices in (False, True)
        if (chosen := [p for p in group["params"] if (p.ndim >= 2) == matrices])  # type: ignore[union-attr]
    ]


def _depth(name: str) -> int:
    if name.startswith("h."):
        return 1 + int(name.split(".")[1])
    return 0 if name.startswith(("wte", "wpe")) else 4


EVERYWHERE: list[Groups] = [
    whole,
    decay,
    no_decay_first,
    biases_apart,
    per_parameter,
    by_name,
    backwards,
    largest_first,
]
DEEP: list[Groups] = [layerwise, layerwise_from_the_head, layerwise_with_decay]


def trained(module: nn.Module, groups: Groups) -> torch.optim.Optimizer:
    one = torch.optim.AdamW(groups(module), lr=1e-3)
    step(module, one)
    return one


@pytest.mark.parametrize("groups", EVERYWHERE, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("build", [Transformer, ConvNet])
def test_conventions_of_filling_groups_are_recovered(build: Callable[[], nn.Module], groups: Groups) -> None:
    module = build()
    one = trained(module, groups)
    assert names(name_parameters(from_torch({"model": module}, {"optimizer": one}))[0]) == live_names(module, one)


@pytest.mark.parametrize("groups", DEEP, ids=lambda rule: rule.__name__)
def test_layerwise_groups_are_recovered_in_both_directions(groups: Groups) -> None:
    module = Transformer()
    one = trained(module, groups)
    naming = name_parameters(from_torch({"model": module}, {"optimizer": one}))[0]
    assert names(naming) == live_names(module, one)


def test_direction_of_identical_layers_is_told_by_the_learning_rate() -> None:
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    groups = [{"params": layer.parameters(), "lr": 10.0 ** (-3 - n)} for n, layer in enumerate(reversed(module))]
    one = torch.optim.AdamW(groups)
    step(module, one)
    assert names(name_parameters(from_torch({"model": module}, {"optimizer": one}))[0]) == live_names(module, one)


def test_tied_weights_have_one_index_and_two_names() -> None:
    module = Transformer(tied=True)
    one = trained(module, decay)
    found = from_torch({"model": module}, {"optimizer": one})
    naming = name_parameters(found)[0]
    assert names(naming) == live_names(module, one)
    assert naming.parameters[0].aliases == ("lm_head.weight",)
    assert [(e.name, kind) for _, e, kind in unoptimized(found, [naming])] == [("lm_head.weight", "tied")]


def test_frozen_parameters_left_in_have_no_state_and_still_a_name() -> None:
    module = Transformer()
    module.h[0].requires_grad_(False)
    one = trained(module, whole)
    naming = name_parameters(from_torch({"model": module}, {"optimizer": one}))[0]
    assert names(naming) == live_names(module, one)
    frozen = [row.evidence for row in naming.parameters if row.name and row.name.startswith("h.0.")]
    assert frozen == ["order"] * 8


@pytest.mark.parametrize("groups", [whole, decay, biases_apart], ids=lambda rule: rule.__name__)
def test_frozen_parameters_left_out_cut_the_model_between_modules(groups: Groups) -> None:
    module = Transformer()
    trainable = nn.ModuleDict({"h": nn.ModuleList(list(module.h)[1:]), "ln_f": module.ln_f, "lm_head": module.lm_head})
    one = torch.optim.AdamW(groups(trainable), lr=1e-3)
    step(module, one)
    found = from_torch({"model": module}, {"optimizer": one})
    naming = name_parameters(found)[0]
    assert names(naming) == live_names(module, one)
    left = {e.name for _, e, _ in unoptimized(found, [naming])}
    assert left == {name for name, _ in named(module)} - set(live_names(module, one))


def test_head_only() -> None:
    module = Transformer()
    one = torch.optim.AdamW(module.lm_head.parameters())
    step(module, one)
    row = name_parameters(from_torch({"model": module}, {"optimizer": one}))[0].parameters[0]
    assert (row.name, row.evidence, row.rivals[:1]) == ("lm_head.weight", "order", ("wte.weight",))


def test_plain_sgd_has_no_shapes_only_counts() -> None:
    module = ConvNet()
    one = torch.optim.SGD(module.parameters(), lr=0.1)
    step(module, one)
    naming = name_parameters(from_torch({"model": module}, {"optimizer": one}))[0]
    assert names(naming) == live_names(module, one)
    assert {row.evidence for row in naming.parameters} == {"order"}
    part = torch.optim.SGD(module.body.parameters(), lr=0.1)
    step(module, part)
    silent = name_parameters(from_torch({"model": module}, {"optimizer": part}))[0]
    assert {row.evidence for row in silent.parameters} == {"none"}


def test_buffers_are_no_candidates_and_are_reported() -> None:
    module = ConvNet()
    one = trained(module, whole)
    found = from_torch({"model": module}, {"optimizer": one})
    left = unoptimized(found, name_parameters(found))
    assert {e.name for _, e, _ in left} == {name for name, _ in module.named_buffers()}
    assert {kind for *_, kind in left} == {"buffer?"}


def test_recorded_names_of_torch_are_taken() -> None:
    module = Transformer()
    one = torch.optim.AdamW(list(module.named_parameters())[::-1])
    step(module, one)
    naming = name_parameters(from_torch({"model": module}, {"optimizer": one}))[0]
    assert names(naming) == live_names(module, one)
    assert {row.evidence for row in naming.parameters} == {"recorded"}


def test_torch_writes_wrong_param_names_after_a_permuted_load_and_they_are_not_believed() -> None:
    module = Transformer()
    first = torch.optim.AdamW(list(module.named_parameters()))
    step(module, first)
    second = torch.optim.AdamW(list(module.named_parameters())[::-1])
    second.load_state_dict(first.state_dict())
    second.state.clear()
    step(module, second)
    naming = name_parameters(from_torch({"model": module}, {"optimizer": second}))[0]
    assert naming.contradictions
    assert not by_evidence(naming, "recorded")
    assert names(naming) == live_names(module, second)


def test_two_optimizers_of_one_model_do_not_share_parameters() -> None:
    module = Transformer()
    hidden = [p for name, p in named(module) if p.ndim >= 2 and name.startswith("h.")]
    rest = [p for _, p in named(module) if not any(p is one for one in hidden)]
    adam, muon = torch.optim.AdamW(rest), torch.optim.SGD(hidden, lr=0.1, momentum=0.9)
    step(module, adam, muon)
    found = name_parameters(from_torch({"model": module}, {"adamw": adam, "muon": muon}))
    assert [names(naming) for naming in found] == [live_names(module, adam), live_names(module, muon)]


def test_generator_and_discriminator_in_one_model_are_told_apart_by_turns() -> None:
    module = nn.ModuleDict({"generator": nn.Linear(4, 4), "discriminator": nn.Linear(4, 4)})
    ones = [torch.optim.Adam(module[key].parameters()) for key in ("generator", "discriminator")]
    step(module, *ones)
    found = name_parameters(from_torch({"m": module}, {"optimizer_states[0]": ones[0], "optimizer_states[1]": ones[1]}))
    assert [names(naming) for naming in found] == [live_names(module, one) for one in ones]


def test_optimizers_find_their_models_by_what_keys_are_called() -> None:
    nets = {"netD": nn.Linear(4, 4), "netG": nn.Linear(4, 4)}
    ones = {
        "optimizer_G": torch.optim.Adam(nets["netG"].parameters()),
        "opt_d": torch.optim.Adam(nets["netD"].parameters()),
    }
    for net in nets.values():
        step(net, *ones.values())
    found = name_parameters(from_torch(nets, ones))
    assert [naming.parameters[0].model for naming in found] == [1, 0]


def test_one_optimizer_over_two_models_prefixes_the_names() -> None:
    encoder, decoder = ConvNet(), nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7))
    one = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()])
    for net in (encoder, decoder):
        step(net, one)
    naming = name_parameters(from_torch({"encoder": encoder, "decoder": decoder}, {"optimizer": one}))[0]
    both = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    placed = [row for row in naming.parameters if row.evidence == "order"]
    truth = live_names(both, one)
    assert placed and all(row.name == truth[row.index] for row in placed)
    assert all(truth[row.index].endswith(str(row.name)) for row in naming.parameters)


@pytest.mark.parametrize("groups", [whole, decay, layerwise, layerwise_from_the_head], ids=lambda rule: rule.__name__)
def test_sorted_keys_give_only_what_no_order_of_siblings_changes(groups: Groups) -> None:
    module = Transformer()
    one = trained(module, groups)
    naming = name_parameters(from_torch({"model": module}, {"optimizer": one}, ordered=False))[0]
    truth = live_names(module, one)
    told = [row for row in naming.parameters if row.name is not None]
    assert all(row.name == truth[row.index] for row in told)
    assert len(told) >= len(truth) // 3
    assert all("not in module order" in str(row.convention) for row in told if row.evidence == "order")
