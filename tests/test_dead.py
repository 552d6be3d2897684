"""--dead: rows and channels whose moments are all 0, against torch's view of the same tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import optinspect.dead
from optinspect import cli
from optinspect.commands import show_dead
from optinspect.dead import dead, examined, moments
from optinspect.tensors import DTYPES, MemoryBytes, Storage, TensorRef

SHAPES = st.lists(st.integers(0, 6), min_size=0, max_size=4)


def ref(tensor: torch.Tensor, **changes: Any) -> TensorRef:
    data = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes()
    dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
    storage = Storage("data/0", dtype, len(data), "cpu", MemoryBytes(data))
    return TensorRef(dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), storage, **changes)


def numbers(runs: list[list[int]] | None) -> list[int]:
    return [number for first, last in runs or [] for number in range(first, last + 1)]


def truth(tensors: list[torch.Tensor]) -> tuple[list[int], list[int]]:
    """In float64, with torch."""
    wide = [tensor.to(torch.complex128 if tensor.is_complex() else torch.float64) != 0 for tensor in tensors]
    alive = torch.stack(wide).any(0)
    alive = alive.reshape(1) if alive.dim() == 0 else alive
    rows = [row for row in range(alive.shape[0]) if not bool(alive[row].any())]
    channels = range(alive.shape[1]) if alive.dim() > 1 else ()
    return rows, [channel for channel in channels if not bool(alive[:, channel].any())]


@given(SHAPES, st.integers(0, 2**31), st.sampled_from([1, 3, 7, 64]), st.sampled_from(["", "transposed", "bfloat16"]))
def test_as_torch_finds_them(shape: list[int], seed: int, block: int, how: str) -> None:
    """With blocks so small that whole rows, whole channels and parts of channels are read."""
    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for _ in range(2):
        tensor = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.1)
        if tensor.dim() > 1 and shape[0]:
            tensor[torch.rand(shape[0], generator=generator) < 0.5] = 0
        if how == "transposed":  # as it lies in the file
            order = tuple(reversed(range(tensor.dim())))
            tensor = tensor.permute(order).contiguous().permute(order)
        tensors.append(tensor.bfloat16() if how == "bfloat16" else tensor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optinspect.dead, "BLOCK", block)
        found = dead({"exp_avg_sq": ref(tensors[0]), "exp_avg": ref(tensors[1])})
    rows, channels = truth(tensors)
    assert (numbers(found.dead_rows), numbers(found.dead_channels)) == (rows, channels)
    assert (found.rows, found.channels) == (shape[0] if shape else 1, shape[1] if len(shape) > 1 else None)


def test_nan_is_not_zero_and_minus_zero_is() -> None:
    found = dead({"exp_avg": ref(torch.tensor([[float("nan"), 0.0], [-0.0, 0.0], [0.0, 0.0]]))})
    assert (found.dead_rows, found.dead_channels) == ([[1, 2]], [[1, 1]])


def test_only_what_is_not_known_yet_is_read() -> None:
    read: list[int] = []
    full = torch.ones(8, 8)
    dead({"exp_avg_sq": ref(full), "exp_avg": ref(full)}, read.append)
    assert sum(read) == full.numel() * 4


def test_which_slots_tell() -> None:
    of_shape, other = ref(torch.zeros(2, 3)), ref(torch.zeros(3))
    codes = ref(torch.zeros(2, 3, dtype=torch.uint8))
    assert list(moments({"exp_avg": of_shape, "exp_avg_sq": of_shape, "mu": of_shape}, (2, 3))) == [
        "exp_avg_sq",
        "exp_avg",
    ]
    assert list(moments({"momentum_buffer": of_shape}, None)) == ["momentum_buffer"]
    assert not moments({"exp_avg": other}, (2, 3))
    assert not moments({"exp_avg": codes}, (2, 3))  # the code of 0 need not be 0


def test_what_cannot_be_read_is_told() -> None:
    assert examined({"exp_avg": ref(torch.zeros(2, 2), problem="its record is missing")}, lambda _: None) == (
        "exp_avg: its record is missing"
    )


class Language(torch.nn.Module):
    """Tokens that never occur, a unit that never fires, an input that is always 0."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(40, 6)
        self.hidden = torch.nn.Linear(6, 5)
        self.frozen = torch.nn.Linear(5, 5)
        self.frozen.requires_grad_(False)
        self.out = torch.nn.Linear(5, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        inner = self.embed(tokens).mean(1).clone()
        inner[:, 4] = 0
        fired = torch.relu(self.hidden(inner))
        result: torch.Tensor = self.out(self.frozen(fired * torch.tensor([1.0, 1, 0, 1, 1])))
        return result


@pytest.mark.parametrize(
    ("kind", "options", "slots"),
    [
        ("AdamW", {"amsgrad": True}, ["exp_avg", "exp_avg_sq"]),
        ("Adam", {}, ["exp_avg", "exp_avg_sq"]),
        ("SGD", {"momentum": 0.9}, ["momentum_buffer"]),
        ("RMSprop", {"momentum": 0.5, "centered": True}, ["square_avg", "grad_avg", "momentum_buffer"]),
        ("Adagrad", {}, ["sum"]),
        ("NAdam", {}, ["exp_avg", "exp_avg_sq"]),
        ("Adamax", {}, ["exp_avg"]),
        ("Adadelta", {}, ["square_avg"]),
    ],
)
def test_a_training_run(
    kind: str, options: dict[str, Any], slots: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(2)
    net = Language()
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=1e-2, **options)
    seen = set[int]()
    for _ in range(5):
        tokens = torch.randint(3, 30, (8, 4))
        seen |= set(tokens.flatten().tolist())
        optimizer.zero_grad()
        net(tokens).square().sum().backward()
        optimizer.step()
    path = tmp_path / "run.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    assert cli.main(["show", str(path), "--dead", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["tables"]["dead"]}
    assert {*range(40)} - seen <= {*numbers(rows["embed.weight"]["dead_row_ranges"])}  # and tokens that moved no unit
    state = optimizer.state_dict()["state"]
    for index, (name, _) in enumerate(net.named_parameters()):
        expected = truth([state[index][slot] for slot in slots]) if index in state else ([], [])
        row = rows.get(name, {"dead_row_ranges": None, "dead_channel_ranges": None})
        assert (numbers(row["dead_row_ranges"]), numbers(row["dead_channel_ranges"])) == expected, name
    assert numbers(rows["hidden.weight"]["dead_channel_ranges"]) == [4]


def test_many_small_parameters_are_all_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2 * show_dead.MOST + 3)]
    optimizer = torch.optim.SGD(parameters, lr=1e-2, momentum=0.9)
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.tensor([0.0, 0.0] if number % 100 == 7 else [1.0, 0.0])
    optimizer.step()
    path = tmp_path / "many.pt"
    torch.save(optimizer.state_dict(), path)
    assert cli.main(["show", str(path), "--dead", "--json", "--no-stats"]) == 0
    rows = json.loads(capsys.readouterr().out)["tables"]["dead"]
    assert [row["index"] for row in rows] == list(range(len(parameters)))
    assert [row["index"] for row in rows if row["dead_rows"] == 2] == [7, 107, 207, 307, 407, 507]


@pytest.mark.parametrize(("kind", "decay", "said"), [("SGD", 0.1, True), ("AdamW", 0.1, False), ("SGD", 0.0, False)])
def test_decay_in_the_gradient_is_said(
    kind: str, decay: float, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(torch.optim, kind)([parameter], lr=0.1, weight_decay=decay, **options)
    parameter.grad = torch.tensor([[1.0, 0], [0, 0], [0, 0]])
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "one.pt")
    assert cli.main(["show", str(tmp_path / "one.pt"), "--dead"]) == 0
    told = capsys.readouterr().out
    assert ("weight decay is part of the gradient" in told) == said
    assert ("1,2" in told) == (not said)


def test_memory_is_bounded() -> None:
    """A block and two flags for every row and channel: read_range never asks for more than a block."""
    asked: list[int] = []

    class Counting(MemoryBytes):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            asked.append(len(buffer))
            super().read_into(offset, buffer)

    tensor = ref(torch.zeros(3000, 400))
    storage = Storage("k", tensor.dtype, tensor.nbytes, "cpu", Counting(bytes(tensor.nbytes)))
    found = dead({"exp_avg": TensorRef(tensor.dtype, tensor.shape, tensor.stride, 0, storage)})
    assert max(asked) <= optinspect.dead.BLOCK * 4
    assert len(asked) > 1
    assert found.dead_rows == [[0, 2999]]
    assert np.sum(asked) == tensor.nbytes
