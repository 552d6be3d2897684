"""`optinspect.load` against torch itself: what it loads is bit-equal, what it says torch would do torch does."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import optinspect
from optinspect.errors import Mismatch, OptinspectError, Undecidable, UsageError
from tests.live_cases import Block, adamw, reaction, same, save, trained, two_groups

Edit = Callable[[dict[str, Any]], Any]


def at(path: str, value: Any) -> Edit:
    """Set one value of the optimizer's dict: "param_groups.0.lr"."""

    def edit(whole: dict[str, Any]) -> None:
        home: Any = whole["optimizer"]
        *route, last = path.split(".")
        for part in route:
            home = home[int(part) if part.isdigit() else part]
        key = int(last) if last.isdigit() else last
        if value is DELETE:
            del home[key]
        else:
            home[key] = value(home[key]) if callable(value) else value

    return edit


DELETE = object()


def everywhere(slot: str, value: Any) -> Edit:
    def edit(whole: dict[str, Any]) -> None:
        for state in whole["optimizer"]["state"].values():
            if value is DELETE:
                del state[slot]
            else:
                state[slot] = value(state[slot])

    return edit


def swap(a: int, b: int) -> Edit:
    def edit(whole: dict[str, Any]) -> None:
        state = whole["optimizer"]["state"]
        state[a], state[b] = state[b], state[a]

    return edit


def text_keys(whole: dict[str, Any]) -> None:
    whole["optimizer"]["state"] = {str(key): value for key, value in whole["optimizer"]["state"].items()}


# 0 first.weight 1 first.bias 2 middle.weight 3 middle.bias 4 last.weight 5 last.bias 6 norm.weight 7 norm.bias
CASES: dict[str, tuple[Edit, str, str]] = {
    "no state of one": (at("state.4", DELETE), "OI908", "last.weight"),
    "no state at all": (
        lambda whole: whole["optimizer"]["state"].clear() or whole.update(step=3),
        "OI908",
        "any parameter",
    ),
    "state missing": (lambda whole: whole["optimizer"].pop("state") and None, "OI908", "any parameter"),
    "groups missing": (lambda whole: whole["optimizer"].pop("param_groups") and None, "OI902", "no groups"),
    "text keys": (text_keys, "OI908", "no group lists"),
    "orphan": (at("state", lambda state: {**state, 99: state[0]}), "OI909", "99"),
    "slot missing": (at("state.2.exp_avg_sq", DELETE), "OI907", "middle.weight"),
    "slots missing": (everywhere("exp_avg", DELETE), "OI907", "8"),
    "amsgrad without its maximum": (at("param_groups.0.amsgrad", True), "OI907", "max_exp_avg_sq"),
    "transposed": (at("state.0.exp_avg", lambda x: x.T.contiguous()), "OI905", "first.weight"),
    "flat": (at("state.2.exp_avg", lambda x: x.reshape(-1)), "OI905", "middle.weight"),
    "half": (everywhere("exp_avg", lambda x: x.bfloat16()), "OI906", "bfloat16"),
    "integers": (at("state.2.exp_avg", lambda x: x.long()), "OI906", "int64"),
    "betas missing": (at("param_groups.0.betas", DELETE), "OI910", "betas"),
    "eps missing": (at("param_groups.0.eps", DELETE), "OI910", "eps"),
    "maximize": (at("param_groups.0.maximize", True), "OI911", "maximize"),
    "capturable": (at("param_groups.0.capturable", True), "OI913", "capturable"),
    "permuted numbers": (at("param_groups.0.params", [0, 1, 4, 3, 2, 5, 6, 7]), "OI904", "middle.weight"),
    "listed twice": (at("param_groups.0.params", [0, 1, 2, 3, 2, 5, 6, 7]), "OI904", "last.weight"),
    "states exchanged": (swap(0, 2), "OI904", "first.weight"),
    "one parameter fewer": (at("param_groups.0.params", lambda p: p[:-1]), "OI903", "norm.bias"),
    "two groups": (
        at("param_groups", lambda g: [{**g[0], "params": [0, 1]}, {**g[0], "params": list(range(2, 8))}]),
        "OI902",
        "2 groups",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refuses_says_who_and_what_torch_would_do_and_changes_nothing(name: str, tmp_path: Path) -> None:
    edit, code, word = CASES[name]
    source, model = Block(), Block()
    amsgrad = name == "amsgrad without its maximum"
    optimizer = adamw(model, amsgrad=True) if amsgrad else trained(model, adamw, steps=1)
    file = save(tmp_path / "c.pt", source, trained(source, adamw), edit)
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    with pytest.raises(Mismatch) as caught:
        optinspect.load(optimizer, file, model, load_model=True)
    assert same(before, (optimizer.state_dict(), model.state_dict()))
    first = caught.value.mismatches[0]
    assert first.code == code
    assert word in first.message
    assert len(caught.value.mismatches) == 1, "one fault, one misfit"
    stage, error = reaction(model, optimizer, file)
    assert first.torch.stage == stage
    assert error.startswith(first.torch.error) or stage == "silent"
    assert "\n" not in caught.value.message
    assert len(caught.value.message) <= 200


HARMLESS: dict[str, Edit] = {
    "lr": at("param_groups.0.lr", 1e-2),
    "a label": at("param_groups.0.name", "all"),
    "older torch": lambda whole: (
        [whole["optimizer"]["param_groups"][0].pop(key) for key in ("fused", "foreach")] and None
    ),
    "amsgrad off": at("param_groups.0.amsgrad", False),
    "order of states": at("state", lambda state: dict(reversed(state.items()))),
}


@given(
    st.lists(st.sampled_from([*CASES, *HARMLESS]), max_size=2, unique=True),
    st.sampled_from([Block, lambda: Block(head=True), lambda: Block(width=5), lambda: Block(second_bias=False)]),
    st.sampled_from([adamw, two_groups, lambda m: torch.optim.SGD(m.parameters(), 0.1)]),
)
@settings(max_examples=40)
def test_what_is_loaded_torch_loads_and_steps_and_what_is_refused_is_untouched(
    names: list[str], build: Any, make: Any
) -> None:
    source, model = Block(), build()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.pt"
        try:
            save(file, source, trained(source, adamw), lambda whole: [edit(whole) for edit in edits(names)] and None)
        except (KeyError, IndexError):
            return  # two edits of the same place
        optimizer = trained(model, make, steps=1)
        torchs = reaction(model, optimizer, file)
        before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
        try:
            optinspect.load(optimizer, file, model, load_model=True)
        except OptinspectError:
            assert same(before, (optimizer.state_dict(), model.state_dict()))
        else:
            assert torchs[0] == "silent"
            assert set(names) <= set(HARMLESS)


def edits(names: list[str]) -> list[Edit]:
    return [{**HARMLESS}.get(name) or CASES[name][0] for name in names]


def test_loads_what_torch_loads_to_the_bit(tmp_path: Path) -> None:
    for make in (
        adamw,
        two_groups,
        lambda m: adamw(m, amsgrad=True),
        lambda m: torch.optim.SGD(m.parameters(), 0.1, 0.9),
    ):
        source = Block()
        file = save(tmp_path / "c.pt", source, trained(source, make), epoch=1)
        model, other = Block(), Block()
        ours, theirs = make(model), make(other)
        loaded = optinspect.load(ours, file, model, load_model=True)
        held = torch.load(file, weights_only=True)
        theirs.load_state_dict(held["optimizer"])
        other.load_state_dict(held["model"])
        assert same(ours.state_dict(), theirs.state_dict())
        assert same(model.state_dict(), other.state_dict())
        assert loaded.states == len(loaded.names) == 8
        assert loaded.model


def test_a_resumed_run_goes_on_as_the_uninterrupted_one(tmp_path: Path) -> None:
    torch.manual_seed(5)
    whole = Block()
    resumed = copy.deepcopy(whole)
    trained(resumed, two_groups, steps=0)
    optimizer = trained(whole, two_groups, steps=3)
    file = save(tmp_path / "c.pt", whole, optimizer)
    again = two_groups(resumed)
    assert optinspect.load(again, file, resumed, load_model=True).step == 3
    for seed in (7, 8):
        for model, one in ((whole, optimizer), (resumed, again)):
            torch.manual_seed(seed)
            one.zero_grad()
            model(torch.randn(5, 4)).pow(2).mean().backward()
            one.step()
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(optimizer.state_dict(), again.state_dict())


def test_a_missing_head_is_named_where_nothing_but_shapes_tell(tmp_path: Path) -> None:
    source, model = Block(second_bias=False), Block()
    file = save(tmp_path / "c.pt", None, trained(source, adamw))
    with pytest.raises(
        Mismatch, match=r"group 0: the optimizer has 8, the file 7: one of .*`last.bias`.* missing in the file"
    ):
        optinspect.load(adamw(model), file, model)
    grown = Block(head=True)
    with pytest.raises(Mismatch, match=r"the optimizer has 10, the file 7: .*missing in the file"):
        optinspect.load(adamw(grown), file, grown)


def test_a_missing_head_is_named_by_the_file_s_model(tmp_path: Path) -> None:
    source, grown = Block(), Block(head=True)
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    with pytest.raises(Mismatch, match=r"has 10, the file 8: `head.weight` and `head.bias` are missing in the file"):
        optinspect.load(adamw(grown), file, grown)
    with pytest.raises(Mismatch, match=r"has 8, the file 10: `head.weight` and `head.bias` are in no group here"):
        save(file, grown, trained(grown, adamw))
        optinspect.load(adamw(source), file, source)


def test_frozen_parameters_left_out_on_one_side_are_the_named_cause(tmp_path: Path) -> None:
    source, model = Block(), Block()
    for each in (source, model):
        each.first.requires_grad_(False)
    file = save(
        tmp_path / "c.pt",
        source,
        trained(source, lambda m: torch.optim.AdamW(p for p in m.parameters() if p.requires_grad)),
    )
    with pytest.raises(Mismatch) as caught:
        optinspect.load(adamw(model), file, model)
    assert "leave out what is frozen" in caught.value.mismatches[0].repair
    assert "first.weight" in caught.value.mismatches[0].repair


def test_names_that_the_file_records_decide_and_by_name_follows_them(tmp_path: Path) -> None:
    source, model = Block(), Block()
    named = list(source.named_parameters())
    order = [0, 1, 4, 3, 2, 5, 7, 6]  # exchanges parameters of one shape: torch cannot see it
    saved = trained(source, lambda m: torch.optim.AdamW([named[i] for i in order]))
    file = save(tmp_path / "c.pt", source, saved)
    optimizer = torch.optim.AdamW(list(model.named_parameters()))
    assert reaction(model, optimizer, file)[0] == "silent"
    with pytest.raises(Mismatch, match=r"middle.weight ↔ last.weight|last.weight ↔ middle.weight"):
        optinspect.load(optimizer, file, model)
    optinspect.load(optimizer, file, model, load_model=True, by_name=True)
    for name, parameter in model.named_parameters():
        assert same(optimizer.state[parameter], saved.state[dict(named)[name]])
    assert optimizer.param_groups[0]["param_names"] == [name for name, _ in model.named_parameters()]


def test_modules_defined_in_another_order_are_seen_without_names(tmp_path: Path) -> None:
    """The class was edited: middle and last changed places, so did their states, and every shape fits."""

    class Reordered(Block):
        def __init__(self) -> None:
            super().__init__()
            middle = self.middle
            del self.middle, self.norm
            self.middle, self.norm = middle, nn.LayerNorm(6)

    source, model = Block(), Reordered()
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    optimizer = adamw(model)
    assert reaction(model, optimizer, file)[0] == "silent"
    with pytest.raises(Mismatch, match=r"OI904 .*another order: `last.weight` would get the state of `middle.weight`"):
        optinspect.load(optimizer, file, model, load_model=True)


def test_another_kind_of_optimizer(tmp_path: Path) -> None:
    kinds = {
        kind.__name__: kind for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.NAdam)
    }
    for written, make in kinds.items():
        source = Block()
        file = save(
            tmp_path / "c.pt", source, trained(source, lambda m, make=make: make(m.parameters(), weight_decay=0.1))
        )
        for name, live in kinds.items():
            model = Block()
            optimizer = live(model.parameters(), weight_decay=0.1)
            if name == written:
                optinspect.load(optimizer, file, model)
                continue
            with pytest.raises(Mismatch) as caught:
                optinspect.load(optimizer, file, model)
            first = caught.value.mismatches[0]
            assert (first.code, len(caught.value.mismatches)) == ("OI901", 1)
            stage = reaction(model, optimizer, file)[0]
            assert first.torch.stage == ("silent" if stage == "silent" else "either")


def test_adam_and_adamw_without_decay_are_one_rule(tmp_path: Path) -> None:
    source, model = Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, lambda m: torch.optim.Adam(m.parameters())))
    optimizer = adamw(model, weight_decay=0.0)
    assert optinspect.load(optimizer, file, model).states == 8


def test_group_settings_exchanged_or_lost(tmp_path: Path) -> None:
    source, model = Block(), Block()
    for decay in ((0.0, 0.1), (0.1, 0.1)):
        file = save(tmp_path / "c.pt", source, trained(source, lambda m, decay=decay: two_groups(m, decay)))
        with pytest.raises(Mismatch, match="OI911 weight_decay"):
            optinspect.load(two_groups(model), file, model)
    optimizer = two_groups(model)
    optinspect.load(optimizer, file, model, weight_decay=[0.1, 0.0])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_overrides_count_after_loading(tmp_path: Path) -> None:
    source, model = Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, two_groups))
    optimizer = two_groups(model)
    loaded = optinspect.load(
        optimizer, file, model, lr=lambda group: group["lr"] / 10, betas=(0.8, 0.9), weight_decay=[0.3, 0.0]
    )
    assert [group["lr"] for group in optimizer.param_groups] == [1e-4, 1e-4]
    assert [group["betas"] for group in optimizer.param_groups] == [(0.8, 0.9)] * 2
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert set(loaded.overridden) == {"lr", "betas", "weight_decay"}
    before = copy.deepcopy(optimizer.state_dict())
    for wrong in (
        {"wd": 0.1},
        {"betas": [0.9, 0.99]},
        {"lr": [1e-3]},
        {"lr": "1e-3"},
        {"lr": lambda group: group["no"]},
    ):
        with pytest.raises(UsageError):
            optinspect.load(optimizer, file, model, **wrong)
    assert same(before, optimizer.state_dict())


def test_notes_say_which_settings_the_file_replaces(tmp_path: Path) -> None:
    source, model = Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    loaded = optinspect.load(adamw(model, lr=5e-4), file, model)
    assert [each.code for each in loaded.misfits] == ["OI912"]
    assert "0.0005 here becomes 0.001" in loaded.notes[0]
    assert optinspect.load(adamw(model, lr=5e-4), file, model, lr=5e-4).notes == ()


def test_allow_loads_as_torch_does(tmp_path: Path) -> None:
    source, model, other = Block(), Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, adamw), everywhere("exp_avg", lambda x: x.bfloat16()))
    ours, theirs = adamw(model), adamw(other)
    optinspect.load(ours, file, model, allow=("OI906", "OI308"))
    theirs.load_state_dict(torch.load(file, weights_only=True)["optimizer"])
    assert same(ours.state_dict(), theirs.state_dict())


def test_values_that_check_condemns_are_refused_unless_check_is_off(tmp_path: Path) -> None:
    source, model = Block(), Block()
    edit = at("state.2.exp_avg_sq", lambda x: x.mul(-1).sub(1))
    file = save(tmp_path / "c.pt", source, trained(source, adamw), edit)
    optimizer = adamw(model)
    with pytest.raises(Mismatch, match="OI303 middle"):
        optinspect.load(optimizer, file, model)
    assert not optimizer.state
    optinspect.load(optimizer, file, model, check=False)
    assert optimizer.state


def test_model_misfits_refuse_only_where_the_model_is_loaded(tmp_path: Path) -> None:
    source, model = Block(), Block()

    def rename(whole: dict[str, Any]) -> None:
        whole["model"] = {name.replace("first", "start"): value for name, value in whole["model"].items()}

    file = save(tmp_path / "c.pt", source, trained(source, adamw), rename)
    with pytest.raises(Mismatch, match=r"OI914 `first.weight` and `first.bias` are not in the file"):
        optinspect.load(adamw(model), file, model, load_model=True)
    assert "OI914" in optinspect.load(adamw(model), file, model).notes[0]
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(torch.load(file, weights_only=True)["model"])


def test_wrapped_models_and_prefixed_files(tmp_path: Path) -> None:
    source, model = Block(), Block()

    def prefix(whole: dict[str, Any]) -> None:
        whole["model"] = {f"module.{name}": value for name, value in whole["model"].items()}

    file = save(tmp_path / "c.pt", source, trained(source, adamw), prefix)
    optinspect.load(adamw(model), file, model, load_model=True)
    assert same(model.state_dict(), source.state_dict())
    wrapped = nn.DataParallel(Block())
    optinspect.load(adamw(wrapped), file, wrapped, load_model=True)
    assert same(wrapped.module.state_dict(), source.state_dict())


class Failing(torch.optim.AdamW):
    """Its own loading fails midway, after it wrote into its state and its groups."""

    def load_state_dict(self, state_dict: Any) -> None:
        for state in self.state.values():
            state["exp_avg"].zero_()
            state["step"] += 1
        self.param_groups[0]["lr"] = 9.0
        self.param_groups[0]["params"].reverse()
        self.state[torch.zeros(1)] = {"exp_avg": torch.zeros(1)}
        super().load_state_dict(state_dict)
        raise RuntimeError("disk on fire")


def test_an_error_midway_puts_everything_back(tmp_path: Path) -> None:
    source = Block()
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    model = Block()
    optimizer = trained(model, lambda m: Failing(m.parameters(), lr=1e-3), steps=2, seed=3)
    order = [id(p) for p in optimizer.param_groups[0]["params"]]
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    with pytest.raises(Mismatch, match="OI920 loading raised RuntimeError: disk on fire"):
        optinspect.load(optimizer, file, model, load_model=True)
    assert same(before, (optimizer.state_dict(), model.state_dict()))
    assert order == [id(p) for p in optimizer.param_groups[0]["params"]]
    model(torch.randn(5, 4)).sum().backward()
    optimizer.step()


def test_a_hook_that_fails_puts_everything_back(tmp_path: Path) -> None:
    source, model = Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    optimizer = trained(model, adamw, steps=1)

    def hook(one: Any) -> None:
        raise KeyboardInterrupt

    optimizer.register_load_state_dict_post_hook(hook)
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    with pytest.raises(KeyboardInterrupt):
        optinspect.load(optimizer, file, model, load_model=True)
    assert same(before, (optimizer.state_dict(), model.state_dict()))


def test_files_without_an_optimizer_or_with_several(tmp_path: Path) -> None:
    model = Block()
    optimizer = trained(model, adamw)
    torch.save({"model": model.state_dict()}, tmp_path / "a.pt")
    with pytest.raises(Undecidable, match="no optimizer"):
        optinspect.load(optimizer, tmp_path / "a.pt", model)
    other = trained(Block(), adamw)
    torch.save(
        {"one": optimizer.state_dict(), "two": other.state_dict(), "model": model.state_dict()}, tmp_path / "b.pt"
    )
    with pytest.raises(Undecidable, match="2 optimizers"):
        optinspect.load(optimizer, tmp_path / "b.pt", model)
    fresh = adamw(model)
    optinspect.load(fresh, tmp_path / "b.pt", model, optimizer_key="two")
    assert same(fresh.state_dict(), other.state_dict())
    with pytest.raises(UsageError):
        optinspect.load(fresh, tmp_path / "b.pt", load_model=True)


def test_without_a_model_indices_stand_in_for_names(tmp_path: Path) -> None:
    source, model = Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, adamw), at("state.2.exp_avg", lambda x: x.reshape(-1)))
    with pytest.raises(Mismatch, match=r"`parameter 2`: exp_avg has shape \[36\]"):
        optinspect.load(adamw(model), file)
