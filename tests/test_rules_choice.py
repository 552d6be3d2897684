"""Which rule a file's optimizer runs by, under which settings, and the one line that refuses it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from step_cases import values

from optinspect.errors import MAX_MESSAGE, Undecidable
from optinspect.optimizers import OPTIMIZERS, families
from optinspect.optimizers.rules import STEP_RULES, Settings, rule_named, settings_of
from optinspect.optimizers.rules.choice import COURSE, TORCH, choose, rule_for, spelling_of
from optinspect.optimizers.stepping import live_settings, torch_step

RULES = {rule.name: rule for rule in STEP_RULES}
GROUP: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def test_names_are_unique_and_found() -> None:
    assert len(RULES) == len(STEP_RULES)
    assert all(rule_named(name) is rule for name, rule in RULES.items())
    assert rule_named("adamx") is None


@pytest.mark.parametrize(
    ("cls", "options", "expected"),
    [
        (torch.optim.AdamW, {}, "adamw"),
        (torch.optim.AdamW, {"amsgrad": True, "maximize": True}, "adamw"),
        (torch.optim.Adam, {}, "adam"),
        (torch.optim.Adam, {"weight_decay": 0.1}, "adam"),
        (torch.optim.Adam, {"weight_decay": 0.1, "decoupled_weight_decay": True}, "adamw"),
        (torch.optim.NAdam, {}, "nadam"),
        (torch.optim.SGD, {"momentum": 0.9}, "sgd"),
        (torch.optim.SGD, {}, "sgd"),
        (torch.optim.RAdam, {}, None),
        (torch.optim.Adagrad, {}, None),
        (torch.optim.SparseAdam, {}, None),
    ],
)
def test_the_rule_of_torchs_own_optimizers(cls: Any, options: dict[str, Any], expected: str | None) -> None:
    """From the group and the slots that torch itself writes, recognised as a file's would be."""
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = cls([weight], lr=0.1, **options)
    weight.grad = torch.ones(3, 2).to_sparse() if cls is torch.optim.SparseAdam else torch.ones(3, 2)
    optimizer.step()
    group = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    slots = tuple(optimizer.state[weight])
    choice = choose(families(group, slots), group, slots)
    assert (choice.rule.name if choice.rule else None) == expected
    assert bool(choice.reason) == (expected is None)
    if choice.rule:
        wanted = {slot.name for slot in choice.rule.slots(settings_of(group, group=0, required=choice.rule.required))}
        assert wanted == set(slots) - {"step"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: f"{one.source} {one.name}")
def test_every_known_optimizer_has_a_rule_or_a_reason(optimizer: Any) -> None:
    choice = choose((optimizer.name,), optimizer.defaults, tuple(optimizer.slots))
    own = optimizer.source == "torch.optim" and optimizer.name in ("AdamW", "Adam", "NAdam", "SGD")
    if choice.rule is None:
        assert not own
        assert optimizer.name in choice.reason
        assert len(choice.reason) < 100
    else:
        assert own or (optimizer.source, choice.rule.name) == ("transformers", "course-adamw")
    assert rule_for(optimizer.name, optimizer.defaults) is choice.rule


def test_transformers_adamw_is_the_course_rule_only_with_bias_correction() -> None:
    assert rule_for("AdamW", {"correct_bias": True}) is RULES["course-adamw"]
    assert rule_for("AdamW", {"correct_bias": False}) is None


def test_what_the_file_does_not_tell_is_not_guessed() -> None:
    choice = choose(("AdamW", "Adam"), GROUP, MOMENTS)
    assert choice.rule is None
    assert [rule.name for rule in choice.candidates] == ["adamw", "adam"]
    assert "AdamW from Adam" in choice.reason


def test_without_decay_adam_and_adamw_are_one_rule() -> None:
    assert choose(("AdamW", "Adam"), {**GROUP, "weight_decay": 0}, MOMENTS).rule is RULES["adamw"]


def test_an_unknown_optimizer_with_adams_slots_may_be_any_adam() -> None:
    choice = choose((), GROUP, MOMENTS)
    assert choice.rule is None
    assert {"adamw", "adam", "course-adamw", "adamw-decay-after"} < {rule.name for rule in choice.candidates}
    assert not {"sgd", "nadam"} & {rule.name for rule in choice.candidates}


def test_an_unknown_optimizer_with_slots_of_its_own_has_none() -> None:
    assert choose((), {}, ("exp_avg", "exp_avg_sq", "prev_grad")).candidates == ()
    assert choose((), {}, ()).candidates == ()


def test_course_spelling() -> None:
    assert choose((), GROUP, ("m", "t", "v")).rule is RULES["course-adamw"]
    assert spelling_of({"m", "v", "t"}) is COURSE
    assert spelling_of(MOMENTS) is spelling_of(()) is spelling_of({"m", "v"}) is TORCH
    assert COURSE.canonical({"t": 3, "m": "a", "v": "b"}) == {"exp_avg": "a", "exp_avg_sq": "b"}
    assert TORCH.canonical({"step": 3, "exp_avg": "a"}) == {"exp_avg": "a"}


@pytest.mark.parametrize(
    ("stored", "counters", "completed"),
    [
        (21, (), 20),  # course code mostly writes the number of the next step
        (21, (20,), 20),
        (21, (21,), 21),
        (21, (20, 21), 20),  # both agree: the likelier
        (21, (4,), 20),
        ("21", (), None),
        (math.nan, (), None),
    ],
)
def test_the_courses_counter_may_be_one_ahead(stored: Any, counters: tuple[int, ...], completed: float | None) -> None:
    assert COURSE.completed(stored, counters) == completed
    assert TORCH.completed(7) == 7


def test_settings_are_read_as_torch_writes_them() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    group = torch.optim.NAdam([weight], lr=0.5, betas=(0.8, 0.9), weight_decay=0.1, maximize=True).param_groups[0]
    plain = {key: value for key, value in group.items() if key != "params"}
    assert settings_of(plain, group=0, required=RULES["nadam"].required) == Settings(
        lr=0.5, beta1=0.8, beta2=0.9, weight_decay=0.1, eps=1e-8, momentum_decay=4e-3, maximize=True
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"lr": None}, "lr is None (this rule needs lr, betas, eps, weight_decay)"),
        ({"lr": math.nan}, "lr is nan (expected a finite number)"),
        ({"lr": math.inf}, "lr is inf"),
        ({"lr": True}, "lr is True"),
        ({"lr": "0.1"}, "lr is '0.1'"),
        ({"lr": 10**400}, "lr is 1000"),
        ({"betas": None}, "betas is None"),
        ({"betas": 0.9}, "betas is 0.9 (expected two finite numbers)"),
        ({"betas": (0.9,)}, "betas is (0.9,)"),
        ({"betas": (0.9, 0.99, 0.999)}, "betas is (0.9, 0.99, 0.999)"),
        ({"betas": (0.9, math.nan)}, "betas is (0.9, nan)"),
        ({"betas": (1.0, 0.999)}, "betas is (1.0, 0.999) (expected each ≥ 0 and < 1)"),
        ({"betas": (0.9, -0.1)}, "each ≥ 0 and < 1"),
        ({"eps": math.nan}, "eps is nan"),
        ({"weight_decay": [1] * 999}, "weight_decay is [1, 1"),
        ({"momentum_decay": -1.0}, "momentum_decay is -1.0 (expected a finite number ≥ 0)"),
        ({"amsgrad": "yes"}, "amsgrad is 'yes' (expected True or False)"),
    ],
)
def test_settings_no_rule_can_use_are_refused_in_one_line(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(Undecidable) as caught:
        settings_of({**GROUP, **changed}, group=3, required=RULES["adamw"].required)
    assert caught.value.message.startswith("group 3: ")
    assert told in caught.value.message
    assert len(caught.value.message) <= MAX_MESSAGE
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("rule", STEP_RULES, ids=lambda rule: rule.name)
def test_every_key_a_rule_needs_is_missed(rule: Any) -> None:
    full = {**GROUP, "momentum": 0.9, "dampening": 0.0, "nesterov": False, "momentum_decay": 4e-3}
    settings_of(full, group=0, required=rule.required)
    for key in rule.required:
        with pytest.raises(Undecidable, match=f"group 1: {key} is missing"):
            settings_of({name: full[name] for name in full if name != key}, group=1, required=rule.required)


WEIGHT = torch.ones(4, 3)
HEALTHY = {"step": torch.tensor(5.0), "exp_avg": torch.ones(4, 3), "exp_avg_sq": torch.ones(4, 3)}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"exp_avg": torch.ones(1, 3)}, "fc.weight: exp_avg has shape [1, 3] (expected [4, 3])"),
        ({"exp_avg_sq": torch.ones(())}, "fc.weight: exp_avg_sq has shape [] (expected [4, 3])"),
        ({"exp_avg_sq": None}, "fc.weight: its state has no exp_avg_sq (expected by AdamW)"),
        ({"exp_avg": 3.0}, "fc.weight: exp_avg is float (expected a dense tensor)"),
        ({"exp_avg": torch.ones(4, 3).to_sparse()}, "fc.weight: exp_avg is torch.sparse_coo"),
        ({"exp_avg": torch.ones(4, 3, dtype=torch.int8)}, "exp_avg is torch.int8 over a weight of torch.float32"),
        ({"exp_avg": torch.ones(4, 3, dtype=torch.complex64)}, "exp_avg is torch.complex64 over a weight"),
        ({"step": -4}, "fc.weight: its step is -4 (expected a count of completed steps)"),
        ({"step": torch.tensor(math.nan)}, "its step is tensor(nan)"),
        ({"step": torch.ones(9)}, "its step is tensor([1."),
        ({"step": "7"}, "its step is '7'"),
        ({"step": None}, "its step is None"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_moves(changed: dict[str, Any], told: str) -> None:
    """torch broadcasts a (1, 3) moment over a (4, 3) weight without a word."""
    weight, state = WEIGHT.clone(), {name: slot.clone() for name, slot in HEALTHY.items()} | changed
    with pytest.raises(Undecidable) as caught:
        torch_step(RULES["adamw"], weight, torch.ones(4, 3), state, Settings(lr=0.1), label="fc.weight")
    assert told in caught.value.message
    assert len(caught.value.message) <= MAX_MESSAGE
    assert torch.equal(weight, WEIGHT)
    for name in HEALTHY.keys() - changed.keys():
        assert torch.equal(state[name], HEALTHY[name])
    assert all(state[name] is value for name, value in changed.items())


@pytest.mark.parametrize(
    ("gradient", "told"),
    [
        (torch.ones(3, 4), "w: its gradient has shape [3, 4] (expected [4, 3])"),
        (torch.ones(4, 3).to_sparse(), "w: its gradient is torch.sparse_coo (expected a dense tensor)"),
        (torch.ones(4, 3, dtype=torch.int32), "w: its gradient is torch.int32"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused(gradient: torch.Tensor, told: str) -> None:
    with pytest.raises(Undecidable) as caught:
        torch_step(RULES["sgd"], WEIGHT.clone(), gradient, {}, Settings(lr=0.1), label="w")
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize("product", [torch.tensor(math.nan), torch.tensor(7.0), torch.ones(2), 0.5])
def test_a_broken_mu_product_is_refused(product: Any) -> None:
    state = {**{name: slot.clone() for name, slot in HEALTHY.items()}, "mu_product": product}
    with pytest.raises(Undecidable, match="expected a 0-d tensor between 0 and 1"):
        torch_step(RULES["nadam"], WEIGHT.clone(), torch.ones(4, 3), state, Settings(lr=0.1))


def test_moments_without_a_count_are_refused() -> None:
    """Taken for step 0, the bias corrections would be those of the first step."""
    state = {name: slot.clone() for name, slot in HEALTHY.items() if name != "step"}
    with pytest.raises(Undecidable, match="its step is None"):
        torch_step(RULES["adamw"], WEIGHT.clone(), torch.ones(4, 3), state, Settings(lr=0.1))


def test_sgd_begins_a_buffer_that_older_torch_wrote_as_none() -> None:
    weight, state = WEIGHT.clone(), {"momentum_buffer": None}
    torch_step(RULES["sgd"], weight, torch.full((4, 3), 0.5), state, Settings(lr=0.1, momentum=0.9))
    assert list(state) == ["momentum_buffer"]
    assert torch.equal(torch.as_tensor(state["momentum_buffer"]), torch.full((4, 3), 0.5))
    assert torch.equal(weight, WEIGHT - 0.05)


def test_a_stray_amsgrad_key_does_not_disturb_a_rule_without_it() -> None:
    source = torch.Generator().manual_seed(0)
    weight, state = values((4, 3), torch.float32, source), dict[str, Any]()
    settings = live_settings(RULES["nadam"], {**GROUP, "momentum_decay": 4e-3, "amsgrad": True}, 0)
    torch_step(RULES["nadam"], weight, values((4, 3), torch.float32, source), state, settings)
    assert list(state) == ["step", "mu_product", "exp_avg", "exp_avg_sq"]
