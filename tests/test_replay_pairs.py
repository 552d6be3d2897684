"""Recorded training replayed: runs made here to the bit, and pairs of checkpoints from another machine.

On that machine torch's square root rounds otherwise (docs/replay.md), so there the truth is twofold: what torch.optim
gives here from the same file, to the bit; and what was saved there, within the step residual of a wrong √v.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from replay_cases import CLASSES, Run, names_of, torch_steps
from step_cases import same_bits, same_state

import optinspect
from optinspect.replaying import engine

HERE = Path(__file__).parent / "data"
ROOT = Path(os.environ.get("OPTINSPECT_CORPUS") or HERE)
PAIRS = {path.parent.name: path.parent for path in sorted(ROOT.glob("pairs/*/truth.json"))}
TRUTH: dict[str, dict[str, Any]] = {name: json.loads((path / "truth.json").read_text()) for name, path in PAIRS.items()}
CLASS = {name: truth["optimizers"][0]["cls"].rpartition(".")[2] for name, truth in TRUTH.items()}
TORCHS = [name for name in PAIRS if CLASS[name] in CLASSES]
HEALTHY = [name for name in TORCHS if TRUTH[name]["fault"] == "healthy"]
RULES = {
    "bug_decay_after": "adamw-decay-after",
    "bug_decay_after_strong": "adamw-decay-after",
    "bug_decay_no_lr": "adamw-decay-without-lr",
    "bug_no_bias_correction": "adamw-no-bias-correction",
    "bug_no_bias_correction_early": "adamw-no-bias-correction",
}
OTHERS = [name for name in PAIRS if name in RULES or CLASS[name] == "CS336AdamW"]
ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}
UNITS = {1: 2.0, 10: 4.0}
"""Steps → residual in units of ulp(θ) + 16·u·|Δθ|. Measured over 28 pairs: ≤ 0.995 after one, ≤ 1.99 after ten."""
SPANS = {"ckpt_t1.pt": ["grads_t_t1.pt"], "ckpt_t10.pt": ["grads_t_t1.pt", "grads_t1_t10.pt"]}

MAKERS = {
    "AdamW": torch.optim.AdamW,
    "AMSGrad and maximize": lambda groups: torch.optim.Adam(groups, amsgrad=True, maximize=True),
    "NAdam": torch.optim.NAdam,
    "SGD": lambda groups: torch.optim.SGD(groups, momentum=0.9, nesterov=True),
    "SGD without momentum": torch.optim.SGD,
}


def replayed(name: str, target: str, **options: Any) -> optinspect.replaying.Replayed:
    folder = PAIRS[name]
    grads = [str(folder / one) for one in SPANS[target]]
    return optinspect.replay(str(folder / "ckpt_t.pt"), grads=grads, keep=True, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_a_recorded_run_lands_on_its_later_checkpoint(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Two groups, a cosine schedule, clipping: every bit of weights and state, from two recordings."""
    run = Run(MAKERS[name], dtype=dtype)
    run.train(6)
    before = run.save(tmp_path / "a.pt")
    run.train(13, record=True)
    later, grads = tmp_path / "b.pt", [tmp_path / "1.pt", tmp_path / "2.pt"]
    run.save(later)
    run.save_recording(grads[0], slice(0, 4))
    run.save_recording(grads[1], slice(4, None))
    found = optinspect.replay(before, grads=[str(grads[1]), str(grads[0])], keep=True)
    after = torch.load(later, weights_only=True)
    assert (len(found.steps), found.bit_equal, found.steps[-1].step) == (13, True, 19)
    assert len(found.finals) == 4
    for index, final in found.finals.items():
        assert same_bits(final.weight, after["model"][final.name]), final.name
        if name != "SGD without momentum":
            assert same_state(
                dict(sorted(final.state.items())), dict(sorted(after["optimizer"]["state"][index].items()))
            )


@pytest.mark.parametrize("target", SPANS)
@pytest.mark.parametrize("name", TORCHS)
def test_a_pair_is_stepped_as_torch_steps_it(name: str, target: str) -> None:
    folder = PAIRS[name]
    found = replayed(name, target)
    names = names_of(folder)
    weights, states = torch_steps(folder / "ckpt_t.pt", [folder / one for one in SPANS[target]], CLASS[name], names)
    assert found.bit_equal
    assert found.apart.max_ulps == 0
    assert {final.name for final in found.finals.values()} == set(names)
    for index, final in found.finals.items():
        assert same_bits(final.weight, weights[final.name]), final.name
        assert same_state(dict(sorted(final.state.items())), dict(sorted(states[index].items()))), final.name


@pytest.mark.parametrize("target", SPANS)
@pytest.mark.parametrize("name", [*HEALTHY, *OTHERS])
def test_a_pair_lands_on_what_was_saved_there(name: str, target: str) -> None:
    found = replayed(name, target, rule=RULES.get(name))
    before, after = (torch.load(PAIRS[name] / one, weights_only=True)["model"] for one in ("ckpt_t.pt", target))
    for final in found.finals.values():
        residual = _residual(final.weight, after[final.name], before[final.name])
        assert residual <= UNITS[len(found.steps)], (final.name, residual)


def _residual(found: torch.Tensor, saved: torch.Tensor, before: torch.Tensor) -> float:
    """|found − saved| in units of ulp(max(|θ|)) + 16·u·|Δθ|."""
    u = ROUNDOFF[saved.dtype]
    found, saved, before = (x.double() for x in (found, saved, before))
    size = torch.maximum(saved.abs(), before.abs()).clamp(min=1e-38)
    ulp = torch.exp2(torch.floor(torch.log2(size))) * 2 * u
    return float(((found - saved).abs() / (ulp + 16 * u * (saved - before).abs())).max())


@pytest.mark.parametrize("name", OTHERS)
def test_other_rules_are_told_from_torchs(name: str) -> None:
    """Further apart than rounding wherever the difference is: the whole decay, the correction, the place of eps."""
    found = replayed(name, "ckpt_t10.pt", rule=RULES.get(name))
    assert not found.bit_equal
    own = replayed(name, "ckpt_t10.pt", rule=RULES.get(name), against=found.rule)
    assert own.bit_equal
    assert found.apart.max_abs > 4e-7


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replayed("nadam", "ckpt_t10.pt")
    monkeypatch.setattr(engine, "SLAB", 7)
    parts = replayed("nadam", "ckpt_t10.pt")
    for index, final in whole.finals.items():
        assert same_bits(final.weight, parts.finals[index].weight)
        assert same_state(dict(final.state), dict(parts.finals[index].state))
    for one, other in zip(whole.steps, parts.steps, strict=True):
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-12)
        assert one.update_norm == pytest.approx(other.update_norm, rel=1e-12)


def test_the_figures_of_a_step_are_those_of_the_recording() -> None:
    """Gradient norm and lr against the recording, update norm against the two checkpoints, in float64."""
    folder = PAIRS["adamw_lambda_cosine"]
    (row,) = replayed("adamw_lambda_cosine", "ckpt_t1.pt").steps
    grads = torch.load(folder / "grads_t_t1.pt", weights_only=True)
    norm = torch.cat([used.double().flatten() for used in grads["used"].values()]).norm()
    before, after = (torch.load(folder / one, weights_only=True)["model"] for one in ("ckpt_t.pt", "ckpt_t1.pt"))
    moved = torch.cat([(after[name].double() - before[name].double()).flatten() for name in names_of(folder)]).norm()
    assert row.gradient_norm == pytest.approx(float(norm), rel=1e-12)
    assert row.update_norm == pytest.approx(float(moved), rel=1e-5)  # one ulp of √v in a few elements
    assert (row.step, list(row.lr)) == (21, grads["lrs"][0])
    assert row.bias_correction1 == pytest.approx(1 - 0.9**21)
    assert row.bias_correction2 == pytest.approx(1 - 0.999**21)
