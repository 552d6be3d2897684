"""`optinspect.AdamW` beside torch.optim.AdamW(foreach=False): weights, states, files, schedulers, refusals."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_cases import DTYPES, LAYOUTS, OPTIONS, gradient, same_bits, same_state, twins

import optinspect
from optinspect.errors import Undecidable

Pairs = list[tuple[torch.nn.Parameter, ...]]
Optimizer = torch.optim.Optimizer


def both(groups: list[tuple[Pairs, dict[str, Any]]]) -> tuple[Optimizer, Optimizer]:
    """Our optimizer over the first of each pair, torch's over the second."""
    mine, theirs = (
        [{"params": [pair[side] for pair in pairs], **options} for pairs, options in groups] for side in (0, 1)
    )
    return optinspect.AdamW(mine), torch.optim.AdamW(theirs, foreach=False)


def run(mine: Optimizer, theirs: Optimizer, steps: int, seed: int = 0, *, schedule: bool = False) -> None:
    """The same gradients to both; every parameter is without one in some steps."""
    source = torch.Generator().manual_seed(seed)
    firsts = [group["lr"] for group in mine.param_groups]
    for step in range(steps):
        if schedule:
            for ours, torchs, first in zip(mine.param_groups, theirs.param_groups, firsts, strict=True):
                ours["lr"] = torchs["lr"] = first * (0.1 + 0.9 * (step % 50) / 50)
        for place, (a, b) in enumerate(zip(_parameters(mine), _parameters(theirs), strict=True)):
            missing = (step + place) % 13 == 2
            a.grad = None if missing else gradient(a, source)
            b.grad = None if missing else a.grad.clone()  # type: ignore[union-attr]
        mine.step()
        theirs.step()


def _parameters(optimizer: Optimizer) -> Iterator[torch.nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def assert_same(mine: Optimizer, theirs: Optimizer) -> None:
    for a, b in zip(_parameters(mine), _parameters(theirs), strict=True):
        assert same_bits(a, b)
        assert a.stride() == b.stride()
        assert same_state(mine.state[a], theirs.state[b])
        assert all(slot.stride() == theirs.state[b][name].stride() for name, slot in mine.state[a].items())


def groups_of_everything(dtype: torch.dtype, layouts: int) -> list[tuple[Pairs, dict[str, Any]]]:
    """Every option a group of its own; the layouts dealt out in turn, so many to a group."""
    names = list(LAYOUTS) * len(OPTIONS)
    return [
        (list(twins(names[place * layouts : (place + 1) * layouts], dtype, seed=place)), dict(options))
        for place, options in enumerate(OPTIONS.values())
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_thousand_steps_bit_for_bit(dtype: torch.dtype) -> None:
    mine, theirs = both(groups_of_everything(dtype, layouts=1))
    run(mine, theirs, 1000, schedule=True)
    assert_same(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_thousand_steps_of_every_option_and_layout(dtype: torch.dtype) -> None:
    mine, theirs = both(groups_of_everything(dtype, layouts=len(LAYOUTS)))
    run(mine, theirs, 1000, schedule=True)
    assert_same(mine, theirs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_option_and_layout(dtype: torch.dtype) -> None:
    mine, theirs = both(groups_of_everything(dtype, layouts=len(LAYOUTS)))
    run(mine, theirs, 15, schedule=True)
    assert_same(mine, theirs)


def optim_db() -> list[Any]:
    """torch's own cases, as far as a CPU and the single-tensor path have them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.testing._internal.common_optimizers import optim_db  # noqa: PLC0415
    except ImportError as error:
        pytest.skip(f"torch's own cases need a package that is not here: {error}")
    (info,) = [info for info in optim_db if info.optim_cls is torch.optim.AdamW]
    inputs = info.optim_inputs_func(device="cpu")
    return [one for one in inputs if not one.kwargs.keys() & {"foreach", "fused", "capturable", "differentiable"}]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_torchs_own_cases(dtype: torch.dtype) -> None:
    cases = optim_db()
    assert len(cases) >= 5
    for case in cases:
        mine, theirs = both([(list(twins(["matrix", "odd vector"], dtype, seed=1)), case.kwargs)])
        run(mine, theirs, 100)
        assert_same(mine, theirs)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("lr_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_lr_computes_in_its_own_dtype(
    dtype: torch.dtype, lr_dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    lr = torch.full(shape, 0.0123, dtype=lr_dtype)
    mine, theirs = both([(list(twins(["matrix"], dtype, seed=5)), {"lr": lr, "weight_decay": 0.3})])
    run(mine, theirs, 40)
    assert_same(mine, theirs)


def test_a_large_model_as_torch_steps_it() -> None:
    """Past the size at which torch's kernels go parallel."""
    pairs = [tuple(torch.nn.Parameter(torch.linspace(-1, 1, 70_001)) for _ in "ab")]
    mine, theirs = both([(pairs, {})])
    run(mine, theirs, 3)
    assert_same(mine, theirs)


# --- state_dict ---------------------------------------------------------------------------------------------------


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """As weights_only loads it: nothing of ours is in it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def test_state_dicts_have_the_same_keys_in_the_same_order() -> None:
    mine, theirs = both([(list(twins(["matrix"], torch.float32, seed=0)), {"amsgrad": True})])
    run(mine, theirs, 2)
    ours, torchs = mine.state_dict(), theirs.state_dict()
    torchs["param_groups"][0]["foreach"] = None
    assert list(ours) == list(torchs)
    assert list(ours["param_groups"][0].items()) == list(torchs["param_groups"][0].items())
    assert [list(state) for state in ours["state"].values()] == [list(state) for state in torchs["state"].values()]


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    names=st.lists(st.sampled_from(list(LAYOUTS)), min_size=1, max_size=3),
    options=st.lists(st.sampled_from(list(OPTIONS)), min_size=1, max_size=3),
    legs=st.lists(st.integers(0, 6), min_size=2, max_size=4),
    seed=st.integers(0, 10**6),
)
def test_ours_to_torch_to_ours_continues_bit_for_bit(
    dtype: torch.dtype, names: list[str], options: list[str], legs: list[int], seed: int
) -> None:
    """Legs of training with the two states exchanged between them through a file."""
    mine, theirs = both([(list(twins(names, dtype, seed)), dict(OPTIONS[option])) for option in options])
    for leg, steps in enumerate(legs):
        run(mine, theirs, steps, seed + leg)
        ours, torchs = through_a_file(mine.state_dict()), through_a_file(theirs.state_dict())
        mine.load_state_dict(torchs)
        theirs.load_state_dict(ours)
        for group in theirs.param_groups:
            group["foreach"] = False
    assert_same(mine, theirs)


def test_named_parameters_keep_their_names() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = optinspect.AdamW(model.named_parameters())
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    torch.optim.AdamW(model.named_parameters()).load_state_dict(optimizer.state_dict())


def test_loading_adams_state_keeps_adamw() -> None:
    """As torch.optim.AdamW does: the decay stays decoupled whatever the file says."""
    pair = list(twins(["matrix"], torch.float32, seed=0))
    mine, theirs = both([(pair, {})])
    adam = torch.optim.Adam([torch.nn.Parameter(pair[0][0].detach().clone())], weight_decay=0.1).state_dict()
    mine.load_state_dict(adam)
    theirs.load_state_dict(adam)
    run(mine, theirs, 3)
    assert mine.param_groups[0]["decoupled_weight_decay"] is True
    assert_same(mine, theirs)


def test_an_old_state_with_counters_that_are_numbers_and_without_newer_keys() -> None:
    mine, theirs = both([(list(twins(["matrix"], torch.float32, seed=0)), {})])
    run(mine, theirs, 3)
    old = theirs.state_dict()
    old["state"] = {key: {**state, "step": 3} for key, state in old["state"].items()}
    for key in ("maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"):
        del old["param_groups"][0][key]
    mine.load_state_dict(copy.deepcopy(old))
    theirs.load_state_dict(old)
    run(mine, theirs, 3)
    assert_same(mine, theirs)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_of_the_optimizer_goes_on_as_the_original(copied: Callable[[Optimizer], Optimizer]) -> None:
    mine, theirs = both([(list(twins(["matrix", "0-d"], torch.float32, seed=0)), {"amsgrad": True})])
    run(mine, theirs, 3)
    again = copied(mine)
    assert type(again) is optinspect.AdamW
    run(again, theirs, 3, seed=9)
    assert_same(again, theirs)


# --- what else torch.optim.Optimizer promises ---------------------------------------------------------------------


def test_it_is_one_class_under_its_public_name() -> None:
    assert optinspect.AdamW is optinspect.AdamW
    assert f"{optinspect.AdamW.__module__}.{optinspect.AdamW.__qualname__}" == "optinspect.AdamW"
    assert issubclass(optinspect.AdamW, torch.optim.Optimizer)
    with pytest.raises(AttributeError, match="AdamX"):
        _ = optinspect.AdamX


def test_a_closure_runs_with_gradients_and_its_loss_is_returned() -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = optinspect.AdamW([weight], lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(30)]
    assert losses[0] == 9.0
    assert losses[-1] < losses[0]
    assert optimizer.step() is None


def test_a_group_added_later_starts_its_own_count() -> None:
    first, second = (list(twins([name], torch.float32, seed=1)) for name in ("matrix", "odd vector"))
    mine, theirs = both([(first, {})])
    run(mine, theirs, 2)
    mine.add_param_group({"params": [second[0][0]], "lr": 0.1, "maximize": True})
    theirs.add_param_group({"params": [second[0][1]], "lr": 0.1, "maximize": True})
    run(mine, theirs, 1, seed=3)
    assert mine.state[first[0][0]]["step"] == 3
    assert mine.state[second[0][0]]["step"] == 1
    assert_same(mine, theirs)


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, gamma=0.5),
    "CosineAnnealingLR": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 12),
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=20),  # moves betas too
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (step + 1)),
}


@pytest.mark.parametrize("lr", [1e-2, torch.tensor(1e-2)], ids=["float", "tensor"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_torchs_schedulers_drive_it(name: str, lr: Any) -> None:
    mine, theirs = both([(list(twins(["matrix"], torch.float32, seed=2)), {"lr": copy.deepcopy(lr)})])
    theirs.param_groups[0]["lr"] = copy.deepcopy(lr)  # each scheduler changes a tensor in place
    schedules = [SCHEDULERS[name](optimizer) for optimizer in (mine, theirs)]
    for step in range(15):
        run(mine, theirs, 1, seed=step)
        for schedule in schedules:
            schedule.step()
    assert mine.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    assert_same(mine, theirs)


def test_hooks_of_torch_are_called() -> None:
    weight, called = torch.nn.Parameter(torch.ones(2)), list[str]()
    optimizer = optinspect.AdamW([weight])
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    weight.grad = torch.ones(2)
    optimizer.step()
    assert called == ["before", "after"]


def test_a_real_model_trains_as_with_torch() -> None:
    models = []
    for cls in (optinspect.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Embedding(11, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 11))
        optimizer = cls(model.parameters(), lr=1e-2)
        for _ in range(20):
            tokens = torch.randint(0, 11, (16,))
            loss = torch.nn.functional.cross_entropy(model(tokens), (tokens + 1) % 11)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        models.append(model)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert same_bits(a, b)


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": torch.ones(2)}, "lr has 2 elements"),
        ({"eps": -1e-8}, "eps is -1e-08"),
        ({"betas": (1.0, 0.9)}, "betas[0] is 1.0"),
        ({"betas": (0.9, -0.1)}, "betas[1] is -0.1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
    ],
)
def test_impossible_settings_are_refused_when_it_is_made(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as caught:
        optinspect.AdamW([torch.nn.Parameter(torch.ones(2))], **options)
    assert told in str(caught.value)


def test_sparse_gradients_are_refused_as_torch_does_before_anything_moves() -> None:
    dense, table = torch.nn.Parameter(torch.ones(2)), torch.nn.Embedding(5, 3, sparse=True)
    optimizer = optinspect.AdamW([dense, table.weight])
    dense.grad = torch.ones(2)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step()
    assert torch.equal(dense, torch.ones(2))
    assert not optimizer.state


def test_differentiable_from_a_file_is_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    state = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], differentiable=True).state_dict()
    optimizer = optinspect.AdamW([weight])
    optimizer.load_state_dict(state)
    weight.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="group 0: differentiable=True"):
        optimizer.step()


@pytest.mark.parametrize(("key", "value"), [("lr", float("nan")), ("lr", None), ("betas", None), ("eps", "small")])
def test_a_group_that_no_step_can_use_is_named(key: str, value: Any) -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = optinspect.AdamW([{"params": [weight]} for weight in weights])
    optimizer.param_groups[1][key] = value
    for weight in weights:
        weight.grad = torch.ones(2)
    with pytest.raises(Undecidable, match=f"group 1: {key} is "):
        optimizer.step()
    assert all(torch.equal(weight, torch.ones(2)) for weight in weights)


@pytest.mark.parametrize(("named", "label"), [(True, "weight"), (False, "group 0, parameter 0")])
def test_a_state_of_another_shape_is_refused_by_name(named: bool, label: str) -> None:
    """torch.optim.AdamW accepts it at load and broadcasts it at the step."""
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = optinspect.AdamW(model.named_parameters() if named else model.parameters())
    other = torch.nn.Parameter(torch.ones(1, 3))
    donor = optinspect.AdamW([other])
    other.grad = torch.ones(1, 3)
    donor.step()
    optimizer.load_state_dict(donor.state_dict() if not named else _with_names(donor))
    model.weight.grad = torch.ones(2, 3)
    with pytest.raises(Undecidable) as caught:
        optimizer.step()
    assert caught.value.message == f"{label}: exp_avg has shape [1, 3] (expected [2, 3])"


def _with_names(optimizer: Optimizer) -> dict[str, Any]:
    state = optimizer.state_dict()
    state["param_groups"][0]["param_names"] = ["weight"]
    return state
