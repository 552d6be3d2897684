"""`optinspect.summary`: what it says of live objects, and that it leaves them as they are."""

from __future__ import annotations

import copy
import gc
import io
import json
import math
import random
import weakref
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402
from torch import nn, optim  # noqa: E402

import optinspect  # noqa: E402
from optinspect.errors import UsageError  # noqa: E402
from tests.summary_cases import CASES, backbone, case, plain, train  # noqa: E402

SCHEMA = json.loads(files("optinspect").joinpath("schema.json").read_text())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def said(summary: Any, *, label: str | None = None) -> str:
    return "\n".join(line.text for line in summary.report.footer if label in (None, line.label))


def snapshot_of(model: nn.Module, optimizer: optim.Optimizer) -> Iterator[Any]:
    """Everything that a look could change, by value, and the identity of the tensors."""
    for tensor in (*model.parameters(), *model.buffers()):
        yield id(tensor), tensor.detach().clone(), tensor.requires_grad, tensor._version, tensor.data_ptr()
        gradient = tensor.grad
        yield None if gradient is None else (id(gradient), gradient.clone(), gradient._version)
    yield copy.deepcopy(optimizer.state_dict())
    yield [id(key) for key in optimizer.state], [sorted(group) for group in optimizer.param_groups]
    yield torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield torch.is_grad_enabled(), model.training, vars(optimizer).keys()


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.layout == b.layout and (
            torch.equal(a.to_dense(), b.to_dense()) and (not a.is_sparse or a.is_coalesced() == b.is_coalesced())
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    return bool(a == b)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_changed(name: str) -> None:
    model, optimizer = case(name)
    before = list(snapshot_of(model, optimizer))
    summary = optinspect.summary(optimizer, model, weights=True)
    str(summary), summary._repr_html_(), summary.to_json()
    after = list(snapshot_of(model, optimizer))
    assert len(before) == len(after)
    assert all(map(equal, before, after))


@pytest.mark.parametrize("name", CASES)
def test_json_keeps_its_schema(name: str) -> None:
    model, optimizer = case(name)
    summary = optinspect.summary(optimizer, model, weights=True)
    told = json.loads(summary.to_json())
    jsonschema.validate(told, SCHEMA)
    assert told == json.loads(json.dumps(summary.to_dict()))
    assert told["summary"]["with_gradient"] == sum(row["grad"] != "none" for row in told["tables"]["parameters"])


def test_gradients_none_zero_and_values() -> None:
    model, optimizer = case("AdamW")
    parameters = list(model.parameters())
    parameters[0].grad = None
    parameters[1].grad.zero_()  # type: ignore[union-attr]
    parameters[2].grad[0, 0] = math.inf  # type: ignore[index]
    rows = optinspect.summary(optimizer, model).rows("parameters")
    assert [row["grad"] for row in rows] == ["none", "zero", "not finite", "dense", "dense", "dense"]
    assert rows[0]["grad_rms"] is None
    assert rows[1]["grad_rms"] == 0
    for row, tensor in zip(rows[3:], parameters[3:], strict=True):
        assert row["grad_rms"] == pytest.approx(float(tensor.grad.double().pow(2).mean().sqrt()), rel=1e-6)  # type: ignore[union-attr]
    text = said(optinspect.summary(optimizer, model), label="stands out")
    assert "NaN or Inf in the gradient of 1 parameter: 2.weight" in text
    assert "no gradient (None), where others have one: 1 parameter: 0.weight" in text
    assert "a gradient of zeros in 1 parameter: 0.bias" in text


def test_a_sparse_gradient_counts_every_element_once() -> None:
    model, optimizer = case("SparseAdam")
    model(torch.tensor([3, 3, 4])).sum().backward()  # added to what is there: rows are stored several times
    gradient = model[0].weight.grad
    assert not gradient.is_coalesced()
    row = optinspect.summary(optimizer, model).rows("parameters")[0]
    assert row["grad"] == "sparse"
    assert row["grad_rms"] == pytest.approx(float(gradient.to_dense().double().pow(2).mean().sqrt()), rel=1e-6)
    assert not gradient.is_coalesced()


def test_without_values_only_their_presence_is_told() -> None:
    model, optimizer = case("AdamW")
    next(model.parameters()).grad = None
    summary = optinspect.summary(optimizer, model, stats=False)
    assert [row["grad"] for row in summary.rows("parameters")] == ["none", *["not read"] * 5]
    assert "statistics" not in {table.key for table in summary.report.tables}


STYLES = {
    "frozen, left out": [("in no group", False, 4, 4, ["requires_grad_(True)", "add_param_group"], False)],
    "frozen, passed": [("group 0", False, 4, 6, ["requires_grad_(True)"], False)],
    "frozen, in a group": [("group 0", False, 4, 4, ["requires_grad_(True)"], False)],
}


@pytest.mark.parametrize("name", STYLES)
def test_the_three_styles_of_freezing(name: str) -> None:
    model, optimizer = case(name)
    keys = ("where", "requires_grad", "parameters", "of", "to_train", "new_optimizer")
    rows = optinspect.summary(optimizer, model).rows("freezing")
    assert [tuple(row[key] for key in keys) for row in rows] == STYLES[name]
    assert [name for row in rows for name in row["names"]] == ["0.0.weight", "0.0.bias", "0.2.weight", "0.2.bias"]


@pytest.mark.parametrize("name", STYLES)
def test_what_the_table_of_frozen_parameters_asks_for_trains_them(name: str) -> None:
    """The advice, taken: each frozen parameter then moves, with the same optimizer."""
    model, optimizer = case(name)
    known = dict(model.named_parameters())
    for row in optinspect.summary(optimizer, model).rows("freezing"):
        tensors = [known[name] for name in row["names"]]
        assert row["new_optimizer"] is False
        for tensor in tensors:
            tensor.requires_grad_(True)
        if "add_param_group" in row["to_train"]:
            optimizer.add_param_group({"params": tensors})
    before = {name: tensor.detach().clone() for name, tensor in known.items()}
    train(model, optimizer, 1)
    assert not any(torch.equal(before[name], tensor) for name, tensor in known.items())
    assert optinspect.summary(optimizer, model).rows("freezing") == []


def test_lbfgs_takes_no_second_group() -> None:
    model = backbone()
    model[0].requires_grad_(False)
    optimizer = optim.LBFGS(model[1].parameters())
    (row,) = optinspect.summary(optimizer, model).rows("freezing")
    assert row["new_optimizer"] is True
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": model[0].parameters()})
    with pytest.raises(AssertionError, match="one param_group"):
        train(model, optimizer, 1)


def test_a_frozen_parameter_with_a_gradient_is_still_stepped() -> None:
    model, optimizer = case("AdamW")
    model[0].requires_grad_(False)
    told = said(optinspect.summary(optimizer, model), label="stands out")
    assert "frozen, but its gradient is not None, so the optimizer still steps 2 parameters: 0.weight, 0.bias" in told
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, model[0].weight)  # what it says is so
    optimizer.zero_grad()
    assert "still steps" not in said(optinspect.summary(optimizer, model))


def test_trainable_in_no_group_and_not_in_the_model() -> None:
    model, optimizer = case("AdamW")
    model[4] = nn.Linear(8, 3)
    summary = optinspect.summary(optimizer, model)
    told = said(summary, label="stands out")
    assert "not in the model: 2 parameters: index 4, index 5" in told
    assert "trainable, but in no group of this optimizer: 2 parameters: 4.weight, 4.bias" in told
    assert [row["evidence"] for row in summary.rows("parameters")] == ["live"] * 4 + ["none"] * 2
    assert [row["name"] for row in summary.rows("unoptimized")] == ["4.weight", "4.bias"]
    assert summary.summary["not_in_model"] == summary.summary["trainable_in_no_group"] == 2


def test_a_permutation_of_equal_shapes_is_named_by_identity() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(6)))
    order = [3, 0, 5, 1, 4, 2]
    optimizer = optim.Adam([model[place].weight for place in order])
    rows = optinspect.summary(model, optimizer).rows("parameters")
    assert [row["name"] for row in rows] == [f"{place}.weight" for place in order]


def test_tied_weights_have_all_their_names() -> None:
    model, optimizer = case("tied")
    rows = optinspect.summary(optimizer, model).rows("parameters")
    assert (rows[0]["name"], rows[0]["aliases"]) == ("embedding.weight", ["head.weight"])
    assert [row["aliases"] for row in rows[1:]] == [None] * (len(rows) - 1)


def forms(model: nn.Module) -> list[Any]:
    named = list(model.named_parameters())
    return [model, dict(named), named, iter(named), model.state_dict(), nn.DataParallel(model)]


@pytest.mark.parametrize("form", range(6))
@pytest.mark.parametrize("swapped", [False, True])
def test_a_model_in_any_form_and_order(form: int, swapped: bool) -> None:
    model, optimizer = case("AdamW")
    given = forms(model)[form]
    summary = optinspect.summary(given, optimizer) if swapped else optinspect.summary(optimizer, given)
    assert [row["name"] for row in summary.rows("parameters")] == [name for name, _ in model.named_parameters()]
    assert {row["evidence"] for row in summary.rows("parameters")} == {"live"}


def test_a_model_that_is_a_dict_of_parameters() -> None:
    model = {"w": nn.Parameter(torch.randn(3, 2)), "b": nn.Parameter(torch.zeros(2))}
    optimizer = optim.SGD(model.values(), lr=0.1, momentum=0.9)
    (torch.randn(5, 3) @ model["w"] + model["b"]).sum().backward()
    optimizer.step()
    rows = optinspect.summary(optimizer, model).rows("parameters")
    assert [(row["name"], row["slots"]) for row in rows] == [("w", ["momentum_buffer"]), ("b", ["momentum_buffer"])]


def test_without_a_model_shapes_are_known_and_names_only_where_they_were_given() -> None:
    model = plain()
    rows = optinspect.summary(optim.AdamW(model.parameters())).rows("parameters")
    assert [(row["name"], row["evidence"]) for row in rows] == [(None, "none")] * 6
    assert [tuple(row["shape"]) for row in rows] == [tuple(tensor.shape) for tensor in model.parameters()]
    rows = optinspect.summary(optim.AdamW(model.named_parameters())).rows("parameters")
    assert [(row["name"], row["evidence"]) for row in rows] == [(n, "recorded") for n, _ in model.named_parameters()]


def test_learning_rates_moved_by_a_scheduler_and_by_other_code() -> None:
    model, optimizer = case("scheduled")
    assert "lr is 0.125 × initial_lr (group 0); a torch scheduler" in said(optinspect.summary(optimizer, model))
    assert optinspect.summary(optimizer, model).rows("groups")[0]["lr_factor"] == pytest.approx(0.125)
    optimizer = optim.AdamW([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 1e-4}])
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        group["lr"] *= math.sqrt(128 / 64)
    told = said(optinspect.summary(optimizer, model), label="stands out")
    assert "lr is 1.41421 × initial_lr (groups 0, 1); no torch scheduler is attached" in told
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    assert "lr is" not in said(optinspect.summary(optimizer, model))
    optimizer.param_groups[0]["lr"] *= math.sqrt(128 / 64)
    told = said(optinspect.summary(optimizer, model))
    assert "lr is 1.41421 × the 0.001 that the optimizer was made with (group 0)" in told


def test_a_scheduler_stands_for_its_optimizer() -> None:
    model, optimizer = case("AdamW")
    for schedule in (optim.lr_scheduler.StepLR(optimizer, 5), optim.lr_scheduler.ReduceLROnPlateau(optimizer)):
        summary = optinspect.summary(schedule, model)
        assert [row["name"] for row in summary.rows("parameters")] == [name for name, _ in model.named_parameters()]
        assert summary.summary["companions"]["scheduler"]["name"] == type(schedule).__name__
        assert summary.summary["torch_scheduler"] is True


def test_a_group_that_came_later() -> None:
    model, optimizer = case("added later")
    assert "group 1 as a whole began 3 steps later" in said(optinspect.summary(optimizer, model))
    model = backbone()
    optimizer = optim.AdamW(model[1].parameters())
    optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.5)
    optimizer.add_param_group({"params": model[0].parameters()})
    told = said(optinspect.summary(optimizer, model), label="stands out")
    assert "group 1 came after the scheduler was made" in told


def test_state_that_does_not_belong_is_told() -> None:
    model, optimizer = case("Adam")
    state = optimizer.state
    state[model[0].weight]["exp_avg"] = state[model[0].weight]["exp_avg_sq"] = torch.zeros(12, 6, device="meta")
    state[model[2].weight] = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3, 3), "exp_avg_sq": torch.zeros(3, 3)}
    state[torch.zeros(5)] = {"exp_avg": torch.zeros(5)}
    summary = optinspect.summary(optimizer, model)
    told = said(summary, label="stands out")
    assert "state of another shape than its parameter: 1 parameter: 2.weight" in told
    assert "another device than its parameter: 1 parameter: 0.weight (parameter on cpu, state on meta)" in told
    assert "1 key of state in no group: a tensor of shape [5]" in told
    problems = {row["slot"]: row["problem"] for row in summary.rows("statistics") if row["name"] == "0.weight"}
    assert set(problems.values()) == {"a meta tensor: it has a shape but no values"}


def test_rows_can_be_chosen_as_in_show() -> None:
    model, optimizer = case("decay groups")
    summary = optinspect.summary(optimizer, model, filters=["*.weight"], sort="grad_rms:desc", limit=2)
    rows = summary.rows("parameters")
    weights = sorted((t.grad.pow(2).mean() for n, t in model.named_parameters() if "weight" in n), reverse=True)
    assert [row["grad_rms"] for row in rows] == pytest.approx([float(each.sqrt()) for each in weights[:2]], rel=1e-5)
    assert {row["group"] for row in optinspect.summary(optimizer, model, group=1).rows("parameters")} == {1}


@pytest.mark.parametrize("given", [(), (3,), (3, 4), ("a.pt",), (plain(),)])
def test_what_is_no_optimizer_is_refused(given: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError, match="no optimizer among"):
        optinspect.summary(*given or (None,))


def test_what_is_given_in_its_place_is_named() -> None:
    model, optimizer = case("AdamW")
    with pytest.raises(UsageError, match="a state_dict") as refused:
        optinspect.summary(optimizer.state_dict(), model)
    assert "optinspect show" in (refused.value.hint or "")
    with pytest.raises(UsageError, match="key 0 of type int"):
        optinspect.summary(optimizer, {0: torch.ones(2)})


def test_what_does_not_exist_is_refused() -> None:
    model, optimizer = case("AdamW")
    with pytest.raises(UsageError, match="group 7"):
        optinspect.summary(optimizer, model, group=7)
    with pytest.raises(UsageError, match="no table 'nothing'"):
        optinspect.summary(optimizer, model).rows("nothing")
    with pytest.raises(UsageError, match="two optimizers"):
        optinspect.summary(optimizer, optimizer)


def test_it_prints_as_tables_in_a_terminal_and_in_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = case("frozen, passed")
    summary = optinspect.summary(optimizer, model)
    monkeypatch.setenv("COLUMNS", "100")
    plain_text = str(summary)
    assert repr(summary) == plain_text
    assert "\x1b" not in plain_text
    assert max(map(len, plain_text.splitlines())) <= 100
    assert "--width" not in plain_text  # there is no command line here
    assert "rows(TABLE)" in " ".join(plain_text.split())
    stream = io.StringIO()
    Console(file=stream, width=100, color_system=None, legacy_windows=False).print(summary)
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == plain_text.splitlines()
    coloured = io.StringIO()
    Console(file=coloured, width=100, force_terminal=True, color_system="standard", no_color=False).print(summary)
    assert "\x1b[" in coloured.getvalue()


def test_it_holds_none_of_the_objects() -> None:
    model, optimizer = case("AdamW")
    watched = [weakref.ref(model[0].weight), weakref.ref(optimizer)]
    summary = optinspect.summary(optimizer, model, weights=True)
    del model, optimizer
    gc.collect()
    assert [each() for each in watched] == [None, None]
    assert len(summary.rows("parameters")) == 6


def test_repeated_layers_are_folded_where_people_read_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    model = nn.ModuleDict({"h": nn.ModuleList(nn.Linear(2, 2) for _ in range(40))})
    model["h"][0].requires_grad_(False)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    summary = optinspect.summary(optimizer, model)
    assert len(summary.rows("parameters")) == len(summary.to_dict()["tables"]["parameters"]) == 80
    assert "h.{1..39}.weight" in str(summary)
    assert "h.{1..39}.weight" in summary._repr_html_()
    assert "h.{0..39}" not in str(summary)  # the first is frozen, the others are not
    assert "--no-collapse" not in str(summary)
    assert "h.17.weight" in str(optinspect.summary(optimizer, model, collapse=False))
    assert "h.{1..39}.weight" not in str(optinspect.summary(optimizer, model, collapse=False))
    jsonschema.validate(summary.to_dict(), SCHEMA)
