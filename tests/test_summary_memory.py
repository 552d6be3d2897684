"""Live tensors as descriptions: every kind of tensor that an optimizer or a model may hold, values against torch's."""

from __future__ import annotations

import warnings
from collections import deque
from enum import Enum
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.tensor import DTensor, Shard  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402

import optinspect  # noqa: E402
from optinspect.blocks import chunks, read  # noqa: E402
from optinspect.live.memory import CLOSED, FREED, LAZY, META, DeviceBytes, Memory  # noqa: E402
from optinspect.opaque import Device, Opaque  # noqa: E402
from optinspect.tensors import CompositeRef, MemoryBytes, Storage, TensorRef  # noqa: E402

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.complex128,
    torch.int64,
    torch.uint8,
    torch.bool,
]


def values(tensor: Any) -> Any:
    """What torch says the elements are, in a dtype that numpy has."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    return (plain.float() if plain.dtype.itemsize < 4 and plain.dtype.is_floating_point else plain).numpy()


@st.composite
def views(draw: st.DrawFn) -> Any:
    """A tensor that is a view of another: permuted, cut, strided."""
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9)))).mul(3).to(dtype)
    tensor = tensor.permute(draw(st.permutations(range(len(shape)))))
    for axis in range(len(shape)):
        start = draw(st.integers(0, 2))
        step = draw(st.integers(1, 2))
        tensor = tensor[(slice(None),) * axis + (slice(start, None, step),)]
    return tensor.conj() if draw(st.booleans()) else tensor


@settings(max_examples=150, deadline=None)
@given(views())
def test_views_are_read_as_torch_reads_them(tensor: Any) -> None:
    ref = Memory().ref(tensor)
    assert isinstance(ref, TensorRef)
    assert (ref.shape, ref.numel, ref.dtype.name) == (tuple(tensor.shape), tensor.numel(), str(tensor.dtype)[6:])
    np.testing.assert_array_equal(read(ref), values(tensor))


def test_contiguous_tensors_of_the_cpu_are_not_copied() -> None:
    tensor = torch.zeros(1000)
    ref = Memory().ref(tensor)
    tensor[7] = 5.0
    assert isinstance(ref, TensorRef)
    assert read(ref)[7] == 5.0


def test_views_of_one_storage_share_it_and_others_do_not() -> None:
    memory, base = Memory(), torch.randn(4, 4)
    one, two, other = memory.ref(base), memory.ref(base.view(16)), memory.ref(base.clone())
    assert isinstance(one, TensorRef) and isinstance(two, TensorRef) and isinstance(other, TensorRef)
    assert one.storage is two.storage
    assert one.same_bytes(memory.ref(base[:]))  # type: ignore[arg-type]
    assert other.storage is not one.storage


def test_another_device_is_read_in_blocks_and_never_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a GPU: the bytes come through copies, each no larger than what was asked for."""
    tensor = torch.randn(3000, 100).t()
    raw = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    asked: list[int] = []
    original = DeviceBytes.read_into

    def watched(self: DeviceBytes, offset: int, buffer: memoryview) -> None:
        asked.append(len(buffer))
        original(self, offset, buffer)

    monkeypatch.setattr(DeviceBytes, "read_into", watched)
    ref = Memory().ref(tensor)
    assert isinstance(ref, TensorRef)
    device = Storage("memory", ref.dtype, raw.numel(), "cuda:0", DeviceBytes(raw))
    moved = TensorRef(ref.dtype, ref.shape, ref.stride, ref.offset, device)
    got = np.concatenate([block.copy() for block in chunks(moved, 20_000)])
    np.testing.assert_array_equal(got, tensor.reshape(-1).numpy())
    assert max(asked) < raw.numel()


def test_what_has_no_values_says_why() -> None:
    freed = torch.randn(8)
    freed.untyped_storage().resize_(0)
    lazy = nn.LazyLinear(3)
    told = {
        META: torch.empty(3, 4, device="meta"),
        FREED: freed,
        LAZY: lazy.weight,
    }
    for reason, tensor in told.items():
        ref = Memory().ref(tensor)
        assert isinstance(ref, TensorRef)
        assert (ref.problem, ref.storage.data) == (reason, None)


def test_a_fake_tensor_and_a_functional_one_are_not_read() -> None:
    with FakeTensorMode():
        fake = torch.empty(3, 4)
    ref = Memory().ref(fake)
    assert isinstance(ref, TensorRef)
    assert (ref.problem, ref.shape) == (META, (3, 4))
    wrapped = torch._to_functional_tensor(torch.randn(3))
    ref = Memory().ref(wrapped)
    assert isinstance(ref, TensorRef)
    assert ref.problem is not None
    assert ref.problem.startswith(CLOSED)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_sparse_tensors_have_parts(layout: Any) -> None:
    dense = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch: compressed layouts are in beta
        ref = Memory().ref(dense.to_sparse(layout=layout))
    assert isinstance(ref, CompositeRef)
    assert (ref.kind, ref.shape) == (str(layout)[6:], (2, 2))
    assert sorted(read(ref.parts["values"])) == [2.0, 3.0]


class Scaled(torch.Tensor):
    """A tensor that keeps its elements in others, as quantized optimizers' states do."""

    @staticmethod
    def __new__(cls, codes: Any, scale: Any) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)

    def __init__(self, codes: Any, scale: Any) -> None:
        self.codes, self.scale, self.bits = codes, scale, 8

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.detach.default:
            return cls(args[0].codes, args[0].scale)
        raise NotImplementedError(str(function))


def test_a_subclass_that_wraps_others_is_told_by_its_parts() -> None:
    ref = Memory().ref(Scaled(torch.arange(6, dtype=torch.uint8).view(2, 3), torch.tensor([0.5])))
    assert isinstance(ref, CompositeRef)
    assert ref.kind.endswith("Scaled")
    assert (ref.shape, ref.nbytes, ref.attributes["bits"]) == ((2, 3), 10, 8)
    assert read(ref.parts["codes"]).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_state_of_parts_agrees_with_what_is_saved(tmp_path: Any) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    for tensor in model.parameters():
        codes = torch.randint(0, 255, tensor.shape, dtype=torch.uint8)
        optimizer.state[tensor] = {"step": torch.tensor(2.0), "exp_avg": Scaled(codes, torch.tensor([0.1]))}
        optimizer.state[tensor]["exp_avg_sq"] = Scaled(codes + 1, torch.tensor([0.2]))
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved.pt")
    saved = optinspect.show(str(tmp_path / "saved.pt"))
    live = optinspect.summary(optimizer, model)
    tables = {table.key: [dict(row) for row in table.rows] for table in saved.tables}
    assert live.rows("statistics") == tables["statistics"]
    assert [row["slots"] for row in live.rows("parameters")] == [row["slots"] for row in tables["parameters"]]


class Colour(Enum):
    RED = 1


class Keeper:
    def __init__(self) -> None:
        self.kept, self.me = torch.ones(2), self


def test_plain_data_stays_and_objects_are_told_by_name() -> None:
    tree = Memory().tree(
        {
            "lr": np.float32(0.5),
            "betas": (0.9, torch.tensor(0.99)),
            "shape": torch.Size([2, 3]),
            "device": torch.device("cuda", 1),
            "dtype": torch.bfloat16,
            "colour": Colour.RED,
            "function": test_views_are_read_as_torch_reads_them,
            "array": np.arange(6.0).reshape(2, 3),
            "queue": deque([1]),
            "object": Keeper(),
            torch.float32: 1,
            None: "x",
        }
    )
    assert (tree["lr"], tree["shape"], tree[None]) == (0.5, (2, 3), "x")
    assert isinstance(tree["betas"][1], TensorRef)
    assert tree["device"] == Device("cuda", 1)
    assert tree["dtype"].name == "torch.bfloat16"
    assert (tree["colour"].name.rpartition(".")[2], tree["colour"].args) == ("Colour", (1,))
    assert isinstance(tree["function"], Opaque)
    assert read(tree["array"]).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tree["queue"] == [1]
    assert isinstance(tree["object"], Opaque)
    assert read(tree["object"].attribute("kept")).tolist() == [1, 1]
    assert tree["<dtype>"] == 1


def test_a_container_that_holds_itself_ends() -> None:
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = cycle
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model.weight]["odd"] = cycle
    assert optinspect.summary(optimizer, model).rows("parameters")[0]["name"] == "weight"


def test_meta_and_lazy_models_are_shown_without_values() -> None:
    for model in (nn.Linear(3, 2, device="meta"), nn.LazyLinear(2)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        summary = optinspect.summary(optimizer, model, weights=True)
        assert [row["name"] for row in summary.rows("parameters")] == ["weight", "bias"]
        told = [line.text for line in summary.report.footer if line.label == "stands out"]
        assert any(text.startswith("no values in 2 parameters: weight, bias: ") for text in told)


def test_memory_bytes_are_of_the_whole_storage() -> None:
    base = torch.arange(10, dtype=torch.float32)
    ref = Memory().ref(base[3:5])
    assert isinstance(ref, TensorRef)
    assert isinstance(ref.storage.data, MemoryBytes)
    assert (ref.offset, ref.storage.nbytes, ref.storage.data.size) == (3, 40, 40)


def test_a_sharded_parameter_is_told_by_this_ranks_part() -> None:
    """FSDP2: weights, state and gradients are DTensors. The process group is torch's fake one, of two ranks."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        whole = torch.arange(12.0).view(4, 3)
        local = DTensor.from_local(whole[:2].clone(), mesh, [Shard(0)])
        weight = nn.Parameter(local)
        weight.grad = DTensor.from_local(whole[:2] + 1, mesh, [Shard(0)])
        optimizer = torch.optim.SGD([weight], lr=0.1)
        summary = optinspect.summary(optimizer, {"weight": weight}, weights=True)
    finally:
        dist.destroy_process_group()
    (row,) = summary.rows("parameters")
    assert (row["name"], row["evidence"], row["shape"], row["grad"]) == ("weight", "live", [4, 3], "sharded")
    assert row["grad_rms"] == pytest.approx(float((whole[:2] + 1).pow(2).mean().sqrt()), rel=1e-6)
