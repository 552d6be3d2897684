"""Slots that are lists (LBFGS' history): told by one in the state cell, their rows folded where rows fold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optinspect import cli, ranges
from optinspect.commands import show
from optinspect.commands.collapse_lists import folds
from optinspect.report import Table
from tests.test_folding import unfolded

HISTORY = 7


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LBFGS' state_dict as torch makes it; the history holds fewer when its last steps were too short."""
    torch.manual_seed(4)
    model = torch.nn.Linear(6, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=HISTORY + 5, history_size=HISTORY)
    inputs, wanted = torch.randn(40, 6), torch.randn(40, 3)

    def loss() -> float:
        optimizer.zero_grad()
        value = (model(inputs) - wanted).pow(4).mean()
        value.backward()
        return float(value.item())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    assert len(optimizer.state_dict()["state"][0]["old_dirs"]) == HISTORY
    found = tmp_path_factory.mktemp("lists") / "ckpt.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, found)
    return found


def statistics(path: Path, collapse: int | None) -> Table:
    report = show.build(str(path), show.Options(collapse=collapse))
    return next(table for table in report.tables if table.key == "statistics")


def test_rows_of_a_list_fold_to_one_that_is_of_all_its_values(path: Path) -> None:
    state = torch.load(path)["optimizer"]["state"][0]
    whole, folded = statistics(path, None), statistics(path, 0)
    rows = {row["slot"]: row for row in folded.rows}
    for slot in ("old_dirs", "old_stps", "ro"):
        row = rows[f"{slot}.{{0..{HISTORY - 1}}}"]
        values = torch.cat([each.reshape(-1) for each in state[slot]]).double().numpy()
        assert (row["folded"], row["count"], row["name"]) == (HISTORY, values.size, "weight")
        assert row["rms"] == pytest.approx(float(np.sqrt(np.mean(values**2))), rel=1e-6)  # measured: 4e-8
        assert row["max"] == pytest.approx(values.max(), rel=1e-6)
    told = [(row["name"], slot) for row in folded.rows for slot in unfolded(row["slot"])]
    assert sorted(told) == sorted((row["name"], row["slot"]) for row in whole.rows)


def test_the_state_cell_tells_a_list_by_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People's tables only: a document has every slot."""
    assert cli.main(["show", str(path), "--no-stats", "--width", "0"]) == 0
    printed = capsys.readouterr().out
    assert f"old_dirs.{{0..{HISTORY - 1}}}, old_stps.{{0..{HISTORY - 1}}}" in printed
    assert "old_dirs.3" not in printed
    assert cli.main(["show", str(path), "--no-stats", "--format", "json"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)["tables"]["parameters"]
    assert [slot for slot in first["slots"] if slot.startswith("old_dirs")] == [f"old_dirs.{n}" for n in range(HISTORY)]


def test_no_collapse_shows_every_row(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {}
    for option in ("--collapse", "--no-collapse"):
        assert cli.main(["show", str(path), "--width", "0", option]) == 0
        lines[option] = capsys.readouterr().out.splitlines()
    assert sum("  old_stps." in line for line in lines["--no-collapse"]) == HISTORY
    assert len(lines["--collapse"]) < len(lines["--no-collapse"]) - 3 * HISTORY + 4


PARTS = st.sampled_from(["h", "0", "1", "2", "3", "4", "w", "{", "al"])
NAMES = st.none() | st.lists(PARTS, min_size=1, max_size=3).map(".".join)
ROWS = st.lists(st.tuples(st.integers(0, 2), NAMES, NAMES.filter(bool), st.booleans()), max_size=60)


@given(ROWS)
def test_every_row_is_told_once_and_nothing_else(cells: list[tuple[int, str | None, str, bool]]) -> None:
    """Whatever the names and the slots are; of what has no name, which slots."""
    keys = ("index", "name", "slot", "alike")
    rows = [{"optimizer": 0, **dict(zip(keys, cell, strict=True))} for cell in cells]
    found = folds(rows, "slot", lambda row: (row["slot"], row["alike"]))
    assert sorted(position for each, _ in found for position in each.members) == list(range(len(rows)))
    for each, named in found:
        members = [rows[position] for position in each.members]
        assert len({row["alike"] for row in members}) == 1
        slots = named.get("slot", members[0]["slot"])
        if named["name"] is None:
            assert {row["name"] for row in members} == {None}
            continue
        told = {
            (name, slot)
            for name in unfolded(named["name"])
            for slot in (unfolded(slots) if "slot" in named else [slots])
        }
        assert told == {(row["name"], row["slot"]) for row in members}
        assert len(told) == len(members)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map(".".join), unique=True, max_size=40))
def test_a_list_among_names_is_told_in_its_first_place(names: list[str]) -> None:
    told = ranges.listed(names)
    stems = ranges.lists(names)
    spelt: list[str] = []
    for each in told:
        stem = each.rpartition(".{")[0]
        ours = stem in stems and each not in names
        spelt += [f"{stem}.{number}" for number in stems[stem]] if ours else [each]
    assert sorted(spelt) == sorted(names)
    assert [each for each in told if each in names] == [each for each in names if each in told]
