"""Who is who in live objects, against the objects themselves: identity is the truth."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from optinspect.errors import UsageError
from optinspect.live.members import members_of
from tests.live_cases import Block


def test_either_order_and_every_kind_of_model() -> None:
    model = Block()
    optimizer = torch.optim.AdamW([model.first.weight, model.norm.bias])
    kinds = (model, model.named_parameters(), dict(model.named_parameters()), list(model.named_parameters()))
    for kind in (*kinds, model.state_dict(), {"first": model.first, "norm": model.norm}):
        for pair in ((kind, optimizer), (optimizer, kind)):
            if not hasattr(kind, "__next__"):
                members = members_of(*pair)
                assert [each.name for each in members.parameters] == ["first.weight", "norm.bias"]
                assert all(each.evidence == "live" for each in members.parameters)
    assert [each.name for each in members_of(model.named_parameters(), optimizer).parameters][1] == "norm.bias"


@given(st.permutations(range(8)), st.integers(0, 8), st.lists(st.integers(0, 8), max_size=3))
def test_names_are_those_of_the_objects(order: list[int], taken: int, cuts: list[int]) -> None:
    """Any order, any part of the model, any groups: each name is that of the very object, the rest is unstepped."""
    model = Block()
    named = list(model.named_parameters())
    chosen = [named[i] for i in order[: max(taken, 1)]]
    bounds = sorted({0, len(chosen), *(cut for cut in cuts if cut <= len(chosen))})
    groups = [{"params": [p for _, p in chosen[a:b]]} for a, b in pairwise(bounds)]
    members = members_of(model, torch.optim.SGD(groups, lr=0.1))
    assert [each.name for each in members.parameters] == [name for name, _ in chosen]
    assert [each.index for each in members.parameters] == list(range(len(chosen)))
    for each in members.parameters:
        assert each.group is not None
        assert any(each.tensor is p for p in groups[each.group]["params"])
    assert {each.name for each in members.unstepped} == {name for name, _ in named} - {name for name, _ in chosen}


def test_tied_weights_have_one_entry_with_aliases() -> None:
    model = Block()
    model.last.weight = model.middle.weight
    members = members_of(torch.optim.SGD(model.parameters(), lr=0.1), model)
    tied = next(each for each in members.parameters if each.name == "middle.weight")
    assert tied.aliases == ("last.weight",)
    assert "last.weight" not in members.order


def test_what_the_model_lacks_and_what_no_group_has() -> None:
    model = Block()
    model.first.bias.requires_grad_(False)
    foreign = nn.Parameter(torch.zeros(3))
    members = members_of(torch.optim.SGD([foreign, model.first.weight], lr=0.1), model)
    assert [each.tensor is foreign for each in members.strangers] == [True]
    assert members.strangers[0].label == "parameter 0"
    assert "first.bias" in {each.name for each in members.unstepped}
    assert members.sizes == (2,)


def test_without_a_model_recorded_names_count() -> None:
    model = Block()
    members = members_of(torch.optim.SGD(list(model.named_parameters()), lr=0.1))
    assert {each.evidence for each in members.parameters} == {"recorded"}
    assert members.parameters[0].name == "first.weight"
    assert members_of(torch.optim.SGD(model.parameters(), lr=0.1)).parameters[0].name is None


class Compiled(nn.Module):
    """As torch.compile wraps: the module under `_orig_mod` (torch.compile itself imports what warns)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


@pytest.mark.parametrize("wrap", [nn.DataParallel, Compiled])
def test_prefixes_of_wrappers_are_taken_off(wrap: object) -> None:
    model = Block()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    members = members_of(optimizer, wrap(model))  # type: ignore[operator]
    assert members.parameters[0].name == "first.weight"
    assert members.prefix in ("module.", "_orig_mod.")


def test_what_is_neither_is_refused() -> None:
    model = Block()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for arguments in (
        (model, None),
        (optimizer, optimizer),
        (optimizer, 3),
        (optimizer, model.parameters()),
        (optimizer, {"a": 3}),
    ):
        with pytest.raises(UsageError):
            members_of(*arguments)
