"""`summary` of live objects agrees with `show` of what they save: row by row, in every column that both have."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import optinspect  # noqa: E402
from tests.summary_cases import CASES, case, names_of  # noqa: E402

HOW_NAMED = {"evidence", "convention", "solutions", "rivals"}
"""A file rests names on shapes and order, live objects on identity."""
OF_THE_NAME = {"name", "aliases", "dtype", "device", "shape", "elements", "update_ratio", "indices"}
"""What a file shows of a row only as far as it has named it."""

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Rows], dict[str, Rows]]]:
    """Of a case, the tables of the live objects and of the file; each case is trained once."""

    @cache
    def tables(name: str) -> Any:
        model, optimizer = case(name)
        path = tmp_path_factory.mktemp("saved") / "saved.pt"
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
        live = optinspect.summary(optimizer, model, weights=True).report
        saved = optinspect.show(str(path), weights=True)
        return tuple({t.key: [dict(row) for row in t.rows] for t in report.tables} for report in (live, saved))

    return tables


def assert_alike(live: dict[str, Any], saved: dict[str, Any], leaving_out: set[str]) -> None:
    shared = live.keys() & saved.keys() - leaving_out
    assert shared
    assert {key: live[key] for key in shared} == {key: saved[key] for key in shared}


@pytest.mark.parametrize("name", CASES)
def test_every_row_that_both_have_says_the_same(name: str, both: Any) -> None:
    live, saved = both(name)
    for table in ("optimizers", "groups"):
        assert len(live[table]) == len(saved[table])
        for mine, theirs in zip(live[table], saved[table], strict=True):
            unknown = {"elements"} if theirs["elements"] is None else set()  # a file without state has no shapes
            assert_alike(mine, theirs, unknown)
    assert len(live["parameters"]) == len(saved["parameters"])
    same_name = set()
    for mine, theirs in zip(live["parameters"], saved["parameters"], strict=True):
        alike = mine["name"] == theirs["name"]
        assert alike or theirs["evidence"] in ("order", "none"), (mine["name"], theirs)
        same_name |= {mine["index"]} if alike else set()
        assert_alike(mine, theirs, HOW_NAMED | (set() if alike else OF_THE_NAME))
    mine_by_place = {
        (row["index"], row["slot"], row["name"]): row for row in live["statistics"] if row["index"] in same_name
    }
    theirs_by_place = {
        (row["index"], row["slot"], row["name"]): row for row in saved["statistics"] if row["index"] in same_name
    }
    assert mine_by_place == theirs_by_place


@pytest.mark.parametrize("name", CASES)
def test_what_is_in_no_group_is_the_same(name: str, both: Any) -> None:
    live, saved = both(name)
    if any(row["name"] is None for row in saved["parameters"]):
        pytest.skip("the file leaves a parameter unnamed, which may be any of these")
    if [row["name"] for row in live["parameters"]] != [row["name"] for row in saved["parameters"]]:
        pytest.skip("the file's names rest on an order, which is another here")
    assert len(live["unoptimized"]) == len(saved["unoptimized"])
    for mine, theirs in zip(live["unoptimized"], saved["unoptimized"], strict=True):
        assert_alike(mine, {**theirs, "kind": theirs["kind"].removesuffix("?")}, set())


@pytest.mark.parametrize("name", CASES)
def test_names_are_those_of_the_objects(name: str) -> None:
    model, optimizer = case(name)
    stepped = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    rows = optinspect.summary(model, optimizer, stats=False).rows("parameters")
    prefix = "module." if name == "wrapped" else ""
    assert [prefix + row["name"] for row in rows] == names_of(stepped, model)
    assert {row["evidence"] for row in rows} == {"live"}
    assert [row["requires_grad"] for row in rows] == [tensor.requires_grad for tensor in stepped]
