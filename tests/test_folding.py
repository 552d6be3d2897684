"""Names folded by their numbers, and whole numbers as ranges: exact, and read back to what they were."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optinspect import ranges
from optinspect.commands.folded_names import LONGEST, boxes, fold, matcher
from optinspect.commands.selection import Selection
from optinspect.errors import UsageError

PIECE = re.compile(r"(\d+)(?:\.\.(\d+))?(?:\.\.(\d+))?")
"""Written here anew, so that what folds and what unfolds do not share a mistake."""


def read_back(text: str) -> list[int]:
    found: list[int] = []
    for piece in text.split(",") if text else []:
        match = PIECE.fullmatch(piece)
        assert match is not None, piece
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        found += range(first, last + 1, step)
    return found


def unfolded(name: str) -> list[str]:
    """Every name that a folded name stands for."""
    pieces: list[list[str]] = [[""]]
    position = 0
    while position < len(name):
        if name.startswith(("{{", "}}"), position):
            pieces.append([name[position]])
            position += 2
        elif name[position] == "{":
            end = name.index("}", position)
            pieces.append([str(number) for number in read_back(name[position + 1 : end])])
            position = end + 1
        else:
            pieces.append([name[position]])
            position += 1
    return ["".join(each) for each in itertools.product(*pieces)]


NUMBERS = st.lists(st.integers(0, 40) | st.integers(0, 10**19))
PART = st.sampled_from(
    ["h", "attn", "0", "1", "2", "3", "10", "00", "01", "{", "}", "{0..3}", "w1", "w2", "٣", "", "9" * 25]
)
NAMES = st.lists(st.lists(PART, min_size=1, max_size=4).map(".".join), max_size=40)


@given(NUMBERS)
def test_ranges_are_read_back(numbers: list[int]) -> None:
    text = ranges.written(ranges.pairs(numbers))
    assert sorted(set(numbers)) == sorted(read_back(text))
    assert len(read_back(text)) == len(set(numbers)) == ranges.count(ranges.pairs(numbers))


@given(st.lists(st.integers(0, 10**17), min_size=1))
def test_our_own_reading_of_ranges_is_the_same(numbers: list[int]) -> None:
    text = ranges.written(ranges.pairs(numbers))
    assert re.fullmatch(ranges.LIST, text)
    assert [number for span in ranges.spans(text) for number in span] == read_back(text)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([3, 4], "3,4"),
        ([0, 2, 5, 6, 7, 8, 9, 10, 11], "0,2,5..11"),
        (range(48), "0..47"),
        (range(4, 140, 12), "4..136..12"),
        ([0, 2, 4], "0,2,4"),
        ([1, 5, 9, 13, 20], "1..13..4,20"),
        ([7, 7, 7], "7"),
    ],
)
def test_how_ranges_are_written(numbers: list[int], text: str) -> None:
    assert ranges.written(ranges.pairs(numbers)) == text


@given(NAMES)
def test_folding_is_exact(names: list[str]) -> None:
    found = fold(names, [0] * len(names))
    told = [name for each in found if each.name is not None for name in unfolded(each.name)]
    assert sorted(told) == sorted(names)  # a name that occurs twice is told twice
    assert sorted(position for each in found for position in each.members) == list(range(len(names)))
    for each in found:
        assert each.name is not None
        assert sorted(unfolded(each.name)) == sorted(names[position] for position in each.members)


@given(NAMES, st.data())
def test_only_what_is_alike_folds(names: list[str], data: st.DataObject) -> None:
    alike = data.draw(st.lists(st.integers(0, 2), min_size=len(names), max_size=len(names)))
    for each in fold(names, alike):
        assert len({alike[position] for position in each.members}) == 1


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2))))
def test_boxes_hold_every_point_once(points: set[tuple[int, int, int]]) -> None:
    found = [point for box in boxes(sorted(points)) for point in itertools.product(*box)]
    assert sorted(found) == sorted(points)


@given(NAMES)
def test_a_folded_name_as_a_filter_takes_what_it_stands_for(names: list[str]) -> None:
    universe = {*names, "h.0", "h.1", "h.2", "h.12", "h.x", "w1"}
    for each in fold(names, [0] * len(names)):
        assert each.name is not None
        if "{" in each.name and len(each.members) > 1:
            assert {name for name in universe if matcher(each.name)(name)} == set(unfolded(each.name))


def test_experts_of_layers() -> None:
    names = [f"layers.{layer}.experts.{expert}.w1" for layer in range(32) for expert in range(8)]
    assert [each.name for each in fold(names, [0] * 256)] == ["layers.{0..31}.experts.{0..7}.w1"]
    names.remove("layers.5.experts.3.w1")
    assert [each.name for each in fold(names, [0] * 255)] == [
        "layers.{0..4,6..31}.experts.{0..7}.w1",
        "layers.5.experts.{0..2,4..7}.w1",
    ]


def test_numbers_inside_words_do_not_fold() -> None:
    names = ["fc1.weight", "fc2.weight", "ln_1.weight", "ln_2.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight"]
    assert [each.name for each in fold(names, [0] * 6)] == [*names[:4], "layer1.{0,1}.conv1.weight"]


def test_what_has_no_name_is_folded_by_what_is_alike() -> None:
    found = fold([None, None, None, "a.1"], ["x", "y", "x", "x"])
    assert [(each.name, each.members) for each in found] == [(None, (0, 2)), (None, (1,)), ("a.1", (3,))]


def test_numbers_without_order_give_names_of_a_bearable_length() -> None:
    numbers = [n * n % 4001 for n in range(600)]
    names = [f"blocks.{n}.weight" for n in dict.fromkeys(numbers)]
    found = fold(names, [0] * len(names))
    assert sorted(name for each in found for name in unfolded(each.name or "")) == sorted(names)
    assert all(len(each.name or "") <= LONGEST for each in found)


def test_hostile_names_take_no_time() -> None:
    names = ["0." * 50_000, "0." * 50_000 + "1", "9" * 10_000, *(["same.0"] * 5_000)]
    assert len(fold(names, [0] * len(names))) == len(names)


@pytest.mark.parametrize(
    ("glob", "taken", "refused"),
    [
        ("h.{0..3}.attn*", ["h.0.attn.weight", "h.3.attn"], ["h.4.attn", "h.03.attn", "h.x.attn"]),
        ("h.{0..8..4,9}.*", ["h.0.a", "h.4.a", "h.9.b"], ["h.1.a", "h.10.a"]),
        ("h.{1,2}.[!wb]*", ["h.1.a"], ["h.1.w", "h.3.a"]),
        ("h.{0..3}.w?", ["h.0.w1"], ["h.0.w", "h.0.w12"]),
        ("a{b}.*", ["a{b}.c"], ["ab.c"]),
        ("!h.{0..3}.*", ["g.0.a", "h.4.a"], ["h.0.a"]),
    ],
)
def test_filters_take_lists_of_numbers(glob: str, taken: list[str], refused: list[str]) -> None:
    selection = Selection(filters=(glob,))
    assert all(selection.takes_name([name]) for name in taken)
    assert not any(selection.takes_name([name]) for name in refused)


def test_a_filter_that_is_no_glob_is_refused() -> None:
    with pytest.raises(UsageError, match="not a glob"):
        Selection(filters=("h.{0..3}.[z-a]",)).takes_name(["h.0.a"])
