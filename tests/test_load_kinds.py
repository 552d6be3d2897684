"""`optinspect.load` over kinds of optimizers and of faults: what each keeps, and names in what is explained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import optinspect
from optinspect.errors import Mismatch, UsageError
from tests.live_cases import Block, Make, adamw, reaction, same, save, trained, two_groups


def rmsprop(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(model.parameters(), 1e-3, momentum=0.9, centered=True)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)


def adafactor(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adafactor(model.parameters(), 1e-2)


def of_state(index: int, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def edit(whole: dict[str, Any]) -> None:
        change(whole["optimizer"]["state"][index])

    return edit


FAULTS: dict[str, tuple[Make, Callable[[dict[str, Any]], Any], str, str]] = {
    "centered": (rmsprop, of_state(4, lambda s: s.pop("grad_avg")), "OI907", "and centered=True needs it"),
    "momentum": (rmsprop, of_state(4, lambda s: s.pop("momentum_buffer")), "OI907", "and momentum=0.9 needs it"),
    "None": (adamw, of_state(4, lambda s: s.update(exp_avg=None)), "OI907", "exp_avg is None"),
    "list": (adamw, of_state(4, lambda s: s.update(exp_avg=s["exp_avg"].tolist())), "OI907", "of type list"),
    "text": (adamw, of_state(4, lambda s: s.update(step="3")), "OI907", "step is of type str"),
    "buffer": (sgd, lambda whole: whole["optimizer"]["state"].pop(4) and None, "OI908", "no state"),
    "list of momentum": (sgd, of_state(4, lambda s: s.update(momentum_buffer=[1.0])), "OI907", "of type list"),
    "row": (adafactor, of_state(4, lambda s: s.pop("row_var")), "OI907", "row_var is missing"),
    "complex": (adamw, of_state(4, lambda s: s.update(exp_avg=s["exp_avg"] * 1j)), "OI906", "exp_avg is complex64"),
}


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_one_state_is_refused_with_its_parameter_and_nothing_is_touched(name: str, tmp_path: Path) -> None:
    make, edit, code, word = FAULTS[name]
    source, model = Block(), Block()
    optimizer = trained(model, make, steps=1)
    file = save(tmp_path / "c.pt", source, trained(source, make), edit, step=3)
    before = copy.deepcopy((optimizer.state_dict(), model.state_dict()))
    versions = [each._version for each in model.parameters()]
    with pytest.raises(Mismatch) as caught:
        optinspect.load(optimizer, file, model, load_model=True)
    (misfit,) = caught.value.mismatches
    assert (misfit.code, misfit.parameter) == (code, "last.weight")
    assert word in misfit.message
    assert misfit.torch.stage in (reaction(model, optimizer, file)[0], "either")
    assert same(before, (optimizer.state_dict(), model.state_dict()))
    assert versions == [each._version for each in model.parameters()]


def test_a_complex_moment_beside_a_real_one_is_shown_and_checked(tmp_path: Path) -> None:
    model = Block()
    file = save(tmp_path / "c.pt", model, trained(model, adamw), FAULTS["complex"][1])
    assert optinspect.check(file).command == "check"
    assert optinspect.show(file).command == "show"


def test_sgd_s_momentum_belongs_to_its_groups(tmp_path: Path) -> None:
    def mixed(model: nn.Module) -> torch.optim.Optimizer:
        first, *rest = model.parameters()
        return torch.optim.SGD([{"params": [first], "momentum": 0.0}, {"params": rest, "momentum": 0.9}], 0.1)

    for make in (mixed, lambda model: torch.optim.SGD(model.parameters(), 0.1)):
        source, model = Block(), Block()
        file = save(tmp_path / "c.pt", source, trained(source, make), step=3)
        assert not any(each.code == "OI908" for each in optinspect.load(make(model), file, model).misfits)
        optinspect.load(make(model), file, model, momentum=0.5)  # momentum begins with this run
    lost = save(
        tmp_path / "c.pt", source, trained(source, sgd), lambda whole: whole["optimizer"]["state"].clear(), step=3
    )
    with pytest.raises(Mismatch, match="OI908"):
        optinspect.load(sgd(model), lost, model, check=False)


def test_a_flag_that_the_file_lacks_and_loading_turns_off_is_refused(tmp_path: Path) -> None:
    def amsgrad(model: nn.Module) -> torch.optim.Optimizer:
        return adamw(model, amsgrad=True)

    source, model = Block(), Block()
    file = save(
        tmp_path / "c.pt",
        source,
        trained(source, amsgrad),
        lambda whole: whole["optimizer"]["param_groups"][0].pop("amsgrad") and None,
    )
    optimizer = amsgrad(model)
    with pytest.raises(Mismatch, match="amsgrad is missing in group 0 of the file: loading makes it False, True here"):
        optinspect.load(optimizer, file, model)
    optinspect.load(optimizer, file, model, amsgrad=True)
    optimizer.load_state_dict(torch.load(file, weights_only=True)["optimizer"])
    assert optimizer.param_groups[0]["amsgrad"] is False, "so torch does"


def frozen(model: nn.Module) -> nn.Module:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith("first"))
    return model


def test_what_a_group_holds_in_the_file_alone_is_named_by_the_file_s_model(tmp_path: Path) -> None:
    source, model = frozen(Block()), frozen(Block())
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad])
    with pytest.raises(Mismatch, match=r"`first\.weight` and `first\.bias` are in no group here") as caught:
        optinspect.load(optimizer, file, model)
    assert "give the frozen parameters to the optimizer too" in str(caught.value.mismatches[0].repair)


def test_adagrad_s_untouched_state_of_a_frozen_parameter_is_no_trace_of_training(tmp_path: Path) -> None:
    def adagrad(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(model.parameters(), 1e-2)

    model = frozen(Block())
    never = save(tmp_path / "a.pt", None, trained(frozen(Block()), adagrad))
    once = save(tmp_path / "b.pt", None, trained(Block(), adagrad))
    assert not optinspect.load(adagrad(model), never, model).misfits
    (misfit,) = optinspect.load(adagrad(model), once, model).misfits
    assert misfit.message == "`first.weight` and `first.bias` are frozen here, but have state in the file"


def test_groups_of_another_number_are_told_with_what_they_hold(tmp_path: Path) -> None:
    def later(model: nn.Module) -> torch.optim.Optimizer:
        *most, last = model.parameters()
        optimizer = torch.optim.AdamW(most, 1e-3)
        optimizer.add_param_group({"params": [last]})
        return optimizer

    for there, here, side in ((later, adamw, "in the file"), (adamw, later, "here")):
        source, model = Block(), Block()
        file = save(tmp_path / "c.pt", source, trained(source, there))
        with pytest.raises(Mismatch) as caught:
            optinspect.load(here(model), file, model)
        told = caught.value.mismatches[0].message
        assert f"; {side} group 0 has `first.weight`, `first.bias` and 5 more, group 1 has `norm.bias`" in told


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.ASGD])
def test_numbers_that_torch_casts_with_the_parameter_are_told(kind: Any, tmp_path: Path) -> None:
    def make(model: nn.Module) -> Any:
        return kind(model.parameters())

    source, ours, theirs = Block().double(), Block().double(), Block().double()
    optimizer = make(source)
    for each in source.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    file = save(tmp_path / "c.pt", source, optimizer)
    loading, plain = make(ours), make(theirs)
    (misfit,) = [each for each in optinspect.load(loading, file, ours).misfits if each.code == "OI906"]
    assert misfit.severity.value == "warning"
    assert (misfit.file, misfit.live) == ("float32", "float64")
    plain.load_state_dict(torch.load(file, weights_only=True)["optimizer"])
    assert same(loading.state_dict(), plain.state_dict())


def test_what_the_optimizer_refuses_midway_leaves_the_model_unwritten(tmp_path: Path) -> None:
    class Own(torch.optim.AdamW):
        def load_state_dict(self, state_dict: Any) -> None:
            raise RuntimeError("no")

    source, model = Block(), Block()
    file = save(tmp_path / "c.pt", source, trained(source, two_groups))
    groups = two_groups(model).param_groups
    optimizer = Own([{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups])
    versions = [each._version for each in model.parameters()]
    with pytest.raises(Mismatch, match="OI920"):
        optinspect.load(optimizer, file, model, load_model=True)
    assert versions == [each._version for each in model.parameters()]


@pytest.mark.parametrize("build", [lambda: Block().to("meta"), lambda: nn.Sequential(nn.LazyLinear(3))])
def test_parameters_without_memory_are_refused(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    source, model = Block(), build()
    file = save(tmp_path / "c.pt", source, trained(source, adamw))
    with pytest.raises(UsageError, match="has no memory to load into"):
        optinspect.load(torch.optim.AdamW(model.parameters()), file, model)
