"""Files cut at every length: the structure is recovered from data.pkl on, and exactly the whole tensors are whole."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hostile import forge
from safetensors.torch import save

from containers.helpers import assert_same, content, opened, saved, torch_content
from optinspect.errors import OptinspectError, TruncatedCheckpoint
from optinspect.tensors import TensorRef

VALUE = {
    "model": {"a": torch.arange(6.0), "b": torch.ones(3, 3), "c": torch.zeros(5, dtype=torch.int64)},
    "empty": torch.empty(0),
    "epoch": 3,
}
TENSORS = {"a": VALUE["model"]["a"], "b": VALUE["model"]["b"], "c": VALUE["model"]["c"]}


def check_cut(data: bytes, length: int, ends: dict[str, int], structure: int) -> str:
    """The outcome of the first `length` bytes; `ends` says where each tensor's bytes end, by an independent reader."""
    try:
        tree = opened(data[:length])
    except TruncatedCheckpoint:
        assert length < structure, f"the structure was whole at {length} of {structure}"
        return "refused"
    assert length >= structure and tree.root["epoch"] == 3
    whole = {name for name, tensor in tree.root["model"].items() if tensor.problem is None}
    assert whole == {name for name, end in ends.items() if end <= length}, length
    for name in whole:
        assert content(tree.root["model"][name]) == torch_content(TENSORS[name])
    found = [problem.message for problem in tree.problems if problem.kind == "truncated"]
    assert len(found) == 1
    numbers = re.search(r"(\d+) of (\d+) tensors are whole", found[0])
    assert numbers is not None and numbers[2] == "4"
    assert int(numbers[1]) == len(whole) + (tree.root["empty"].problem is None)
    return "recovered"


def zip_ends(data: bytes) -> tuple[dict[str, int], int]:
    """Where zipfile sees the end of each storage, and of data.pkl."""
    ends: dict[str, int] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            at = info.header_offset
            skip = int.from_bytes(data[at + 26 : at + 28], "little") + int.from_bytes(data[at + 28 : at + 30], "little")
            ends[info.filename.partition("/")[2]] = at + 30 + skip + info.file_size
    return {name: ends[f"data/{number}"] for number, name in enumerate(TENSORS)}, ends["data.pkl"]


def rezipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


@pytest.mark.parametrize("make", [lambda: saved(VALUE), lambda: rezipped(saved(VALUE))], ids=["torch", "by hand"])
def test_a_zip_cut_at_every_length(make: Callable[[], bytes]) -> None:
    data = make()
    ends, structure = zip_ends(data)
    outcomes = [check_cut(data, length, ends, structure) for length in range(1, len(data))]
    assert outcomes.index("recovered") == structure - 1
    assert_same(opened(data).root, VALUE)


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("crc32", [0x08074B50, 0x04034B50, 0x00004B50, 5])
def test_descriptors_of_both_sizes_and_confusing_checksums(zip64: bool, crc32: int) -> None:
    pickle = forge.pickled(forge.mapping(v=forge.tensor(forge.storage()), w=forge.tensor(forge.storage("1", 0), (0,))))
    records = [
        forge.part("a/data.pkl", pickle, local_sizes=False, zip64=zip64),
        forge.part("a/byteorder", b"big", local_sizes=False, zip64=zip64),
        forge.part("a/data/1", b"", local_sizes=False, zip64=zip64, crc32=crc32),
        forge.part("a/data/0", bytes(16), local_sizes=False, zip64=zip64, crc32=crc32),
        forge.part("a/version", b"3", local_sizes=False, zip64=zip64),
    ]
    data = forge.zip_bytes(records)
    tree = opened(data[: data.index(b"PK\1\2")])
    assert tree.byteorder == "big" and all(tensor.problem is None for tensor in tree.root.values())
    assert tree.records[3].crc32 == crc32


def legacy_ends(data: bytes) -> tuple[dict[str, int], int]:
    """Storages lie at the end in the order of their keys, each behind 8 bytes."""
    by_size = sorted(TENSORS, key=lambda name: TENSORS[name].untyped_storage().nbytes())
    ends = {}
    for name in by_size:
        raw = torch_content(TENSORS[name])
        at = data.index(TENSORS[name].numel().to_bytes(8, "little") + raw)
        ends[name] = at + 8 + len(raw)
    first = min(end - len(torch_content(TENSORS[name])) - 8 for name, end in ends.items())
    return ends, first


def test_a_legacy_file_cut_at_every_length() -> None:
    value = {**VALUE, "empty": torch.empty(0)}
    data = saved(value, _use_new_zipfile_serialization=False)
    ends, first = legacy_ends(data)
    outcomes = [check_legacy(data, length, ends) for length in range(1, len(data))]
    switch = outcomes.index("recovered")
    assert first - 16 <= switch + 1 <= first, "from the end of the list of keys on"
    assert set(outcomes[switch:]) == {"recovered"}


def check_legacy(data: bytes, length: int, ends: dict[str, int]) -> str:
    try:
        tree = opened(data[:length])
    except OptinspectError:
        return "refused"
    whole = {name for name, tensor in tree.root["model"].items() if tensor.problem is None}
    assert whole == {name for name, end in ends.items() if end <= length}
    assert [problem.kind for problem in tree.problems] == ["truncated"]
    return "recovered"


def test_a_safetensors_file_cut_at_every_length() -> None:
    data = save(TENSORS)
    start = 8 + int.from_bytes(data[:8], "little")
    for length in range(1, len(data)):
        if length < start:
            with pytest.raises(OptinspectError):
                opened(data[:length])
            continue
        tree = opened(data[:length])
        for name, tensor in tree.root.items():
            assert (tensor.problem is None) == (start + tensor_end(data, name) <= length)
        assert [problem.kind for problem in tree.problems] == ["truncated"]


def tensor_end(data: bytes, name: str) -> int:
    found = re.search(rb'"' + name.encode() + rb'":\{[^}]*"data_offsets":\[\d+,(\d+)\]', data)
    assert found is not None
    return int(found[1])


def test_a_deflated_file_that_is_cut() -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(VALUE))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    data = buffer.getvalue()
    tree: Any = opened(data[: data.index(b"PK\1\2")])
    assert_same(tree.root, VALUE)
    assert all(isinstance(tensor, TensorRef) for tensor in tree.root["model"].values())
    assert [problem.kind for problem in tree.problems] == ["truncated"]
