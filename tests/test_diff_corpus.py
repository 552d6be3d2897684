"""`diff` on real pairs of one run: the changed hyperparameters are exactly those that torch reads."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import optinspect

CORPUS = os.environ.get("OPTINSPECT_CORPUS")
COPIED = Path(__file__).parent / "data" / "pairs"
FOLDERS = sorted((Path(CORPUS) / "pairs" if CORPUS else COPIED).iterdir())
PAIRS = [
    (folder, a, b)
    for folder in FOLDERS
    for a, b in (("ckpt_t", "ckpt_t1"), ("ckpt_t", "ckpt_t10"), ("ckpt_t1", "ckpt_t10"))
    if (folder / f"{a}.pt").exists() and (folder / f"{b}.pt").exists()
]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def groups(saved: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = saved["optimizer"]["param_groups"]
    return [{key: value for key, value in group.items() if key not in ("params", "param_names")} for group in found]


def load(path: Path) -> dict[str, Any]:
    """The corpus' pairs are our own files: torch's full load is safe where its README says so."""
    found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return found


@pytest.mark.parametrize(
    ("folder", "a", "b"), [pytest.param(*pair, id=f"{pair[0].name}-{pair[1]}-{pair[2]}") for pair in PAIRS]
)
def test_changed_hyperparameters_and_weights_are_those_torch_reads(folder: Path, a: str, b: str) -> None:
    paths = [folder / f"{name}.pt" for name in (a, b)]
    try:
        one, two = map(load, paths)
    except Exception as problem:
        pytest.skip(f"torch does not read it with weights_only: {problem!s:.80}")
    if "optimizer" not in one or "model" not in one:
        pytest.skip("other keys than model and optimizer")
    report = optinspect.diff(*map(str, paths))
    tables = {table.key: table.rows for table in report.tables}
    expected = {
        (number, key)
        for number, (old, new) in enumerate(zip(groups(one), groups(two), strict=True))
        for key in old.keys() | new.keys()
        if key not in old or key not in new or not equal(old[key], new[key])
    }
    assert {(row["group_a"], row["key"]) for row in tables["groups"]} == expected
    weights = {row["name"]: row for row in tables["tensors"] if row["kind"] == "weight"}
    for name, row in weights.items():
        old, new = (saved["model"].get(name) for saved in (one, two))
        if old is None or new is None:
            continue
        assert row["bit_equal"] == torch.equal(old, new), name
        apart = (new.double() - old.double()).norm().item()
        assert row["difference_norm"] == pytest.approx(apart, rel=1e-6), name
    steps = json.loads((folder / "truth.json").read_text())["pair"].get("t")
    if steps is not None and a == "ckpt_t" and report.summary["steps_a"] is not None:
        assert report.summary["parameters_added"] == report.summary["parameters_removed"] == 0
