"""What torch.save writes is read to the same structure and the same bytes as torch.load gives."""

from __future__ import annotations

import collections
import datetime
import pathlib
import re
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from containers.helpers import assert_same, content, opened, saved
from optinspect.containers import CONTAINERS, open_tree
from optinspect.opaque import Opaque
from optinspect.tensors import DTYPES, CompositeRef, TensorRef

FORMATS = [
    pytest.param({"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}, id=f"{kind}-{protocol}")
    for zipped, kind in ((True, "zip"), (False, "legacy"))
    for protocol in (2, 3, 4, 5)
]


def training() -> dict[str, Any]:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, amsgrad=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    model(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    schedule.step()
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    return {**states, "rng": torch.get_rng_state(), "epoch": 1, "loss": 0.25, "best": float("inf"), "name": "é\n\ud800"}


@pytest.mark.parametrize("options", FORMATS)
def test_a_training_checkpoint_is_what_torch_saved(options: dict[str, Any]) -> None:
    value = training()
    tree = opened(saved(value, **options))
    assert_same(tree.root, value)
    assert (tree.problems, tree.opaque, tree.dangerous) == ([], {}, ())
    assert tree.container == ("torch-zip" if options["_use_new_zipfile_serialization"] else "torch-legacy")


SAVED_ALONE = sorted(name for name in DTYPES if not re.search(r"^q|int[1-7]$", name))
"""torch saves quantized tensors otherwise, and has no storage for integers below a byte."""


@pytest.mark.parametrize("name", SAVED_ALONE)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_dtype_bit_for_bit(name: str, zipped: bool) -> None:
    dtype = getattr(torch, name)
    raw = torch.arange(32, dtype=torch.uint8) * 7
    tensor = raw.view(dtype) if dtype is not torch.bool else raw > 9
    tree = opened(saved({"t": tensor}, _use_new_zipfile_serialization=zipped))
    ref = tree.root["t"]
    assert (ref.dtype.name, ref.dtype.itemsize, ref.shape) == (name, tensor.element_size(), tuple(tensor.shape))
    assert content(ref) == bytes(raw.tolist() if dtype is not torch.bool else tensor.tolist())


def test_views_ties_parameters_and_empties() -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    shared = torch.ones(3, 3)
    value = {
        "view": base[1:, :, ::2],
        "transposed": base.permute(2, 0, 1),
        "expanded": torch.ones(1).expand(7),
        "scalar": torch.tensor(5),
        "empty": torch.empty(0, 3),
        "tied": shared,
        "again": shared,
        "row": shared[1],
        "parameter": torch.nn.Parameter(torch.zeros(2)),
        "frozen": torch.nn.Parameter(torch.zeros(2), requires_grad=False),
        "grad": torch.ones(2, requires_grad=True),
        "conjugate": torch.tensor([1 + 2j, 3 - 1j]).conj(),
    }
    root = opened(saved(value)).root
    assert_same(root, value)
    assert root["tied"].same_bytes(root["again"]) and root["row"].storage is root["tied"].storage
    assert root["expanded"].is_expanded and root["conjugate"].conj


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning", "ignore:.*CSR.*:UserWarning")
def test_composite_tensors_are_kept_in_parts() -> None:
    quantized = torch.quantize_per_tensor(torch.tensor([1.0, -2.0]), 0.1, 3, torch.qint8)
    value = {"coo": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(), "quantized": quantized}
    root = opened(saved(value)).root
    assert all(isinstance(part, CompositeRef) for part in root.values())
    assert [part.kind for part in root.values()] == ["sparse_coo", "sparse_csr", "quantized"]
    assert root["coo"].shape == root["csr"].shape == (3, 3)
    assert content(root["coo"].parts["values"]) == content(root["csr"].parts["values"]) == b"\0\0\x80?" * 3
    assert root["quantized"].attributes["scale"] == 0.1 and root["quantized"].attributes["zero_point"] == 3
    assert content(root["quantized"].parts["codes"]) == bytes(quantized.int_repr().view(torch.uint8).tolist())


class Wrapper(torch.Tensor):
    """A subclass without storage of its own, as torchao's optimizer states are."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor, scale: torch.Tensor) -> Wrapper:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=torch.float32)  # type: ignore[no-any-return]

    def __init__(self, inner: torch.Tensor, scale: torch.Tensor) -> None:
        self.inner, self.scale, self.block = inner, scale, 32

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError


def test_a_tensor_subclass_gives_up_its_tensors() -> None:
    ref = opened(saved({"w": Wrapper(torch.ones(2, 2, dtype=torch.int8), torch.ones(2))})).root["w"]
    assert isinstance(ref, CompositeRef) and ref.kind.endswith("test_torch_files.Wrapper") and ref.shape == (2, 2)
    assert {name: part.dtype.name for name, part in ref.parts.items()} == {"inner": "int8", "scale": "float32"}
    assert ref.attributes["block"] == 32


def test_meta_tensors_have_no_values_and_say_so() -> None:
    tree = opened(saved({"w": torch.empty(2, 3, device="meta")}))
    assert tree.root["w"].shape == (2, 3) and tree.root["w"].device == "meta" and tree.root["w"].problem
    assert [(problem.kind, problem.route) for problem in tree.problems] == [("missing", "w")]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_plain_python_objects_beside_the_tensors(protocol: int) -> None:
    value = {
        "float": np.float64(0.1),
        "half": np.float16(0.5),
        "int": np.int64(-3),
        "flag": np.bool_(True),
        "complex": np.complex64(1 + 2j),
        "text": np.str_("añ"),
        "default": collections.defaultdict(list, {"a": [1]}),
        "counter": collections.Counter({5: 2}),
        "deque": collections.deque([1, 2], maxlen=9),
        "set": {1, "b"},
        "frozen": frozenset((3,)),
        "bytes": b"\x00\xff",
        "array": bytearray(b"ab"),
        "complexity": 1 - 2j,
        "when": datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
        "lasting": datetime.timedelta(3, 4, 5),
        "path": pathlib.PurePosixPath("/a/b.c"),
        "relative": pathlib.PurePosixPath("a/b"),
        "here": pathlib.PurePosixPath(),
        "size": torch.Size((2, 3)),
        "device": torch.device("cuda:1"),
        "big": -(1 << 200),
    }
    expected = {
        **{name: value[name].item() for name in ("float", "half", "int", "flag", "complex", "text")},
        **{name: dict(value[name]) for name in ("default", "counter")},
        **{name: str(value[name]) for name in ("path", "relative", "here", "device")},
        "deque": [1, 2],
        "size": (2, 3),
    }
    root = opened(saved(value, pickle_protocol=protocol)).root
    for name, original in value.items():
        ours = str(root[name]) if name == "device" else root[name]
        assert ours == expected.get(name, original), name
    assert type(root["float"]) is float and type(root["flag"]) is bool and type(root["text"]) is str


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|b1", "<c16", "|u1"])
def test_numpy_arrays_become_tensors(dtype: str, protocol: int) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for value in (array, np.asfortranarray(array), array[0, 0:0], np.array(array[1, 1])):
        shared = {"a": value, "b": value}
        root = opened(saved(shared, pickle_protocol=protocol)).root
        assert isinstance(root["a"], TensorRef) and root["a"].shape == value.shape
        assert root["a"] is root["b"], "the memo must give the same array"
        assert content(root["a"]) == value.astype(value.dtype.newbyteorder("<")).tobytes()


def test_object_arrays_stay_inert() -> None:
    tree = opened(saved({"a": np.array([{}, None], dtype=object)}))
    assert isinstance(tree.root["a"], Opaque) and tree.opaque == {"numpy.ndarray": 1}


def test_a_whole_module_keeps_its_parameters_without_its_class() -> None:
    module = torch.nn.Linear(2, 3)
    for zipped in (True, False):
        tree = opened(saved(module, _use_new_zipfile_serialization=zipped))
        assert isinstance(tree.root, Opaque) and tree.root.name == "torch.nn.modules.linear.Linear"
        assert_same(dict(tree.root.attribute("_parameters")), dict(module._parameters))
        assert tree.dangerous == ("torch.nn.modules.linear.Linear",)


def test_unknown_objects_are_kept_with_their_state() -> None:
    tree = opened(saved({"args": SimpleNamespace(lr=0.1, layers=[1])}))
    assert tree.root["args"].name == "types.SimpleNamespace" and tree.root["args"].attribute("lr") == 0.1
    assert tree.opaque == {"types.SimpleNamespace": 1} and tree.dangerous == ("types.SimpleNamespace",)


def test_shared_and_cyclic_objects_keep_their_identity() -> None:
    value: dict[str, Any] = {"list": [1]}
    value["same"], value["self"] = value["list"], value
    root = opened(saved(value)).root
    assert root["same"] is root["list"] and root["self"] is root


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_byte_order_is_that_of_the_record(byteorder: str, tmp_path: Path) -> None:
    old = torch.serialization.get_default_load_endianness()
    value = {"x": torch.tensor([1.5, -2.0]), "c": torch.tensor([1 + 2j]), "i": torch.tensor([258], dtype=torch.int16)}
    original = tmp_path / "a.pt"
    torch.save(value, original)
    with zipfile.ZipFile(original) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if byteorder == "big":
        for name, width in (("a/data/0", 4), ("a/data/1", 4), ("a/data/2", 2)):
            data = parts[name]
            parts[name] = b"".join(data[at : at + width][::-1] for at in range(0, len(data), width))
        parts["a/byteorder"] = b"big"
    path = tmp_path / "b.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with open_tree(path) as tree:
        assert tree.byteorder == byteorder
        assert_same(tree.root, value)
    assert torch.serialization.get_default_load_endianness() == old


def test_a_deflated_checkpoint_reads_the_same(tmp_path: Path) -> None:
    value = training()
    torch.save(value, tmp_path / "a.pt")
    packed = tmp_path / "b.pt"
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with open_tree(packed) as tree:
        assert_same(tree.root, value)
        assert any("compressed" in note for note in tree.notes)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 250), 1 << 250)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.builds(torch.zeros, st.lists(st.integers(0, 3), max_size=3))
    | st.builds(lambda values: torch.tensor(values, dtype=torch.float64), st.lists(st.floats(), max_size=5))
)
KEYS = (
    st.text(max_size=10)
    | st.integers(-(1 << 63), 1 << 63)
    | st.binary(max_size=4)
    | st.tuples(st.integers(0, 9), st.text(max_size=3))
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(collections.OrderedDict, st.dictionaries(KEYS, inner, max_size=3))
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=st.dictionaries(st.text(max_size=10), TREES, max_size=4), protocol=st.integers(2, 5), zipped=st.booleans())
def test_any_tree_of_plain_data_and_tensors_survives(value: dict[str, Any], protocol: int, zipped: bool) -> None:
    data = saved(value, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    tree = opened(data)
    assert_same(tree.root, value)
    assert not tree.problems and not tree.opaque


def test_listing_needs_no_torch_and_little_memory(tmp_path: Path) -> None:
    assert CONTAINERS and "torch" in sys.modules  # here, but not in a fresh process: test_architecture shows it
    path = tmp_path / "large.pt"
    torch.save({f"w{number}": torch.zeros(1 << 20) for number in range(8)}, path)
    reads: list[int] = []
    with open_tree(path) as tree:
        held = tree.held[0]
        original = held.read_into  # type: ignore[attr-defined]
        held.read_into = lambda offset, buffer: (reads.append(len(buffer)), original(offset, buffer))[1]  # type: ignore[attr-defined]
        assert content(tree.root["w3"]) == bytes(4 << 20)
    assert sum(reads) == 4 << 20, "one tensor is read, not the file"
