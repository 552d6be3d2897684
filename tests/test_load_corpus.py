"""`optinspect.load` on the larger corpus: live objects built from each case's truth, the file as it is."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
import torch

import optinspect
from optinspect.errors import Mismatch
from tests.live_cases import corpus_objects, same, truth_of

CORPUS = os.environ.get("OPTINSPECT_CORPUS")
needs_corpus = pytest.mark.skipif(CORPUS is None, reason="OPTINSPECT_CORPUS is not set")

REVEALED = """
    betas_above beta2_one dtype_all_moments_bf16 dtype_moment_fp16 dup_index_same_shape eps_negative
    extra_index  extra_index_next lr_100x lr_inf lr_nan lr_negative lr_one_group maximize_true
    missing_state_half missing_state_one  moment_int_dtype moments_aliased names_short
    names_swapped_same_shape names_unknown params_permuted_same_shape  state_empty state_str_keys
    step_nan step_reset_all step_reset_one wd_everywhere wd_negative wd_swapped
""".split()  # noqa: SIM905
"""Faults that torch loads without a word, and that live objects, or the values on their way to them, reveal."""


@needs_corpus
@pytest.mark.parametrize("case", REVEALED)
def test_the_corpus_s_silent_faults_are_refused(case: str) -> None:
    folder = Path(CORPUS or "") / "faults" / case
    truth = truth_of(folder)
    assert truth["resume"]["works"], "torch accepts it"
    model, (optimizer,) = corpus_objects(truth)
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    with pytest.raises(Mismatch):
        optinspect.load(optimizer, folder / "ckpt.pt", model, load_model=True)
    assert same(before, (optimizer.state_dict(), model.state_dict()))


@needs_corpus
@pytest.mark.parametrize("room", ["faults", "groups", "optimizers"])
def test_the_corpus_s_healthy_files_are_loaded_to_the_bit(room: str) -> None:
    seen = 0
    for path in sorted((Path(CORPUS or "") / room).glob("*/truth.json")):
        truth = truth_of(path.parent) if room == "faults" else json.loads(path.read_text())
        plain = truth["fault"] == "healthy" and len(truth["models"]) == len(truth["optimizers"]) == 1
        if not plain or not truth["optimizers"][0]["cls"].startswith("torch.optim") or path.parent.name in UNLOADABLE:
            continue
        file = path.parent / truth["optimizers"][0]["file"]
        model, (ours,) = corpus_objects(truth)
        _, (theirs,) = corpus_objects(truth)
        optinspect.load(ours, file, model)
        held = torch.load(file, weights_only=False)
        for step in truth["optimizers"][0]["path"]:
            held = held[step]
        theirs.load_state_dict(held)
        assert same(ours.state_dict(), theirs.state_dict()), path
        seen += 1
    assert seen > 10


UNLOADABLE = ("torch_sgd_sparse_momentum",)
"""Sparse momentum: refused, not built."""
