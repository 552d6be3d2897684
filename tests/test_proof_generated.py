"""Random configurations, really trained: no wrong verdict, no wrong name, lr and betas as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from proof_runs import Run, config, train

import optinspect
from optinspect.proof import Proof, prove

VARIANTS = {"AdamW": "adamw", "AMSGrad": "adamw", "Adam": "adam", "NAdam": "nadam", "SGD": "sgd"}
FEW, ALL = 20, 200


def proof_of(run: Run) -> Proof:
    with optinspect.open(str(run.a)) as a, optinspect.open(str(run.b)) as b:
        return prove(a, b)


def check(run: Run) -> None:
    proof = proof_of(run)
    c = run.config
    assert proof.verdict == "verified", (c, proof.findings, proof.skipped)
    assert proof.variant == VARIANTS[c.kind], (c, proof.variants_fitting)
    wrong = [(p.index, p.name) for p in proof.parameters if p.evidence == "step" and p.name != run.names[p.index]]
    assert not wrong, c
    for group, lr in zip(proof.groups, run.lrs, strict=True):
        if group.lr_inferred is None or group.lr_error is None:
            assert c.kind == "SGD" and lr < 1e-6, (c, group)  # nothing moved by more than its rounding
            continue
        assert abs(group.lr_inferred - lr) <= 5 * group.lr_error, (c, group)
        if c.kind != "SGD" and lr >= 1e-5:  # SGD's movement has no lower bound, so nor has its share of rounding
            assert group.lr_inferred == pytest.approx(lr, rel=1e-5), (c, group)
        if c.kind != "SGD" and group.betas_inferred is not None:
            for inferred, true in zip(group.betas_inferred, c.betas, strict=True):
                if inferred is not None:
                    assert 1 - inferred == pytest.approx(1 - true, rel=1e-3), (c, group)
        if group.weight_decay_inferred is not None and group.weight_decay_error is not None:
            off = abs(group.weight_decay_inferred - (group.weight_decay or 0.0))
            assert off <= 5 * group.weight_decay_error, (c, group)
    if proof.gradient_norm is None:
        assert any(wd for _, wd in c.groups) and c.kind in ("SGD", "Adam", "NAdam"), c  # whose L2 is in it is not told
        assert any(p.evidence != "step" for p in proof.parameters), c
    else:
        assert proof.gradient_norm == pytest.approx(run.norm, rel=1e-4), c
    if proof.clipped_at is not None and c.clip is not None and run.norm > 0.99 * c.clip:
        assert proof.clipped_at == c.clip


@pytest.mark.parametrize("seed", range(FEW))
def test_a_run_is_verified_with_what_it_used(seed: int, tmp_path: Path) -> None:
    check(train(tmp_path, config(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FEW, ALL))
def test_many_runs_are_verified(seed: int, tmp_path: Path) -> None:
    check(train(tmp_path, config(seed)))
