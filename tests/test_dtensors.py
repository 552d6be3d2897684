"""DTensors under torch.save: one rank's file by itself, with the others beside it, and one that is the whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_module

from optinspect import diff, load, show
from optinspect.blocks import read
from optinspect.errors import UsageError
from optinspect.reading import open_checkpoint
from optinspect.report import Report
from optinspect.tensors import CompositeRef, TensorRef
from tests.directory_builders import trained

WIDTH = 5
NAMES = ("0.weight", "0.bias", "1.weight", "1.bias")


@contextmanager
def ranks(number: int, rank: int) -> Iterator[None]:
    """torch's own group for tests: one process stands for any rank, and nothing is sent."""
    from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: PLC0415

    distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=number)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def setting() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, 1))
    return model, trained(model, [NAMES])


Place = Callable[[torch.Tensor], Any]


def state(place: Place) -> dict[str, Any]:
    """A model and its AdamW, every tensor as `place` makes it."""
    model, optimizer = setting()
    held = optimizer.state_dict()
    slots = {
        key: {slot: value if slot == "step" else place(value) for slot, value in each.items()}
        for key, each in held["state"].items()
    }
    weights = {name: place(value) for name, value in model.state_dict().items()}
    return {"model": weights, "optimizer": {**held, "state": slots}}


def sharded(rank: int, number: int) -> Place:
    """Along the first dimension: of 5 rows the ranks have unlike numbers, of 1 row the first has all."""
    mesh = init_device_mesh("cpu", (number,))

    def place(whole: torch.Tensor) -> DTensor:
        parts = list(torch.chunk(whole, number))
        local = parts[rank] if rank < len(parts) else whole[:0]
        return DTensor.from_local(
            local.clone(), mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride()
        )

    return place


def save(folder: Path, number: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"state_rank{rank}.pt" for rank in range(number)]
    for rank, path in enumerate(paths):
        with ranks(number, rank):
            torch.save(state(sharded(rank, number)), path)
    return paths


def rows_of(report: Report, table: str) -> Sequence[Mapping[str, Any]]:
    return next(each.rows for each in report.tables if each.key == table)


def agrees(path: Path) -> None:
    """Element by element what was trained, and nothing said against it."""
    model, optimizer = setting()
    with open_checkpoint(path) as checkpoint:
        assert not checkpoint.problems
        assert not checkpoint.part
        held = {entry.name: entry.tensor for entry in checkpoint.models[0].entries}
        assert held.keys() == model.state_dict().keys()
        for name, value in model.state_dict().items():
            tensor = held[name]
            assert isinstance(tensor, TensorRef)
            assert np.array_equal(read(tensor), value.numpy())
        for each, parameter in zip(checkpoint.optimizers[0].parameters, model.parameters(), strict=True):
            for slot, found in each.tensors:
                assert isinstance(found, TensorRef)
                assert np.array_equal(read(found), optimizer.state[parameter][slot].numpy())


@pytest.mark.parametrize("number", [2, 3])
def test_one_ranks_file_is_opened_with_those_beside_it(tmp_path: Path, number: int) -> None:
    """As their directory is; what else lies there does not count."""
    paths = save(tmp_path / "a", number)
    agrees(tmp_path / "a")
    torch.save({"other": torch.ones(2)}, tmp_path / "a" / "other_rank0.pt")
    for path in paths:
        agrees(path)
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.inputs[0].path == str(path)
            assert checkpoint.inputs[0].files == tuple(each.name for each in paths)


def test_one_ranks_file_alone_is_a_part(tmp_path: Path) -> None:
    """The figures are those of the part, and it is said to be one."""
    path = save(tmp_path / "a", 2)[0]
    (tmp_path / "alone").mkdir()
    alone = Path(shutil.copy(path, tmp_path / "alone"))
    for given in (alone, alone.parent):
        report = show(str(given))
        assert report.status == 1
        (finding,) = report.findings
        assert finding.rule == "OI102"
        assert finding.message == ("rank 0 of 2: a part only, of 6 tensors; put the files of the other ranks beside it")
        assert any("every element that rank 0 of 2 has" in line.text for line in report.footer)
    model, optimizer = setting()
    (row,) = (
        row for row in rows_of(report, "statistics") if row["index"] == 0 and row["slot"] == "exp_avg._local_tensor"
    )
    part = optimizer.state[model.get_parameter("0.weight")]["exp_avg"][:3]
    assert row["count"] == part.numel()
    assert row["norm"] == pytest.approx(float(part.double().norm()))


@pytest.mark.parametrize("placement", [Shard(0), Replicate()])
def test_a_dtensor_that_is_whole_is_a_plain_tensor(tmp_path: Path, placement: Any) -> None:
    """FSDP2 in one process, or what every rank has: under any name, and in a diff with a plain save."""
    with ranks(1, 0):
        mesh = init_device_mesh("cpu", (1,))
        torch.save(state(lambda whole: DTensor.from_local(whole.clone(), mesh, [placement])), tmp_path / "last.pt")
    torch.save(state(lambda whole: whole), tmp_path / "plain.pt")
    agrees(tmp_path / "last.pt")
    rows = rows_of(show(str(tmp_path / "last.pt")), "parameters")
    assert all(row["effective_step"] is not None and row["update_ratio"] is not None for row in rows)
    assert diff(str(tmp_path / "plain.pt"), str(tmp_path / "last.pt")).status == 0


def test_a_sum_that_is_yet_to_be_made_is_not_the_whole(tmp_path: Path) -> None:
    """Under Partial a rank's tensor has the shape of the whole, but not its values."""
    with ranks(2, 0):
        mesh = init_device_mesh("cpu", (2,))
        place: Place = lambda whole: DTensor.from_local(whole.clone(), mesh, [Partial()], run_check=False)  # noqa: E731
        torch.save(state(place), tmp_path / "last.pt")
    with open_checkpoint(tmp_path / "last.pt") as checkpoint:
        assert checkpoint.part == "rank 0 of 2"
        assert all(isinstance(entry.tensor, CompositeRef) for entry in checkpoint.models[0].entries)


def in_both(mesh: Any) -> Place:
    def place(whole: torch.Tensor) -> Any:
        if whole.ndim < 2:
            return whole
        local, placed = torch.ones(1, 1), [Shard(0), Shard(1)]
        return DTensor.from_local(local, mesh, placed, run_check=False, shape=whole.shape, stride=whole.stride())

    return place


def test_parts_that_are_not_put_together_are_said(tmp_path: Path) -> None:
    """Split in two dimensions at once (FSDP with tensor parallelism): what is shown is the first rank's."""
    for rank in range(4):
        with ranks(4, rank):
            torch.save(state(in_both(init_device_mesh("cpu", (2, 2)))), tmp_path / f"s_rank{rank}.pt")
    for path in (tmp_path, tmp_path / "s_rank2.pt"):
        (finding,) = show(str(path)).findings
        assert finding.message.startswith("6 tensors split over ranks in a way that is not put together")


def test_load_refuses_a_live_model_that_is_split(tmp_path: Path) -> None:
    """torch would take the plain tensors, and its next step fail: "mixed torch.Tensor and DTensor"."""
    torch.save(state(lambda whole: whole), tmp_path / "plain.pt")
    with ranks(2, 0):
        model, _ = setting()
        distribute_module(model, init_device_mesh("cpu", (2,)), split)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        with pytest.raises(UsageError, match=r"`0\.weight` is split over ranks"):
            load(optimizer, tmp_path / "plain.pt", model)
        assert not optimizer.state


def split(_: str, module: torch.nn.Module, mesh: Any) -> None:
    for name, parameter in list(module.named_parameters(recurse=False)):
        part = DTensor.from_local(parameter.detach(), mesh, [Replicate()], run_check=False)
        setattr(module, name, torch.nn.Parameter(part))
