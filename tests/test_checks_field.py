"""A field trial: healthy runs of many kinds pass, and faults put into them at random are found where they are."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from field_faults import FAULTS
from field_runs import Run, run

import optinspect
from optinspect.report import Finding, Severity

NAMES = 0.8
"""Share of the findings on one parameter that must name it: by order alone some groups leave several names open."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loud(saved: object, path: Path) -> list[Finding]:
    torch.save(saved, path)
    report = optinspect.check(str(path))
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]


def assert_healthy(seeds: range, path: Path) -> None:
    for seed in seeds:
        made = run(seed)
        assert not loud(made.saved, path), (seed, made.kind)


def test_healthy_runs_pass(tmp_path: Path) -> None:
    assert_healthy(range(60), tmp_path / "c.pt")


@pytest.mark.slow
def test_many_healthy_runs_pass(tmp_path: Path) -> None:
    assert_healthy(range(1000, 1600), tmp_path / "c.pt")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    path = tmp_path_factory.mktemp("bases") / "c.pt"
    made = [run(seed, adam=True, steps=20) for seed in range(500, 516)]
    assert not any(loud(each.saved, path) for each in made)
    return made


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_where_it_is(name: str, bases: list[Run], tmp_path: Path) -> None:
    """One rule speaks, at the right place, and mostly by the right name."""
    r, tried, named = random.Random(name), 0, 0
    for base in r.sample(bases, len(bases)):
        sick = copy.deepcopy(base)
        fault = FAULTS[name](sick, r)
        if fault is None or tried == 4:
            continue
        tried += 1
        found = loud(sick.saved, tmp_path / "c.pt")
        assert any(fault.place in (each.where.route or "") for each in found), (base.kind, fault, found)
        assert len({each.rule for each in found}) == 1, (base.kind, fault, found)
        told = (fault.parameter in (each.where.parameter, *each.message.split()) for each in found)
        named += fault.parameter is None or any(told)
    assert tried >= 2 and named >= NAMES * tried - 1
