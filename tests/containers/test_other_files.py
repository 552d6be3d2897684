"""Legacy and safetensors files that are wrong, plain pickles, and everything that is no checkpoint."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
from typing import Any

import pytest
import torch
from hostile import forge
from safetensors.torch import save

from containers.helpers import assert_same, opened, saved
from optinspect.errors import LimitExceeded, MalformedCheckpoint, NotACheckpoint, OptinspectError, TruncatedCheckpoint

VALUE = forge.pickled(forge.mapping(w=forge.tensor(forge.storage())))


def view_of(metadata: bytes) -> bytes:
    place = forge.tuple_of(
        forge.text("storage"), forge.name("torch.FloatStorage"), forge.text("0"), forge.text("cpu"), b"K\x04", metadata
    )
    return forge.pickled(forge.mapping(w=forge.tensor(place + b"Q")))


def test_a_forged_legacy_file_is_read() -> None:
    for value in (VALUE, view_of(b"N")):
        tree = opened(forge.torch_legacy(value, [(4, bytes(16))]))
        assert tree.container == "torch-legacy" and tree.integrity == "none" and tree.root["w"].shape == (4,)
    assert "2 bytes after the last storage" in opened(forge.torch_legacy(VALUE, [(4, bytes(18))])).notes


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (forge.torch_legacy(VALUE, [(5, bytes(20))]), "holds 5 elements"),
        (forge.torch_legacy(VALUE, [(-1, bytes(16))]), "holds -1 elements"),
        (forge.torch_legacy(VALUE, [(4, bytes(16)), (4, bytes(16))]), "in no tensor"),
        (forge.torch_legacy(view_of(b"K\x01K\x02K\x03\x87"), [(4, bytes(16))]), "a view of another"),
        (forge.MAGIC + forge.PROTOCOL + b"\x80\x02K\x01." + VALUE + b"\x80\x02].", "preamble is damaged"),
        (forge.MAGIC + forge.PROTOCOL + forge.SYSTEM + VALUE + b"\x80\x02K\x01.", "no list of keys"),
        (forge.MAGIC + forge.PROTOCOL + forge.SYSTEM + VALUE + b"\x80\x02](X\1\0\0\0aX\1\0\0\0ae.", "names one twice"),
    ],
)
def test_legacy_files_that_contradict_themselves(data: bytes, words: str) -> None:
    with pytest.raises(MalformedCheckpoint, match=words):
        opened(data)


def test_a_legacy_storage_that_is_not_in_the_list() -> None:
    tree = opened(forge.torch_legacy(VALUE))
    assert [(problem.kind, problem.route) for problem in tree.problems] == [("missing", "w")]


def test_a_legacy_file_larger_than_the_first_window() -> None:
    value = {f"{number}-{'x' * 100}": number for number in range(30_000)}
    assert_same(opened(saved(value, _use_new_zipfile_serialization=False)).root, value)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_with_tensors(protocol: int) -> None:
    value = {"a": torch.arange(3.0), "p": torch.nn.Parameter(torch.ones(2)), "n": [1, {"x": 2.5}]}
    tree = opened(pickle.dumps(value, protocol))
    assert tree.container == "pickle" and tree.dangerous == () and tree.opaque == {}
    assert_same(tree.root, value)


def test_names_inside_a_nested_file_are_reported() -> None:
    evil = forge.torch_legacy(forge.pickled(forge.call("os.system", forge.text("x"))))
    tree = opened(
        forge.pickled(forge.call("torch.storage._load_from_bytes", b"B" + struct.pack("<I", len(evil)) + evil), 3)
    )
    assert set(tree.dangerous) == {"os.system", "torch.storage._load_from_bytes"}


def safetensors(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_safetensors_as_the_library_writes_them() -> None:
    tensors = {
        str(dtype)[6:]: (torch.arange(8) % 2).to(dtype).reshape(2, 4)
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.int16)
    } | {
        "fp8": torch.ones(3).to(torch.float8_e4m3fn),
        "empty": torch.empty(0, 2),
        "c": torch.ones(2, dtype=torch.complex64),
    }
    tree = opened(save(tensors, metadata={"format": "pt"}))
    assert tree.metadata == {"format": "pt"} and not tree.ordered and not tree.problems
    assert_same({name: tree.root[name] for name in tensors}, tensors)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (safetensors(b'{"a":1,"a":2}'), "names a twice"),
        (safetensors(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "names dtype twice"),
        (safetensors({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "overlaps"),
        (safetensors({"a": entry(), "b": entry(offsets=(9, 17))}, bytes(17)), "leaves a gap"),
        (safetensors({"a": entry(shape=(3,))}, bytes(8)), "needs 12 bytes"),
        (safetensors({"a": entry(shape=(-2,))}, bytes(8)), "no whole numbers"),
        (safetensors({"a": entry(shape=(True, 2))}, bytes(8)), "no whole numbers"),
        (safetensors({"a": entry(shape=2)}, bytes(8)), "no whole numbers"),
        (safetensors({"a": entry(offsets=(8, 0))}, bytes(8)), "needs 8 bytes"),
        (safetensors({"a": entry(dtype="F31")}, bytes(8)), "unknown dtype F31"),
        (safetensors({"a": {"dtype": "F32"}}), "data_offsets expected"),
        (safetensors({"__metadata__": {"a": 1}}), "__metadata__"),
        (safetensors({"a": entry()}, bytes(9)), "after the last tensor"),
        (safetensors(b'{"a": NaN}'), "no valid JSON"),
        (safetensors(b'{"a": ' + b"[" * 100_000), "no valid JSON"),
        (safetensors(b'{"a": ' + b"9" * 5000 + b"}"), "no valid JSON"),
        (safetensors(b"{\xff}"), "no valid JSON"),
        (safetensors('{"a": 1}'.encode("utf-16-le")), "no valid JSON"),
    ],
)
def test_safetensors_that_break_the_format(data: bytes, words: str) -> None:
    with pytest.raises(MalformedCheckpoint, match=words):
        opened(data)


def test_safetensors_headers_are_bounded() -> None:
    with pytest.raises(LimitExceeded, match="bytes of safetensors header"):
        opened(struct.pack("<Q", 200_000_000) + b'{"a"')
    with pytest.raises(TruncatedCheckpoint, match="inside its header"):
        opened(struct.pack("<Q", 2000) + b'{"a"')


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return buffer.getvalue()


FOREIGN = {
    "empty": (b"", "the file is empty"),
    "one byte": (b"P", "1 byte of a zip archive"),
    "zeros": (bytes(9000), "holds only zero bytes"),
    "zeros in front": (bytes(5000) + b"x" * 5000, "begins with 4,096 zero bytes"),
    "gzip": (gzip.compress(b"x" * 100), "a gzip file"),
    "bzip2": (bz2.compress(b"x"), "a bzip2 file"),
    "xz": (lzma.compress(b"x"), "an xz file"),
    "tar": (tarred(), "a tar archive"),
    "html": (b"<!DOCTYPE html>\n<html>", "an HTML page"),
    "xml": (b'<?xml version="1.0"?><Error>', "an XML document"),
    "json": (b'{"message": "Not Found"}', "JSON text"),
    "json list": (b"[1, 2]", "JSON text"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "annex": (b"/annex/objects/SHA256E-s1--0\n", "git-annex pointer"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
    "npy": (b"\x93NUMPY\x01\0", "a numpy array"),
    "gguf": (b"GGUF\x03\0\0\0", "a GGUF model"),
    "base64": (b"UEsDBAAACAgAAAAA" * 20, "base64 text"),
    "text": (b"hello", "no kind of checkpoint that is known"),
    "looks like an old pickle": (b"count,loss\n1,2\n", "no kind of checkpoint that is known"),
    "prefix": (b"HTTP/1.1 200 OK\n" + forge.torch_zip(VALUE), "16 bytes stand before the first zip record"),
    "binary": (b"\x9f\x00\xff" * 30, "no kind of checkpoint that is known"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_get_a_line_and_a_hint_of_their_own(name: str) -> None:
    data, words = FOREIGN[name]
    with pytest.raises(OptinspectError, match=words) as caught:
        opened(data)
    assert isinstance(caught.value, NotACheckpoint | MalformedCheckpoint) and caught.value.hint
    assert caught.value.message.startswith("x.pt: ") and len(caught.value.message) <= 200
