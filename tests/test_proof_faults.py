"""What goes wrong between two saves, done to real runs: each is refuted by the one finding that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from proof_runs import Config, model, optimizer_of, train

import optinspect
from optinspect.errors import Undecidable
from optinspect.proof import Proof, prove

Held = dict[str, Any]


def proof_of(a: Path, b: Path) -> Proof:
    with optinspect.open(str(a)) as first, optinspect.open(str(b)) as second:
        return prove(first, second)


def errors(proof: Proof) -> list[str]:
    return [found.rule for found in proof.findings if found.severity == "error"]


def swap_state(held: Held) -> None:
    """Of 1.up and 2.up: one shape."""
    state = held["optimizer"]["state"]
    state[8], state[14] = state[14], state[8]


def rotate_state(held: Held) -> None:
    state = held["optimizer"]["state"]
    state[2], state[8], state[14] = state[8], state[14], state[2]


def reset_state(held: Held) -> None:
    for slots in held["optimizer"]["state"].values():
        slots["exp_avg"].zero_()
        slots["exp_avg_sq"].zero_()


def drop_state(held: Held) -> None:
    held["optimizer"]["state"] = {}


def count_from_zero(held: Held) -> None:
    for slots in held["optimizer"]["state"].values():
        slots["step"].zero_()


def change_betas(held: Held) -> None:
    held["optimizer"]["param_groups"][0]["betas"] = (0.8, 0.99)


def round_weights(held: Held) -> None:
    held["model"] = {name: w.bfloat16().float() for name, w in held["model"].items()}


def reinit_weights(held: Held) -> None:
    held["model"] = model(99).state_dict()


def touch_one(held: Held) -> None:
    held["model"]["1.up.weight"] += 1e-3


def other_moments(held: Held) -> None:
    torch.manual_seed(5)
    for slots in held["optimizer"]["state"].values():
        slots["exp_avg"].normal_(0, 1e-3)


FAULTS: list[tuple[Callable[[Held], None], str, str]] = [
    (swap_state, "OI604", "1.up.weight ↔ 2.up.weight"),
    (rotate_state, "OI604", "→"),
    (reset_state, "OI603", "zero"),
    (drop_state, "OI603", "no state"),
    (count_from_zero, "OI603", "fell"),
    (change_betas, "OI608", "(0.8, 0.99)"),
    (round_weights, "OI606", "bfloat16"),
    (reinit_weights, "OI611", "no known rule"),
    (touch_one, "OI605", "1.up.weight"),
    (other_moments, "OI609", "units"),
]


@pytest.mark.parametrize(("spoil", "rule", "said"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_refuted_by_one_finding(spoil: Callable[[Held], None], rule: str, said: str, tmp_path: Path) -> None:
    run = train(tmp_path, Config(steps=7), spoil)
    proof = proof_of(run.a, run.b)
    assert proof.verdict == "refuted"
    assert errors(proof) == [rule], proof.findings
    assert any(said in found.message for found in proof.findings), proof.findings
    assert all(len(found.message) <= 200 for found in proof.findings)
    wrong = [p for p in proof.parameters if p.evidence == "step" and p.name != run.names[p.index]]
    assert not wrong


def test_an_average_saved_as_the_model_is_named(tmp_path: Path) -> None:
    """In the same file: by its route. Alone: by the way it lags."""

    def spoil(keep: bool) -> Callable[[Held], None]:
        def edit(held: Held) -> None:
            average = {name: 0.5 * w + 0.5 * older["model"][name] for name, w in held["model"].items()}
            held["model"] = average
            if keep:
                held["ema"] = {name: w.clone() for name, w in average.items()}

        return edit

    older = torch.load(train(tmp_path, Config(steps=4)).a, weights_only=True)
    for keep, said in ((True, "ema"), (False, "lag")):
        run = train(tmp_path, Config(steps=7), spoil(keep))
        proof = proof_of(run.a, run.b)
        assert errors(proof) == ["OI605"]
        assert said in proof.findings[0].message


def test_a_model_that_is_a_step_ahead(tmp_path: Path) -> None:
    later = torch.load(train(tmp_path, Config(steps=8)).b, weights_only=True)
    run = train(tmp_path, Config(steps=7), lambda held: held.update(model=later["model"]))
    proof = proof_of(run.a, run.b)
    assert errors(proof) == ["OI601"]
    assert "newer" in proof.findings[0].message


def test_a_model_that_stayed_behind(tmp_path: Path) -> None:
    older = torch.load(train(tmp_path, Config(steps=7)).a, weights_only=True)
    run = train(tmp_path, Config(steps=7), lambda held: held.update(model=older["model"]))
    assert errors(proof_of(run.a, run.b)) == ["OI601"]


def test_betas_that_neither_file_states(tmp_path: Path) -> None:
    """Both files say 0.9 and 0.999; the moments say what was used."""
    run = train(tmp_path, Config(steps=7, betas=(0.85, 0.98)))
    for path in (run.a, run.b):
        held = torch.load(path, weights_only=True)
        held["optimizer"]["param_groups"][0]["betas"] = (0.9, 0.999)
        torch.save(held, path)
    proof = proof_of(run.a, run.b)
    assert errors(proof) == ["OI608"]
    assert "(0.85, 0.98)" in proof.findings[0].message


def test_an_lr_that_neither_file_states_is_a_note(tmp_path: Path) -> None:
    run = train(tmp_path, Config(steps=7, lr=0.0007))
    for path in (run.a, run.b):
        held = torch.load(path, weights_only=True)
        held["optimizer"]["param_groups"][0]["lr"] = 0.001
        torch.save(held, path)
    proof = proof_of(run.a, run.b)
    assert proof.verdict == "verified"
    assert proof.lr_from == "neither"
    assert [found.rule for found in proof.findings] == ["OI613"]
    assert proof.groups[0].lr_inferred == pytest.approx(0.0007, rel=1e-6)


def test_a_wrong_order_in_both_files_names_parameters_right(tmp_path: Path) -> None:
    """Order evidence is wrong for a shuffled optimizer; the step says which is which, and nothing is refuted."""
    run = train(tmp_path, Config(steps=7, shuffle=True, seed=3))
    proof = proof_of(run.a, run.b)
    assert proof.verdict == "verified"
    assert {p.index: p.name for p in proof.parameters} == run.names
    assert {p.evidence for p in proof.parameters} == {"step"}
    with optinspect.open(str(run.b)) as b:
        from optinspect.naming import name_parameters  # noqa: PLC0415

        (naming,) = name_parameters(b, proof.names_b)
        assert {row.index: row.name for row in naming.parameters} == run.names
        assert {row.evidence for row in naming.parameters} == {"step"}


def test_recorded_names_that_the_step_contradicts(tmp_path: Path) -> None:
    def lie(held: Held) -> None:
        names = list(run_names.values())
        names[8], names[14] = names[14], names[8]
        held["optimizer"]["param_groups"][0]["param_names"] = names

    run_names = train(tmp_path, Config(steps=7)).names
    run = train(tmp_path, Config(steps=7), lie)
    held = torch.load(run.a, weights_only=True)
    lie(held)
    torch.save(held, run.a)
    proof = proof_of(run.a, run.b)
    assert errors(proof) == ["OI615"]
    assert "2.up.weight ↔ 1.up.weight" in proof.findings[0].message


def test_the_files_the_wrong_way_round(tmp_path: Path) -> None:
    run = train(tmp_path, Config(steps=7))
    with pytest.raises(Undecidable, match="earlier") as caught:
        proof_of(run.b, run.a)
    assert caught.value.hint == "swap the two files"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["AdamW", "SGD", "NAdam"])
def test_other_dtypes_have_their_own_units(dtype: torch.dtype, kind: str, tmp_path: Path) -> None:
    """eps 1e-4: float16 has no smaller one beside √v."""
    run = train(tmp_path, Config(kind=kind, steps=5, dtype=dtype, eps=1e-4, lr=1e-2))
    proof = proof_of(run.a, run.b)
    assert proof.verdict == "verified", proof.findings
    assert all(p.name == run.names[p.index] for p in proof.parameters if p.evidence == "step")


def test_the_first_step_of_all_has_no_state_before_it(tmp_path: Path) -> None:
    run = train(tmp_path, Config(steps=0))
    proof = proof_of(run.a, run.b)
    assert proof.verdict == "verified"
    assert {p.evidence for p in proof.parameters} == {"step"}


def test_a_family_without_a_rule_is_undecided(tmp_path: Path) -> None:
    net = model(0)
    optimizer = torch.optim.Adagrad(net.parameters(), lr=1e-2)
    paths = []
    for number in range(2):
        net(torch.randn(4, 48)).square().mean().backward()
        optimizer.step()
        paths.append(tmp_path / f"{number}.pt")
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": number}, paths[-1])
    proof = proof_of(*paths)
    assert proof.verdict == "undecided"
    assert "Adagrad" in proof.skipped[0].reason


def test_many_steps_are_consistent_and_say_how_strongly(tmp_path: Path) -> None:
    first, last = train(tmp_path / "x", Config(steps=4)), train(tmp_path / "y", Config(steps=30))
    proof = proof_of(first.a, last.b)
    assert proof.verdict == "consistent"
    assert proof.steps_between == 27
    assert [test.name for test in proof.tests] == ["descent", "impossible pairs", "update bound", "alignment"]
    assert all(test.held for test in proof.tests)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_many_steps_in_narrow_dtypes_are_not_refuted(dtype: torch.dtype, tmp_path: Path) -> None:
    early = Config(steps=3, dtype=dtype, eps=1e-4)
    first, last = train(tmp_path / "x", early), train(tmp_path / "y", Config(steps=20, dtype=dtype, eps=1e-4))
    assert proof_of(first.a, last.b).verdict == "consistent"


def test_sgd_that_nothing_counts_is_one_step_only_where_the_weights_say_so(tmp_path: Path) -> None:
    paths = []
    for steps in (5, 6, 9):
        held = torch.load(train(tmp_path, Config(kind="SGD", steps=steps)).a, weights_only=True)
        del held["step"]
        paths.append(tmp_path / f"{steps}.pt")
        torch.save(held, paths[-1])
    assert proof_of(paths[0], paths[1]).verdict == "verified"
    assert proof_of(paths[0], paths[2]).verdict == "undecided"


def test_the_optimizer_of_a_proof_is_torchs() -> None:
    """What the runs are trained with, so that nothing here is proved against ourselves."""
    assert isinstance(optimizer_of(model(0), Config()), torch.optim.AdamW)
