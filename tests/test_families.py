"""Optimizers recognised by what they write: torch's own classes are the truth, and lookalikes must not be claimed."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optinspect.optimizers import OPTIMIZERS, adam_terms, candidates, families, named, non_default
from optinspect.optimizers.base import NO_DEFAULT, Optimizer, same_setting
from optinspect.optimizers.recognise import USUAL
from optinspect.terms import AdamTerms

TORCH = {
    name: value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
}
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def stepped(make: Any, **options: Any) -> tuple[dict[str, Any], set[str]]:
    """The group as a state_dict has it, and the slots, after one step on a matrix."""
    parameter = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = make([parameter], **options)
    parameter.grad = torch.randn(4, 3)
    if make is TORCH.get("SparseAdam"):
        parameter.grad = parameter.grad.to_sparse(1)
    optimizer.step(lambda: parameter.square().sum())
    state = optimizer.state_dict()
    group = {key: value for key, value in state["param_groups"][0].items() if key != "params"}
    return group, set(state["state"].get(0, {}))


@pytest.mark.parametrize("name", sorted(TORCH))
def test_every_optimizer_of_torch_is_the_only_one_named(name: str) -> None:
    group, slots = stepped(TORCH[name])
    assert families(group, slots) == (name,)


@pytest.mark.parametrize("name", sorted(TORCH))
def test_defaults_are_torchs_own(name: str) -> None:
    group, _ = stepped(TORCH[name])
    described = named(name)
    assert described is not None
    assert set(described.defaults) == set(group)
    assert non_default(described, group) == {}
    assert {key for key, value in group.items() if not same_setting(value, described.defaults[key])} == set()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Adam", {"amsgrad": True, "weight_decay": 0.3}),
        ("AdamW", {"amsgrad": True, "foreach": True}),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("NAdam", {"decoupled_weight_decay": True}),
        ("RAdam", {"decoupled_weight_decay": True}),
    ],
)
def test_settings_do_not_change_the_name(name: str, options: dict[str, Any]) -> None:
    group, slots = stepped(TORCH[name], **options)
    assert families(group, slots) == (name,)
    shown = non_default(named(name), group)
    assert shown == {key: value for key, value in options.items() if key != "weight_decay"}


@pytest.mark.parametrize("slots", [MOMENTS, ()])
def test_adam_and_adamw_before_2_7(slots: tuple[str, ...]) -> None:
    """The same keys in every version until then; the default weight decay says which is likelier."""
    switches = {"maximize": False, "foreach": None, "capturable": False}
    assert families({**ADAM, **switches}, slots) == ("Adam", "AdamW")
    assert families({**ADAM, "weight_decay": 0.01, **switches}, slots) == ("AdamW", "Adam")
    assert families({**ADAM, "foreach": None, "maximize": False, "capturable": False}, slots) == ("AdamW",)


def test_keys_of_the_user_do_not_hide_torchs_own() -> None:
    group, slots = stepped(torch.optim.AdamW)
    extra = {"initial_lr": 0.1, "lr_scale": 0.5, "name": "head", "my_number": 3.0, "mask": torch.zeros(2), 7: "odd"}
    assert families({**group, **extra}, slots) == ("AdamW",)


@pytest.mark.parametrize("decay", [0, 0.1])
def test_rprop_with_a_weight_decay_is_one(decay: float) -> None:
    """torch's has none; others write one beside the same settings and slots. What has no such slots is not claimed."""
    group, slots = stepped(torch.optim.Rprop)
    old = {key: value for key, value in group.items() if key in ("lr", "etas", "step_sizes")}
    for settings in (group, old):
        assert families({**settings, "weight_decay": decay}, slots) == ("Rprop",)
        assert families({**settings, "weight_decay": decay}, {"step", "prev"}) == ()
    assert families({"lr": 0.01, "weight_decay": decay}, slots) == ()
    assert families({**group, "momentum": 0.9}, slots) == ()


def test_lookalikes_are_not_claimed() -> None:
    hand_made = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    assert families(hand_made, MOMENTS) == ()
    assert families({**ADAM, "secret": 0.5}, MOMENTS) == ()
    assert families(ADAM, (*MOMENTS, "secret")) == ()
    assert families(ADAM, ("exp_avg",)) == ()
    assert families({"lr": 0.1}, ()) == ()
    assert families(hand_made, ()) == ()
    assert families({}, ()) == ()


def test_one_lost_key_leaves_torchs_own_recognisable() -> None:
    group, slots = stepped(torch.optim.AdamW)
    for lost in ("lr", "betas", "eps", "weight_decay"):
        assert families({key: value for key, value in group.items() if key != lost}, slots) == ("AdamW",)


@pytest.mark.parametrize("described", OPTIMIZERS, ids=lambda one: f"{one.source}.{one.name}")
def test_every_description_recognises_itself(described: Optimizer) -> None:
    """From its defaults and the slots it always keeps; torch's own comes before a package's with the same keys."""
    settings = {key: 0.0 if value is NO_DEFAULT else value for key, value in described.defaults.items()}
    slots = set(described.always) | set(described.with_any)
    assert all(described.kind(slot) for slot in slots) or described.patterns
    if described.patterns:
        slots = {"0.step", "0.scale_by_soap_Q_3", "0.nesterov_ema_momentum_2"}
    found = candidates(settings, slots, {described.tensor_class} if described.tensor_class else set())
    if slots or not described.required <= USUAL:
        assert described in found or {one.source for one in found} == {"torch.optim"}
    else:
        assert described not in found


def test_quantised_states_are_told_by_their_codes() -> None:
    bnb = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "alpha": 0.0, "t_alpha": None}
    group = {**bnb, "t_beta3": None}
    codes = {"step", "state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"}
    assert families(group, codes)[0] == "AdamW8bit"
    assert families(group, {"step", "state1", "state2"})[0] == "AdamW32bit"
    assert families({**group, "alpha": 5.0, "betas": (0.9, 0.999, 0.9999)}, codes) == ("AdEMAMix8bit",)
    assert families({**ADAM, "weight_decay": 0.01}, MOMENTS, {"OptimState4bit"}) == ("AdamW4bit", "Adam4bit")
    assert families(ADAM, MOMENTS, {"OptimStateUnknown"}) == ()


@given(st.floats(1e-8, 1.0), st.floats(0, 0.999), st.floats(0, 0.9999), st.integers(1, 10_000))
def test_adam_terms_are_the_step_of_torch(lr: float, beta1: float, beta2: float, step: int) -> None:
    group = {**ADAM, "lr": lr, "betas": (beta1, beta2)}
    terms = adam_terms("AdamW", dict.fromkeys(MOMENTS), group, step)
    assert terms == AdamTerms("exp_avg", "exp_avg_sq", lr, beta1, beta2, 1e-8, float(step))
    assert math.isclose(terms.scales[0] * (1 - beta1**step), 1)
    assert math.isclose(terms.scales[1] ** 2 * (1 - beta2**step), 1)


def test_the_terms_give_the_update_that_torch_made() -> None:
    parameter = torch.nn.Parameter(torch.randn(5, 3, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=0.02, amsgrad=True)
    for _ in range(4):
        before = parameter.detach().clone()
        parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    state, group = optimizer.state[parameter], optimizer.param_groups[0]
    terms = adam_terms("Adam", state, group, 4.0)
    assert terms is not None
    assert terms.v_slot == "max_exp_avg_sq"
    m = state[terms.m_slot] * terms.scales[0]
    v = state[terms.v_slot] * terms.scales[1] ** 2
    update = terms.lr * m / (v.sqrt() + terms.eps)
    # float64 throughout: seen within 2e-16
    torch.testing.assert_close(before - parameter.detach(), update, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("family", "change", "step"),
    [
        ("SGD", {}, 1),
        ("RAdam", {}, 1),
        (("Adam", "RAdam"), {}, 1),
        ("AdamW", {"lr": None}, 1),
        ("AdamW", {"lr": math.inf}, 1),
        ("AdamW", {"lr": "0.1"}, 1),
        ("AdamW", {"betas": [0.9]}, 1),
        ("AdamW", {"betas": (1.5, 0.9)}, 1),
        ("AdamW", {"betas": (0.9, 1.0)}, 1),
        ("AdamW", {}, 0),
        ("AdamW", {}, math.nan),
        ("AdamW", {}, None),
    ],
)
def test_no_terms_where_they_cannot_be_formed(family: Any, change: dict[str, Any], step: Any) -> None:
    assert adam_terms(family, dict.fromkeys(MOMENTS), ADAM | change, step) is None


def test_terms_of_candidates_and_of_an_unknown_optimizer() -> None:
    slots = dict.fromkeys(MOMENTS)
    assert adam_terms(("Adam", "AdamW"), slots, ADAM, 3) is not None
    assert adam_terms((), slots, ADAM, 3) is not None
    assert adam_terms((), slots, {"lr": 1.0, "betas": (0.9, 0.99, 0.999), "eps": 1e-8}, 3) is None
