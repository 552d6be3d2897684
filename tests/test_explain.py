"""`explain` against torch's own steps, against float64 by hand, and every formula against its value."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optinspect import cli
from optinspect.commands import explain as command
from optinspect.errors import Undecidable
from optinspect.explain_rules import EXPLANATIONS
from optinspect.explain_words import chance, dominant
from optinspect.optimizers.rules import STEP_RULES
from optinspect.render.json import envelope

TOLERANCE = 1e-6
"""Relative, against float64 by hand: what is promised. Measured: 3e-15."""
RUN = 1e-8
"""Relative to the largest |Δθ| of a tensor, against the change in a float64 run. Measured: 2e-11, all of it from the
subtraction θ_after − θ_before."""

STEPS = 6


class CourseAdamW(torch.optim.Optimizer):
    """As courses have it written: lr_t, state m, v and t, which is one ahead."""

    def __init__(self, params: Any, lr: float, weight_decay: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": 1e-8})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, (b1, b2) = group["lr"], group["betas"]
            for p in group["params"]:
                state = self.state[p]
                t = state.get("t", 1)
                m = b1 * state.get("m", 0.0) + (1 - b1) * p.grad
                v = b2 * state.get("v", 0.0) + (1 - b2) * p.grad**2
                p.data -= lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (v.sqrt() + group["eps"])
                p.data -= lr * group["weight_decay"] * p.data
                state.update(t=t + 1, m=m, v=v)


ROOT = Path(__file__).parents[1]
Make = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.3, betas=(0.8, 0.95)),
    "adamw, no decay": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.0),
    "adamw, big eps": lambda p: torch.optim.AdamW(p, lr=1e-2, eps=0.5),
    "adamw, maximize": lambda p: torch.optim.AdamW(p, lr=1e-2, maximize=True),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1, amsgrad=True, betas=(0.9, 0.5)),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=0.1, dampening=0.2),
    "course": lambda p: CourseAdamW(p, lr=1e-2, weight_decay=0.3),
}
ESTIMATED: dict[str, Make] = {
    "nadam": lambda p: torch.optim.NAdam(p, lr=1e-2, weight_decay=0.1),
    "nadam, decoupled": lambda p: torch.optim.NAdam(p, lr=1e-2, weight_decay=0.1, decoupled_weight_decay=True),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.1),
}
"""Their last step needs the last gradient, which no file has."""


class Net(torch.nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 6, dtype=dtype)
        self.last = torch.nn.Linear(6, 3, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.first(x).tanh())
        return out


class Run:
    """A short training run; `before` and `after` are the weights around its last step."""

    def __init__(self, make: Make, dtype: torch.dtype = torch.float64, steps: int = STEPS) -> None:
        torch.manual_seed(5)
        self.net = Net(dtype)
        self.optimizer = make(self.net.parameters())
        self.dtype = dtype
        self.before = self.weights()
        for _ in range(steps):
            self.before = self.weights()
            self.net.zero_grad()
            x = torch.randn(8, 4, dtype=dtype)
            (self.net(x) - x[:, :3].abs()).pow(2).mean().backward()
            self.optimizer.step()
        self.after = self.weights()

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self.net.named_parameters()}

    def save(self, path: Path, **more: Any) -> str:
        torch.save({"model": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), **more}, path)
        return str(path)


def explained(path: str, parameter: str, **options: Any) -> dict[str, Any]:
    report = envelope(command.build(path, parameter, command.Options(**options)))
    parsed: dict[str, Any] = json.loads(json.dumps(report))
    return parsed


def values(report: dict[str, Any]) -> dict[str, float]:
    return {row["symbol"]: float(row["value"]) for row in report["tables"]["terms"]}


def elements(shape: torch.Size) -> Iterator[tuple[int, ...]]:
    yield from [(0,) * len(shape), tuple(size - 1 for size in shape), tuple(size // 2 for size in shape)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_last_step_is_the_one_that_was_taken(name: str, tmp_path: Path) -> None:
    run = Run(OPTIMIZERS[name])
    path = run.save(tmp_path / "run.pt")
    for parameter, after in run.after.items():
        real = after - run.before[parameter]
        for at in elements(after.shape):
            found = values(explained(path, parameter, at=at))
            assert found["Δθ"] == pytest.approx(float(real[at]), abs=RUN * float(real.abs().max()))
            assert found["θ_before"] == pytest.approx(float(run.before[parameter][at]), abs=1e-12)
            assert found["θ"] == float(after[at])


@pytest.mark.parametrize("name", [*OPTIMIZERS, *ESTIMATED])
def test_the_next_step_without_a_gradient_is_torchs(name: str, tmp_path: Path) -> None:
    run = Run((OPTIMIZERS | ESTIMATED)[name])
    path = run.save(tmp_path / "run.pt")
    for p in run.net.parameters():
        p.grad = torch.zeros_like(p)
    run.optimizer.step()
    for parameter, moved in run.weights().items():
        real = moved - run.after[parameter]
        for at in elements(moved.shape):
            found = values(explained(path, parameter, at=at, source="zero"))
            assert found["Δθ"] == pytest.approx(float(real[at]), abs=RUN * float(real.abs().max()))
            assert found["θ_after"] == pytest.approx(float(moved[at]), abs=1e-12)


@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimate_is_called_one(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Run(ESTIMATED[name]).save(tmp_path / "run.pt")
    assert cli.main(["explain", path, "first.weight", "--width", "0"]) == 0
    told = capsys.readouterr().out
    assert "the last gradient is not in the file" in told and "estimate" in told


def test_after_one_step_the_average_gradient_is_the_gradient(tmp_path: Path) -> None:
    run = Run(ESTIMATED["nadam, decoupled"], steps=1)
    found = values(explained(run.save(tmp_path / "run.pt"), "first.weight", at=(0, 0)))
    real = run.after["first.weight"] - run.before["first.weight"]
    assert found["Δθ"] == pytest.approx(float(real[0, 0]), rel=1e-9)


def test_float64_by_hand(tmp_path: Path) -> None:
    """Course of the calculation written down once more, from the tensors that torch loads."""
    run = Run(OPTIMIZERS["adamw"], torch.float32)
    path = run.save(tmp_path / "run.pt")
    state = torch.load(path, weights_only=True)["optimizer"]["state"][0]
    theta, m, v = (float(x[3, 2]) for x in (run.after["first.weight"], state["exp_avg"], state["exp_avg_sq"]))
    mean, root = m / (1 - 0.8**STEPS), math.sqrt(v / (1 - 0.95**STEPS))
    u = 1e-2 * mean / (root + 1e-8)
    before = (theta + u) / (1 - 1e-2 * 0.3)
    decay = 1e-2 * 0.3 * before
    found = values(explained(path, "first.weight", at=(3, 2)))
    by_hand = {
        "t": STEPS, "lr": 1e-2, "β1": 0.8, "β2": 0.95, "eps": 1e-8, "wd": 0.3, "θ": theta, "m": m, "v": v,
        "c1": 1 - 0.8**STEPS, "c2": 1 - 0.95**STEPS, "m̂": mean, "v̂": root**2, "√v̂": root, "u": u,
        "r": mean / (root + 1e-8), "k": 1e-2 / (root + 1e-8), "θ_before": before, "d": decay, "Δθ": -u - decay,
    }  # fmt: skip
    assert found.keys() == by_hand.keys()
    for symbol, value in by_hand.items():
        assert found[symbol] == pytest.approx(value, rel=TOLERANCE), symbol


def evaluated(formula: str, known: dict[str, float]) -> float:
    """A formula as the report writes it, computed from the values of the symbols in it."""
    symbols = sorted(known, key=len, reverse=True)
    pattern = "|".join(re.escape(symbol) + "(?![\\w\u0302'])" for symbol in symbols)
    code = re.sub(rf"(?<!\w)(?:{pattern})", lambda match: f"S[{symbols.index(match[0])}]", formula)
    code = code.replace("√", "sqrt").replace("⋅", "*").replace("−", "-").replace("^", "**")
    assert re.fullmatch(r"(S\[\d+\]|sqrt|max|[\d.]+|[-+*/(), ])+", code), code
    return float(eval(code, {"S": [known[symbol] for symbol in symbols], "sqrt": math.sqrt, "max": max}))


@pytest.mark.parametrize("source", ["last", "zero", "synthetic"])
@pytest.mark.parametrize("name", [*OPTIMIZERS, *ESTIMATED])
def test_every_formula_gives_its_value(name: str, source: str, tmp_path: Path) -> None:
    path = Run((OPTIMIZERS | ESTIMATED)[name]).save(tmp_path / "run.pt")
    if source == "synthetic" and name in ("sgd", "nesterov"):  # no second moment to draw from
        with pytest.raises(Undecidable, match="exp_avg_sq"):
            explained(path, "last.weight", source=source)
        return
    known: dict[str, float] = {}
    formulas = 0
    for row in explained(path, "last.weight", source=source)["tables"]["terms"]:
        if row["formula"] is not None:
            # 1e-9: a formula may take a difference of two terms that are rounded (measured: 4e-13)
            assert evaluated(row["formula"], known) == pytest.approx(row["value"], rel=1e-9, abs=1e-300), row
            formulas += 1
        known[row["symbol"]] = row["value"]
    assert formulas >= 3 - (name == "nesterov")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_are_put_where_the_symbols_stood(name: str, tmp_path: Path) -> None:
    path = Run(OPTIMIZERS[name]).save(tmp_path / "run.pt")
    for row in explained(path, "first.bias")["tables"]["terms"]:
        if row["formula"] is not None:
            left, _, right = row["worked"].partition(" = ")
            assert not re.search("[a-df-zθβμ]", left.replace("max", "")), left  # e is of 1e-08
            assert float(right) == pytest.approx(row["value"], rel=1e-6)


def test_every_rule_that_a_file_can_decide_is_explained() -> None:
    known = {each.rule for each in EXPLANATIONS}
    assert known == {rule.name for rule in STEP_RULES if not rule.name.startswith("adamw-")}


def test_the_element_is_the_one_that_moves_furthest(tmp_path: Path) -> None:
    run = Run(OPTIMIZERS["adamw"])
    real = (run.after["first.weight"] - run.before["first.weight"]).abs()
    report = explained(run.save(tmp_path / "run.pt"), "first.weight")
    assert tuple(report["summary"]["at"]) == np.unravel_index(int(real.argmax()), real.shape)


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in pieces of any size, a tensor gives the same report; also where it lies transposed in the file."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(31, 17).t())
    optimizer = torch.optim.AdamW([weight])
    for _ in range(3):
        weight.grad = torch.randn(17, 31)
        optimizer.step()
    path = tmp_path / "big.pt"
    torch.save({"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict()}, path)
    for source in ("last", "synthetic"):
        whole = explained(str(path), "w", source=source)
        monkeypatch.setattr("optinspect.explain.BLOCK", 50)
        assert explained(str(path), "w", source=source) == whole
        monkeypatch.undo()


def test_distributions_count_every_element(tmp_path: Path) -> None:
    run = Run(OPTIMIZERS["adamw"])
    path = run.save(tmp_path / "run.pt")
    rows = {row["quantity"]: row for row in explained(path, "first.weight")["tables"]["distribution"]}
    assert list(rows) == ["|m|", "√v", "|m̂|/√v̂", "|Δθ|", "|Δθ|/|θ|"]
    state = run.optimizer.state[run.net.first.weight]
    real = (run.after["first.weight"] - run.before["first.weight"]).abs()
    truth = {"|m|": state["exp_avg"].abs(), "√v": state["exp_avg_sq"].sqrt(), "|Δθ|": real}
    for quantity, tensor in truth.items():
        row = rows[quantity]
        assert row["count"] == 24 == sum(row["log2_histogram"].values()) + row["zeros"]
        assert row["max"] == pytest.approx(float(tensor.max()), rel=1e-9)
        assert row["min"] == pytest.approx(float(tensor.min()), rel=1e-6)
        exponents = torch.frexp(tensor).exponent.flatten() - 1
        counted = {str(e): int((exponents == e).sum()) for e in sorted(set(exponents.tolist()))}
        assert {str(k): n for k, n in row["log2_histogram"].items()} == counted


def test_synthetic_gradients_are_those_that_the_moments_describe(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(20_000))
    optimizer = torch.optim.AdamW([weight], betas=(0.0, 0.9))
    for _ in range(3):
        weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
    state = optimizer.state[weight]
    state["exp_avg_sq"].mul_(2)  # v̂ = 0.5, m̂ = 0.5: a variance of 0.25
    path = tmp_path / "run.pt"
    torch.save({"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict()}, path)
    drawn = [values(explained(str(path), "w", at=(i,), source="synthetic"))["g"] for i in range(0, 20_000, 200)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.2)  # 4 standard errors of 100 draws
    assert np.std(drawn) == pytest.approx(0.5, abs=0.15)
    again = values(explained(str(path), "w", at=(200,), source="synthetic"))["g"]
    other = values(explained(str(path), "w", at=(200,), source="synthetic", seed=1))["g"]
    assert again == drawn[1] != other


def test_complex_parameters_move_part_by_part(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(3, 2, dtype=torch.complex128))
    optimizer = torch.optim.AdamW([weight], lr=1e-2)
    before = weight.detach().clone()
    for _ in range(2):
        before = weight.detach().clone()
        weight.grad = torch.randn(3, 2, dtype=torch.complex128)
        optimizer.step()
    path = tmp_path / "complex.pt"
    torch.save({"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict()}, path)
    real = torch.view_as_real(weight.detach() - before)
    for part in (0, 1):
        found = values(explained(str(path), "w", at=(2, 1, part)))
        assert found["Δθ"] == pytest.approx(float(real[2, 1, part]), rel=1e-9)


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]] = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [2, 6], 0.1),
    "ExponentialLR": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, 1e-4),
    "LinearLR": lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 10),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_lr_of_the_last_step_is_taken_from_the_scheduler(name: str, tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.AdamW([weight], lr=0.01)
    scheduler = SCHEDULERS[name](optimizer)
    for step in range(6):
        before, used = weight.detach().clone(), optimizer.param_groups[0]["lr"]
        weight.grad = torch.tensor([1.0, -0.2 * step, 0.3], dtype=torch.float64)
        optimizer.step()
        scheduler.step()
    saved = {"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(saved, tmp_path / "run.pt")
    report = explained(str(tmp_path / "run.pt"), "w", at=(1,))
    assert report["summary"]["lr_from"] == "scheduler"
    assert report["summary"]["lr"] == pytest.approx(used, rel=1e-12)
    assert values(report)["Δθ"] == pytest.approx(float((weight.detach() - before)[1]), rel=1e-9)


def test_an_lr_that_the_scheduler_does_not_explain_is_taken_as_stored(tmp_path: Path) -> None:
    run = Run(OPTIMIZERS["adamw"])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(run.optimizer, 0.9)
    state = {**scheduler.state_dict(), "last_epoch": STEPS}
    run.optimizer.param_groups[0]["lr"] = 0.123
    report = explained(run.save(tmp_path / "run.pt", scheduler=state), "first.weight")
    assert (report["summary"]["lr"], report["summary"]["lr_from"]) == (0.123, "group")


def test_of_two_checkpoints_in_a_row_the_second_explains_the_step_between_them() -> None:
    """float32 weights under a cosine schedule: to the rounding of θ (largest seen: 0.5 ulp)."""
    weights = [
        torch.load(ROOT / "sample_checkpoints" / f"gpt_step{step}.pt", weights_only=False)["model"] for step in (40, 41)
    ]
    for name in ("wte.weight", "blocks.0.qkv.weight", "norm.bias"):
        report = explained(str(ROOT / "sample_checkpoints" / "gpt_step41.pt"), name)
        at = tuple(report["summary"]["at"])
        before, after = (float(model[name][at]) for model in weights)
        ulp = float(np.spacing(np.float32(max(abs(before), abs(after)))))
        assert values(report)["Δθ"] == pytest.approx(after - before, abs=ulp)


def test_without_a_model_the_decay_is_left_out(tmp_path: Path) -> None:
    run = Run(OPTIMIZERS["adamw"])
    torch.save(run.optimizer.state_dict(), tmp_path / "optimizer.pt")
    report = explained(str(tmp_path / "optimizer.pt"), "0", at=(0, 0))
    found = values(report)
    assert found["Δθ"] == -found["u"] and "θ" not in found
    assert "but for the decay" in report["tables"]["terms"][-1]["meaning"]
    both = explained(run.save(tmp_path / "both.pt"), "0", at=(0, 0))
    assert values(both)["u"] == found["u"]
    assert both["summary"]["index"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["first.wieght"], "no such parameter"),
        (["first.weight", "--at", "6,0"], "outside of"),
        (["first.weight", "--at", "1"], "outside of"),
        (["first.weight", "--at", "a,b"], "not an index"),
        (["first.weight", "--zero", "--synthetic"], "two gradients"),
        (["99"], "indices 0 to 3"),
    ],
)
def test_a_wrong_question_is_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Run(OPTIMIZERS["adamw"]).save(tmp_path / "run.pt")
    assert cli.main(["explain", path, *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert told in lines[0] and len(lines[0]) <= 200
    assert all(line.startswith("hint: ") for line in lines[1:])


def test_the_nearest_names_are_the_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Run(OPTIMIZERS["adamw"]).save(tmp_path / "run.pt")
    for typed in ("first.wieght", "FIRST.weight", "first"):
        assert cli.main(["explain", path, typed]) == 2
        assert "first.weight" in capsys.readouterr().err.splitlines()[1]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (torch.optim.RMSprop, "no step rule for RMSprop"),
        (lambda p: torch.optim.SGD(p, lr=0.1), "without momentum"),
        (torch.optim.Adagrad, "no step rule for Adagrad"),
    ],
)
def test_an_optimizer_without_a_rule_is_refused(
    make: Make, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Run(make).save(tmp_path / "run.pt")
    assert cli.main(["explain", path, "first.weight"]) == 2
    assert told in capsys.readouterr().err.splitlines()[0]


def test_an_unknown_optimizer_is_explained_by_the_rule_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(OPTIMIZERS["adamw"])
    state = run.optimizer.state_dict()
    usual = {"params", "lr", "betas", "eps", "weight_decay"}
    state["param_groups"] = [
        {key: value for key, value in group.items() if key in usual} for group in state["param_groups"]
    ]
    path = str(tmp_path / "run.pt")
    torch.save({"model": run.net.state_dict(), "optimizer": state}, path)
    assert cli.main(["explain", path, "first.weight"]) == 2
    assert "hint: --rule" in capsys.readouterr().err
    real = (run.after["first.weight"] - run.before["first.weight"])[0, 0]
    found = values(explained(path, "first.weight", at=(0, 0), rule="adamw"))
    assert found["Δθ"] == pytest.approx(float(real), rel=1e-6)
    assert cli.main(["explain", path, "first.weight", "--rule", "magic"]) == 2


@pytest.mark.parametrize(("dtype", "lr"), [(torch.bfloat16, 1e-3), (torch.float32, 1e-8), (torch.float32, 1e-3)])
def test_a_step_that_rounding_swallows_is_called_lost(dtype: torch.dtype, lr: float, tmp_path: Path) -> None:
    """Against what torch did to each weight: lost is where it did not move."""
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.empty(40, dtype=dtype).uniform_(0.02, 2.0))
    optimizer = torch.optim.AdamW([weight], lr=lr, weight_decay=0.0)
    for _ in range(3):
        before = weight.detach().clone()
        weight.grad = torch.rand(40).to(dtype) + 1
        optimizer.step()
    torch.save({"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
    told = [explained(str(tmp_path / "run.pt"), "w", at=(i,))["summary"]["lost_to_rounding"] for i in range(40)]
    assert told == (weight.detach() == before).tolist()
    assert (True in told) == (lr == 1e-8 or dtype == torch.bfloat16)


def test_before_the_first_step_there_is_nothing_to_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Run(OPTIMIZERS["adamw"], steps=0).save(tmp_path / "run.pt")
    assert cli.main(["explain", path, "first.weight"]) == 2
    assert "no state" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["lr", "betas", "eps"])
def test_a_setting_that_is_no_number_is_named(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(OPTIMIZERS["adamw"])
    run.optimizer.param_groups[0][key] = float("nan")
    assert cli.main(["explain", run.save(tmp_path / "run.pt"), "first.weight"]) == 2
    assert f"group 0: {key}" in capsys.readouterr().err


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    run = Run(OPTIMIZERS["adamw"])
    run.optimizer.state[run.net.first.weight]["exp_avg"][0, 0] = float("nan")
    report = explained(run.save(tmp_path / "run.pt"), "first.weight")
    assert {row["quantity"]: row["not_finite"] for row in report["tables"]["distribution"]}["|m|"] == 1
    assert report["summary"]["at"] != [0, 0]
    whole = explained(str(tmp_path / "run.pt"), "first.weight", at=(0, 0))
    assert {row["symbol"]: row["value"] for row in whole["tables"]["terms"]}["Δθ"] == "NaN"


def signal(mean: float, noise: float, *, lr: float = 1e-3, wd: float = 0.0, eps: float = 1e-8) -> dict[str, float]:
    """Values after many steps with gradients of this mean and noise."""
    root = math.hypot(mean, noise)
    agreed = mean / (root + eps)
    told = {"m̂": mean, "√v̂": root, "eps": eps, "t": 1e5, "β1": 0.9, "β2": 0.999, "lr": lr, "u": lr * agreed, "c2": 1.0}
    return {**told, "d": lr * wd}


def test_what_dominates() -> None:
    assert dominant(signal(1e-3, 1e-4)) == "momentum"
    assert dominant(signal(1e-5, 1e-3)) == "noise"
    assert dominant(signal(1e-3, 1e-4, wd=5.0)) == "decay"
    assert dominant(signal(1e-12, 1e-11)) == "eps"
    assert dominant(signal(0.0, 0.0)) == "nothing"
    assert dominant({**signal(1e-3, 1e-4), "t": 2.0}) == "gradient"


@given(st.floats(0.0, 0.99), st.integers(1, 10_000))
def test_chance_is_the_root_of_the_sum_of_squared_weights(beta1: float, t: int) -> None:
    weights = (1 - beta1) * beta1 ** np.arange(min(t, 4000)) / (1 - beta1**t)
    assert chance(beta1, t) == pytest.approx(float(np.sqrt((weights**2).sum())), rel=1e-6)


def test_json_keeps_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Run(OPTIMIZERS["adamw"]).save(tmp_path / "run.pt")
    assert cli.main(["explain", path, "first.weight", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, json.loads(files("optinspect").joinpath("schema.json").read_text()))
    assert report["summary"].keys() >= {"name", "index", "step", "rule"}
    assert (report["summary"]["rule"], report["summary"]["step"]) == ("adamw", STEPS)
    for row in report["tables"]["terms"]:
        assert row.keys() >= {"symbol", "meaning", "formula", "value"}
        assert isinstance(row["value"], float | int)


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    path = Run(OPTIMIZERS["adamw"]).save(tmp_path / "run.pt")
    code = f"import sys; from optinspect.cli import main; assert main(['explain', {path!r}, '0']) == 0"
    subprocess.run(
        [sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True, capture_output=True
    )
