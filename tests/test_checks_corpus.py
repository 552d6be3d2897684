"""The rules on the corpus of real checkpoints: what is sick is found at the right place, what is healthy passes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.corpus import Case, cases

import optinspect
from optinspect.errors import OptinspectError
from optinspect.report import Finding, Severity

NEEDED = "OPTINSPECT_CORPUS names the corpus of real checkpoints"
pytestmark = pytest.mark.skipif(not os.environ.get("OPTINSPECT_CORPUS"), reason=NEEDED)

NOTED = ("maximize_true", "step_vs_global", "wd_everywhere", "wd_swapped")
"""Cases that a note is enough for. A scaler that is switched off, as it is on a CPU, saves an empty state too."""
PLACES = {
    "cs_": "exp_avg",
    "nan_exp_avg_sq": "exp_avg_sq",
    "neg_exp_avg_sq": "exp_avg_sq",
    "inf_exp_avg": "exp_avg",
    "lr_": "lr",
    "betas_": "betas",
    "beta2_one": "betas",
    "eps_": "eps",
    "wd_": "weight_decay",
    "scaler_": "scaler",
    "rng_": "rng",
    "sched_": "scheduler",
    "step_": "step",
    "names_": "optimizer",
    "dup_": "params",
    "params_": "params",
    "groups_": "param_groups",
    "group_p": "param_groups",
    "group_missing": "param_groups",
    "group_merged": "base_lrs",
    "state_": "optimizer.state",
    "moment": "optimizer.state",
    "extra_": "optimizer.state",
    "initial_lr": "param_groups",
    "maximize": "maximize",
    "opt_is": "optimizer",
    "ams": "max_exp_avg_sq",
    "model_extra": "old_head",
}
"""How a case is called → a part of the route that is right; others are judged by the parameter alone."""


def findings(path: Path, model: Path | None = None) -> tuple[Finding, ...]:
    return optinspect.check(str(path), model_state=None if model is None else str(model)).findings


def loud(found: tuple[Finding, ...]) -> list[Finding]:
    return [each for each in found if each.severity is not Severity.NOTE]


def in_one_file() -> Iterator[Case]:
    for case in cases("faults", "damaged"):
        if case.truth["detectable"] == "single-file":
            yield case


def one_file(case: Case) -> Path:
    return next(path for path in sorted(case.folder.iterdir()) if path.name != "truth.json")


@pytest.mark.parametrize("case", [*in_one_file()], ids=lambda case: case.id)
def test_a_fault_is_found_at_the_right_place(case: Case) -> None:
    try:
        found = findings(one_file(case))
    except OptinspectError as error:
        assert case.room == "damaged" and error.status == 2  # named, and refused
        return
    counting = list(found) if case.folder.name in NOTED else loud(found)
    assert counting, found
    place = next((part for name, part in PLACES.items() if case.folder.name.startswith(name)), "")
    told = str(case.truth.get("expected_finding"))
    parameter = told.split(maxsplit=1)[0].rstrip(":") if told.startswith("transformer.") else None
    assert any(place in (each.where.route or "") for each in counting), counting
    if parameter is not None:
        assert any(each.where.parameter == parameter or parameter in each.message for each in counting), counting


@pytest.mark.parametrize("case", [*in_one_file()], ids=lambda case: case.id)
def test_one_fault_is_one_finding(case: Case) -> None:
    """By rule: no second rule repeats what the first has said."""
    try:
        found = loud(findings(one_file(case)))
    except OptinspectError:
        return
    assert len({each.rule for each in found}) <= (2 if case.folder.name in ("other_model_hidden",) else 1), found


def healthy() -> Iterator[tuple[str, Path, Path | None]]:
    for case in cases("containers", "groups", "optimizers", "frameworks", "faults", "damaged", "pairs"):
        asked = "warn" in str(case.truth.get("expected_finding"))
        if case.truth.get("fault", "healthy") != "healthy" or asked or case.refusable:
            continue
        files = case.files if case.room in ("containers", "groups", "optimizers", "frameworks") else ()
        plain = [(path, None) for path in sorted(case.folder.glob("ckpt*.pt"))] if not files else []
        yield from ((case.id, path, model) for path, model in (*files, *plain))


@pytest.mark.parametrize(("name", "path", "model"), [*healthy()], ids=lambda value: str(value)[-40:])
def test_a_healthy_checkpoint_passes(name: str, path: Path, model: Path | None) -> None:
    assert not loud(findings(path, model)), name


def test_weights_that_were_rounded_are_found() -> None:
    for case in cases("pairs"):
        if case.folder.name == "weights_rounded_bf16":
            for path in case.folder.glob("ckpt_*.pt"):
                assert [each.rule for each in loud(findings(path))] == ["OI317"]
