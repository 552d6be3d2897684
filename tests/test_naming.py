"""Naming, case by case: what the evidence allows, and what it must not say."""

from __future__ import annotations

import time
from random import Random

import pytest
from naming_builders import by_evidence, checkpoint, entry, model, names, only, optimizer

from optinspect.checkpoint import ModelState
from optinspect.naming import EVIDENCE, name_parameters, unoptimized
from optinspect.naming.words import affinity

UNIQUE = [("a.weight", (4, 3)), ("a.bias", (4,)), ("b.weight", (2, 4)), ("b.bias", (2,))]


def gpt(layers: int, width: int = 8) -> list[tuple[str, tuple[int, ...]]]:
    rows: list[tuple[str, tuple[int, ...]]] = [("wte.weight", (50, width)), ("wpe.weight", (16, width))]
    for n in range(layers):
        for part, size in (("ln_1", None), ("attn", (3 * width, width)), ("ln_2", None), ("mlp", (width, 4 * width))):
            rows += [(f"h.{n}.{part}.weight", size or (width,)), (f"h.{n}.{part}.bias", (size or (width,))[:1])]
    return [*rows, ("ln_f.weight", (width,)), ("ln_f.bias", (width,)), ("lm_head.weight", (50, width))]


def shapes(parameters: list[tuple[str, tuple[int, ...]]]) -> list[tuple[int, ...]]:
    return [shape for _, shape in parameters]


def test_the_registry_has_the_strongest_source_first() -> None:
    assert [source.__module__.rpartition(".")[2] for source in EVIDENCE] == [
        "step",
        "live",
        "recorded",
        "shapes",
        "told",
        "order",
    ]


def test_shapes_that_occur_once_force_the_name_in_any_order() -> None:
    backward = UNIQUE[::-1]
    naming = only([model(UNIQUE, ordered=False)], optimizer([shapes(backward)]))
    assert [(row.name, row.evidence) for row in naming.parameters] == [(name, "forced") for name, _ in backward]
    assert all(row.rivals == () and row.convention is None for row in naming.parameters)


def test_nothing_is_forced_when_the_model_is_another() -> None:
    naming = only([model(UNIQUE)], optimizer([[(4, 3), (4,), (2, 4), (5,)]]))
    assert not by_evidence(naming, "forced")
    assert "shapes force no name" in naming.notes[0]


def test_a_guessed_buffer_of_the_same_shape_stops_force() -> None:
    naming = only([model([*UNIQUE, ("bn.running_mean", (2,))])], optimizer([shapes(UNIQUE)]))
    assert [row.evidence for row in naming.parameters] == ["forced", "forced", "forced", "order"]


def test_integer_tensors_are_no_candidates() -> None:
    counts = ModelState("model", (*(entry(*row) for row in UNIQUE), entry("seen", (2,), dtype="int64")), True)
    assert len(by_evidence(only([counts], optimizer([shapes(UNIQUE)])), "forced")) == 4


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 4)])
def test_a_parameter_outside_the_model_is_not_forced_into_it(shape: tuple[int, ...]) -> None:
    """log alpha, loss weights, class centres: an optimizer of its own whose shape the model has by chance."""
    rows = [*UNIQUE, ("c.weight", (1,)), ("c.bias", ())]
    assert not by_evidence(only([model(rows)], optimizer([[shape]])), "forced")


def test_an_averaged_copy_does_not_stop_force_and_is_not_named() -> None:
    naming = only([model(UNIQUE, "ema", role="ema"), model(UNIQUE)], optimizer([shapes(UNIQUE)]))
    assert {(row.evidence, row.model) for row in naming.parameters} == {("forced", 1)}


def test_twin_models_leave_the_names_certain() -> None:
    naming = only([model(UNIQUE, "online"), model(UNIQUE, "target")], optimizer([shapes(UNIQUE)]))
    assert names(naming) == [name for name, _ in UNIQUE]


def test_a_bare_optimizer_has_no_names_but_recorded_ones() -> None:
    silent = only([], optimizer([shapes(UNIQUE)]))
    assert {(row.name, row.evidence, row.rivals) for row in silent.parameters} == {(None, "none", ())}
    told = only([], optimizer([shapes(UNIQUE)], names=[[f"module._orig_mod.{name}" for name, _ in UNIQUE]]))
    assert [(row.name, row.evidence, row.entry) for row in told.parameters] == [
        (name, "recorded", None) for name, _ in UNIQUE
    ]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net.backbone."])
def test_recorded_names_find_the_model_behind_prefixes(prefix: str) -> None:
    wrote = [prefix + name for name, _ in UNIQUE]
    naming = only([model(UNIQUE)], optimizer([shapes(UNIQUE)], names=[wrote]))
    assert names(naming) == [name for name, _ in UNIQUE]
    assert all(row.entry is not None and row.evidence == "recorded" for row in naming.parameters)


def test_recorded_names_without_the_model_s_prefix() -> None:
    stored = [(f"model.{name}", shape) for name, shape in UNIQUE]
    naming = only([model(stored)], optimizer([shapes(UNIQUE)], names=[[name for name, _ in UNIQUE]]))
    assert names(naming) == [name for name, _ in stored]


def test_recorded_adapter_names_lose_the_adapter_as_peft_s_files_do() -> None:
    stored = [("x.lora_A.weight", (2, 4)), ("x.lora_B.weight", (4, 2)), ("ln.weight", (4,))]
    live = ["x.lora_A.default.weight", "x.lora_B.default.weight", "ln.modules_to_save.default.weight"]
    naming = only([model(stored)], optimizer([shapes(stored)], names=[live]))
    assert names(naming) == [name for name, _ in stored]


def test_a_recorded_name_that_the_shape_contradicts_spoils_the_list() -> None:
    rows = gpt(2)
    wrote = [name for name, _ in rows]
    wrote[0], wrote[2] = wrote[2], wrote[0]
    naming = only([model(rows)], optimizer([shapes(rows)], names=[wrote]))
    assert [clash.index for clash in naming.contradictions] == [0, 2]
    assert not by_evidence(naming, "recorded")
    assert names(naming) == [name for name, _ in rows]


def test_too_few_and_unknown_recorded_names_spoil_their_group_only() -> None:
    rows = gpt(1)
    matrices, vectors = ([row for row in rows if len(row[1]) == n] for n in (2, 1))
    told = [[name for name, _ in matrices], ["ghost", *(name for name, _ in vectors[1:])]]
    for second in (told[1], told[1][1:]):
        groups = [shapes(matrices), shapes(vectors)]
        naming = only([model(rows)], optimizer(groups, names=[told[0], second], weight_decay=[0.1, 0.0]))
        assert len(naming.contradictions) == 1
        assert names(naming) == [name for name, _ in (*matrices, *vectors)]
        assert {row.evidence for row in naming.parameters[: len(matrices)]} == {"recorded"}
        assert "recorded" not in {row.evidence for row in naming.parameters[len(matrices) :]}


def test_a_recorded_parameter_outside_the_model_keeps_its_name() -> None:
    groups = [[*shapes(UNIQUE), (7,)]]
    naming = only([model(UNIQUE)], optimizer(groups, names=[[*(name for name, _ in UNIQUE), "loss.temperature"]]))
    assert (naming.parameters[-1].name, naming.parameters[-1].entry) == ("loss.temperature", None)
    assert not naming.contradictions


def test_state_moved_between_two_indices_withholds_the_forced_name() -> None:
    rows = [(f"l{n}.weight", (n + 2, 3)) for n in range(8)]
    moved = shapes(rows)
    moved[2], moved[5] = moved[5], moved[2]
    naming = only([model(rows)], optimizer([moved]))
    assert names(naming) == [name for name, _ in rows]
    assert [row.index for row in by_evidence(naming, "order")] == [2, 5]
    assert "2 shapes differ" in naming.notes[-1]


def test_one_tensor_missing_in_the_model_leaves_the_others_named() -> None:
    rows = gpt(3)
    naming = only([model([row for row in rows if row[0] != "h.1.attn.weight"])], optimizer([shapes(rows)]))
    assert [(row.index, row.evidence) for row in naming.parameters if row.name != rows[row.index][0]] == [(12, "none")]


def test_random_order_is_left_unnamed() -> None:
    rows = gpt(4)
    shuffled = Random(3).sample(rows, len(rows))
    naming = only([model(rows)], optimizer([shapes(shuffled)]))
    told = [row for row in naming.parameters if row.name is not None]
    assert all(row.name == shuffled[row.index][0] for row in told)
    assert all(row.rivals for row in naming.parameters if row.name is None)


def test_groups_by_submodule_in_any_order() -> None:
    parts = {key: [(f"{key}.{leaf}", shape) for leaf, shape in UNIQUE] for key in ("base", "actor", "critic")}
    rows = [row for part in parts.values() for row in part]
    order = ["critic", "base", "actor"]
    groups = [shapes(parts[key]) for key in order]
    naming = only([model(rows)], optimizer(groups, name=order, lr=[1e-4, 1e-3, 1e-2]))
    assert names(naming) == [name for key in order for name, _ in parts[key]]
    assert naming.parameters[0].solutions == 6
    assert set(naming.parameters[0].rivals) == {"base.a.weight", "actor.a.weight"}


def test_a_list_of_tensors_has_no_names() -> None:
    naming = only([model([("[0]", (4, 3)), ("[1]", (4,))])], optimizer([[(4, 3), (4,)]]))
    assert names(naming) == [None, None]


def test_empty_and_odd_optimizers() -> None:
    assert only([model(UNIQUE)], optimizer([])).parameters == ()
    assert only([model(UNIQUE)], optimizer([[], []])).parameters == ()
    assert name_parameters(checkpoint([model(UNIQUE)], [])) == ()
    assert names(only([model([])], optimizer([[(2,), None]]))) == [None, None]


def test_unoptimized_lists_nothing_that_an_unnamed_index_may_be() -> None:
    rows = [("a", (3,)), ("b", (3,)), ("c", (4, 2)), ("d", (5,))]
    found = checkpoint([model(rows, ordered=False)], [optimizer([[(3,), (4, 2)]])])
    assert [e.name for _, e, _ in unoptimized(found, name_parameters(found))] == ["d"]


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        ("optimizer_G", "netG", 3),
        ("opt_d", "discriminator", 2),
        ("actor.optimizer", "actor", 3),
        ("optimizer", "model", 0),
        ("optimizer_states[0]", "state_dict", 0),
        ("opt_g", "discriminator", 0),
    ],
)
def test_keys_that_mean_the_same(one: str, other: str, close: int) -> None:
    assert affinity(one, other) == close


@pytest.mark.parametrize("backward", [False, True])
def test_ten_thousand_parameters_in_two_hundred_groups(backward: bool) -> None:
    rows = gpt(1250)
    groups = [rows[n : n + 50] for n in range(0, len(rows), 50)]
    laid = groups[::-1] if backward else groups
    started = time.process_time()
    naming = only([model(rows)], optimizer([shapes(group) for group in laid]))
    assert time.process_time() - started < 3  # 0.2 s measured; shared machines are slower
    assert names(naming) == [name for group in laid for name, _ in group]


def test_shuffling_ten_thousand_parameters_ends() -> None:
    rows = gpt(1250)
    shuffled = Random(1).sample(rows, len(rows))
    groups = [shapes(shuffled[n : n + 50]) for n in range(0, len(rows), 50)]
    started = time.process_time()
    naming = only([model(rows)], optimizer(groups))
    assert time.process_time() - started < 6  # 0.6 s measured
    assert all(row.name is None or row.name == shuffled[row.index][0] for row in naming.parameters)
