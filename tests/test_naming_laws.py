"""Laws: what is called certain is certain, whatever the order, the groups and the gaps."""

from __future__ import annotations

from itertools import combinations
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from naming_builders import by_evidence, model, names, only, optimizer

from optinspect.naming.matching import matches

SHAPES = st.sampled_from([(2, 3), (3, 2), (3,), (2,), (4, 4), (5,), (6, 2), (7,), (1,), ()])
SEEDS = st.integers(0, 2**32)
Shape = tuple[int, ...]


@st.composite
def models(draw: st.DrawFn, least: int = 1) -> list[tuple[str, Shape]]:
    shapes = draw(st.lists(SHAPES, min_size=least, max_size=14))
    return [(f"layers.{n // 2}.{'bias' if n % 2 else 'weight'}", shape) for n, shape in enumerate(shapes)]


def cut(items: list[tuple[str, Shape]], random: Random) -> list[list[tuple[str, Shape]]]:
    edges = sorted(random.sample(range(1, len(items)), random.randint(0, min(3, len(items) - 1))))
    return [items[a:b] for a, b in zip([0, *edges], [*edges, len(items)], strict=True)]


@given(models(), SEEDS)
@settings(max_examples=300, deadline=None)
def test_no_permutation_gives_a_wrong_forced_name(parameters: list[tuple[str, Shape]], seed: int) -> None:
    random = Random(seed)
    shuffled = random.sample(parameters, random.randint(1, len(parameters)))
    groups = cut(shuffled, random)
    naming = only([model(parameters)], optimizer([[shape for _, shape in group] for group in groups]))
    truth = [name for name, _ in shuffled]
    assert [row.name for row in by_evidence(naming, "forced")] == [
        truth[row.index] for row in by_evidence(naming, "forced")
    ]


@given(models(), SEEDS)
@settings(max_examples=200, deadline=None)
def test_indices_without_a_shape_never_make_a_forced_name_wrong(parameters: list[tuple[str, Shape]], seed: int) -> None:
    random = Random(seed)
    shuffled = random.sample(parameters, len(parameters))
    hidden = set(random.sample(range(len(shuffled)), random.randint(0, len(shuffled))))
    shapes = [None if n in hidden else shape for n, (_, shape) in enumerate(shuffled)]
    naming = only([model(parameters)], optimizer([shapes]))
    for row in by_evidence(naming, "forced"):
        assert row.index not in hidden
        assert row.name == shuffled[row.index][0]


@given(models(2), models(2), SEEDS)
@settings(max_examples=150, deadline=None)
def test_a_second_model_in_the_file_never_makes_a_forced_name_wrong(
    ours: list[tuple[str, Shape]], theirs: list[tuple[str, Shape]], seed: int
) -> None:
    shuffled = Random(seed).sample(ours, len(ours))
    others = model([(f"other.{name}", shape) for name, shape in theirs], "b")
    naming = only([others, model(ours, "a")], optimizer([[shape for _, shape in shuffled]]))
    for row in by_evidence(naming, "forced"):
        assert str(row.name).removeprefix("a.") == shuffled[row.index][0]


@given(models(), st.lists(SHAPES, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_an_optimizer_of_something_else_forces_nothing(
    parameters: list[tuple[str, Shape]], others: list[Shape]
) -> None:
    """Loss weights, class centres, log alpha: few, and without the rest of any module. Names here have siblings."""
    pairs = [(f"m{n}.{leaf}", shape) for n, (_, shape) in enumerate(parameters) for leaf in ("weight", "bias")]
    pairs = [(name, (*shape, 9) if name.endswith("bias") else shape) for name, shape in pairs]
    if len(others) < len(pairs):
        assert not by_evidence(only([model(pairs)], optimizer([others])), "forced")


@given(models(), SEEDS)
@settings(max_examples=150, deadline=None)
def test_every_row_says_what_else_it_could_be(parameters: list[tuple[str, Shape]], seed: int) -> None:
    shuffled = Random(seed).sample(parameters, len(parameters))
    naming = only([model(parameters)], optimizer([[shape for _, shape in shuffled]]))
    for row, (truth, _) in zip(naming.parameters, shuffled, strict=True):
        alike = [name for name, shape in parameters if shape == shuffled[row.index][1]]
        if row.evidence in ("order", "none") and len(alike) <= 4:
            assert truth == row.name or truth in row.rivals


@given(models(), SEEDS)
@settings(max_examples=150, deadline=None)
def test_module_order_in_one_group_is_recovered(parameters: list[tuple[str, Shape]], seed: int) -> None:
    hidden = Random(seed).random() < 0.5
    shapes = [None if hidden and n % 3 == 0 else shape for n, (_, shape) in enumerate(parameters)]
    assert names(only([model(parameters)], optimizer([shapes]))) == [name for name, _ in parameters]


@given(models(3), SEEDS)
@settings(max_examples=150, deadline=None)
def test_a_recorded_list_is_believed_whole_or_not_at_all(parameters: list[tuple[str, Shape]], seed: int) -> None:
    shuffled = Random(seed).sample(parameters, len(parameters))
    wrote = [name for name, _ in shuffled]
    fits = [shape for _, shape in shuffled] == [shape for _, shape in parameters]
    naming = only([model(parameters)], optimizer([[shape for _, shape in parameters]], names=[wrote]))
    assert bool(naming.contradictions) is not fits
    assert [row.name for row in by_evidence(naming, "recorded")] == (wrote if fits else [])


@given(st.lists(st.sampled_from([(1,), (2,), (3,)]), max_size=7), st.data())
@settings(max_examples=200, deadline=None)
def test_order_keeping_assignments_are_counted_exactly(supply: list[Shape], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, min(4, len(supply))))
    chosen = data.draw(st.permutations(range(len(supply)))).copy()[:count]
    first = data.draw(st.integers(0, count))
    groups = [
        [data.draw(st.sampled_from([supply[place], None])) for place in sorted(part)]
        for part in (chosen[:first], chosen[first:])
    ]
    truth = brute_force(groups, supply)
    found = matches(groups, supply)
    assert found is not None
    assert found.solutions == len(truth)
    if truth:
        for number, group in enumerate(groups):
            for member in range(len(group)):
                places = [solution[number][member] for solution in truth]
                expected = {place: places.count(place) / len(truth) for place in set(places)}
                assert found.chances[number][member].keys() == expected.keys()
                assert all(abs(found.chances[number][member][p] - share) < 1e-12 for p, share in expected.items())


def brute_force(groups: list[list[Shape | None]], supply: list[Shape]) -> list[tuple[tuple[int, ...], ...]]:
    def fits(group: list[Shape | None], places: tuple[int, ...]) -> bool:
        return all(shape is None or supply[place] == shape for shape, place in zip(group, places, strict=True))

    first, second = ([c for c in combinations(range(len(supply)), len(g)) if fits(g, c)] for g in groups)
    return [(a, b) for a in first for b in second if not set(a) & set(b)]
