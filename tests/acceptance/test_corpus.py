"""Every case of the corpus, one test each."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from .corpus import HEALTHY_ROOMS, HURT_ROOMS, LATER_ROOMS, Case, cases
from .judge import Verdict, judge
from .rooms import hurt

HONEST = {case.id: case for case in cases(*HEALTHY_ROOMS, *LATER_ROOMS)}


@cache
def verdict(name: str) -> Verdict:
    return judge(HONEST[name])


@pytest.mark.parametrize("name", HONEST)
def test_opens_and_says_what_is_true(name: str) -> None:
    assert verdict(name).wrong == []


@pytest.mark.parametrize("case", list(cases(*HURT_ROOMS)), ids=lambda case: case.id)
def test_bad_files_do_no_harm(case: Case) -> None:
    assert hurt(case).wrong == []


def test_far_more_names_are_right_than_by_position() -> None:
    """An index without a name is no mistake; a wrong name is."""
    counts: Counter[str] = sum((verdict(name).names for name in HONEST), Counter())
    ours = {end: sum(n for key, n in counts.items() if key.endswith(end)) for end in ("right", "wrong")}
    right, wrong = (ours[end] - counts[f"position {end}"] for end in ("right", "wrong"))
    assert wrong * 4 < counts["position wrong"]
    assert right > counts["position right"]
