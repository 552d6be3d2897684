"""Archives that two readers could understand differently are refused; what is only unusual is read and noted."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
import torch
from hostile import forge

from containers.helpers import opened, saved
from optinspect.containers.base import Limits
from optinspect.containers.deflated import DeflatedBytes
from optinspect.containers.source import Source
from optinspect.containers.zip_directory import read_directory
from optinspect.errors import LimitExceeded, MalformedCheckpoint, NotACheckpoint, OptinspectError
from optinspect.tensors import MemoryBytes


def rezipped(data: bytes) -> bytes:
    """The same records, compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


PICKLE = forge.pickled(forge.mapping(w=forge.tensor(forge.storage())))
DATA = b"\0\0\x80?" * 4


def archive(**wrong: Any) -> bytes:
    return forge.torch_zip(PICKLE, [DATA], **wrong)


def parts(*more: forge.Part, **wrong: Any) -> list[forge.Part]:
    """The usual records; `wrong` is applied to data/0."""
    return [
        forge.part("a/data.pkl", PICKLE),
        forge.part("a/data/0", DATA, **wrong),
        forge.part("a/version", b"3\n"),
        *more,
    ]


def test_a_forged_archive_is_what_zipfile_and_we_read() -> None:
    for data in (archive(), archive(zip64_end=True), forge.zip_bytes(parts(zip64=True), zip64_end=True)):
        with zipfile.ZipFile(io.BytesIO(data)) as theirs:
            ours = read_directory(Source("x", MemoryBytes(data)), Limits())
            assert [entry.name for entry in ours.entries] == theirs.namelist()
            assert [entry.size for entry in ours.entries] == [info.file_size for info in theirs.infolist()]
            for entry in ours.entries:
                assert data[entry.offset : entry.offset + entry.size] == theirs.read(entry.name)
        assert opened(data).root["w"].shape == (4,)


def test_torch_zips_are_read_as_zipfile_reads_them() -> None:
    data = saved({"w": torch.arange(300.0), "e": torch.empty(0)})
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        for entry in read_directory(Source("x", MemoryBytes(data)), Limits()).entries:
            info = theirs.getinfo(entry.name)
            assert (entry.size, entry.crc32, entry.header) == (info.file_size, info.CRC, info.header_offset)
            assert data[entry.offset : entry.offset + entry.size] == theirs.read(entry.name)


REFUSED = {
    "encrypted": (forge.zip_bytes(parts(flags=1)), "encrypted or patched"),
    "patch data": (forge.zip_bytes(parts(flags=0x20)), "encrypted or patched"),
    "strong encryption": (forge.zip_bytes(parts(flags=0x40)), "encrypted or patched"),
    "masked": (forge.zip_bytes(parts(flags=0x2000)), "encrypted or patched"),
    "method": (forge.zip_bytes(parts(method=12)), "compressed by method 12"),
    "stored sizes": (forge.zip_bytes(parts(size=15, local_sizes=False)), "its two sizes disagree"),
    "local name": (forge.zip_bytes(parts(local_name=b"a/data/1")), "another name in its own header"),
    "local name length": (forge.zip_bytes(parts(local_name=b"a/data/00")), "another name in its own header"),
    "duplicate": (forge.zip_bytes(parts(forge.part("a/data.pkl", PICKLE))), "two records are named a/data.pkl"),
    "duplicate but for case": (forge.zip_bytes(parts(forge.part("a/DATA.pkl", PICKLE))), "two records are named"),
    "overlap": (forge.zip_bytes(parts(header=0, local_name=None)), "another name"),
    "outside": (forge.zip_bytes(parts(header=1 << 30)), "begins at byte"),
    "not a header": (forge.zip_bytes(parts(header=5)), "has no header"),
    "too long": (forge.zip_bytes(parts(size=1 << 20, packed=1 << 20, local_sizes=False)), "past the records"),
    "bytes in front": (forge.zip_bytes(parts(), prefix=b"PK\3\4" + bytes(40)), "stand before the first record"),
    "shifted": (archive(shift=1), "from where its end record says"),
    "count too large": (archive(count=9), "of its zip directory is damaged|holds 4 of 9"),
    "count too small": (archive(count=2), "too many"),
    "two archives": (archive() + archive(), "two zip archives, one after the other"),
    "two zip64 archives": (archive(zip64_end=True) * 2, "two zip archives, one after the other"),
    "text mode": (archive().replace(b"\n", b"\r\n"), "text-mode transfer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(MalformedCheckpoint, match=words):
        opened(data)


def test_overlapping_records() -> None:
    """A record whose own header lies inside the data of another one."""
    inner = forge.zip_bytes([forge.part("a/data/1", b"x")])[: 30 + 8 + 1]
    outer = [forge.part("a/data.pkl", PICKLE), forge.part("a/data/0", inner)]
    header = len(forge.zip_bytes(outer[:1])) - 22 - 46 - 10 + 30 + 8
    data = forge.zip_bytes([*outer, forge.part("a/data/1", b"x", header=header)])
    with pytest.raises(MalformedCheckpoint, match="overlap"):
        opened(data)


def test_more_records_than_the_limit() -> None:
    with pytest.raises(LimitExceeded, match="records in the zip directory"):
        opened(archive(), Limits(records=3))


@pytest.mark.parametrize("options", [{"trailing": bytes(70)}, {"comment": b"saved by hand"}])
def test_bytes_after_the_archive_are_noted(options: dict[str, Any]) -> None:
    tree = opened(archive(**options))
    assert tree.root["w"].problem is None
    assert any("70 bytes after" in note for note in tree.notes) == ("trailing" in options)


LAYOUTS = {
    "no folder": ([("data.pkl", PICKLE), ("data/0", DATA), ("version", b"3\n")], "archive's root"),
    "too deep": ([("o/a/data.pkl", PICKLE), ("o/a/data/0", DATA), ("o/a/version", b"3\n")], "one folder too deep"),
    "beside": ([("README", b""), ("a/data.pkl", PICKLE), ("a/data/0", DATA), ("a/version", b"3\n")], "it lies beside"),
    "version": ([("a/data.pkl", PICKLE), ("a/data/0", DATA)], "the record is missing"),
    "climbing": (
        [("a/data.pkl", PICKLE), ("a/data/0", DATA), ("a/version", b"3\n"), ("a/../../x", b"")],
        "climbs out of the archive",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_unusual_layouts_are_read_and_said(name: str) -> None:
    records, words = LAYOUTS[name]
    tree = opened(forge.zip_bytes([forge.part(*record) for record in records]))
    assert tree.root["w"].problem is None
    kind = "structure" if name == "climbing" else "refused"
    assert [problem.kind for problem in tree.problems] == [kind] and words in tree.problems[0].message


FOREIGN = {
    "torchscript": (["m/data.pkl", "m/constants.pkl", "m/code/x.py"], "a TorchScript archive"),
    "export": (["m/archive_format", "m/models/model.json"], "a torch.export archive"),
    "npz": (["a.npy", "b.npy"], "an npz archive"),
    "one inside": (["ckpt.pt"], "holds ckpt.pt"),
    "several inside": (["data", "policy.pth", "x.pth"], "holds policy.pth"),
    "anything": (["a.txt"], "without data.pkl"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_archives_of_other_things_are_named(name: str) -> None:
    names, words = FOREIGN[name]
    with pytest.raises(NotACheckpoint, match=words):
        opened(forge.zip_bytes([forge.part(name, PICKLE) for name in names]))


def test_records_that_are_missing_short_or_long() -> None:
    missing = opened(forge.torch_zip(PICKLE))
    assert [(p.kind, p.route) for p in missing.problems] == [("missing", "w")] and missing.root["w"].problem
    short = opened(forge.torch_zip(PICKLE, [DATA[:-1]]))
    assert [(p.kind, p.route, p.message) for p in short.problems] == [
        ("truncated", "w", "record data/0 has 15 bytes (16 declared)")
    ]
    long = opened(forge.torch_zip(PICKLE, [DATA + b"\0"]))
    assert [p.kind for p in long.problems] == ["structure"] and long.root["w"].problem is None
    unused = opened(forge.torch_zip(PICKLE, [DATA, DATA]))
    assert not unused.problems and any("data/1" in note for note in unused.notes)


def test_the_checksum_of_the_pickle_is_always_verified() -> None:
    tree = opened(forge.zip_bytes([forge.part("a/data.pkl", PICKLE, crc32=1), *parts()[1:]]))
    assert [(problem.kind, problem.route) for problem in tree.problems] == [("integrity", "data.pkl")]
    not_written = opened(forge.zip_bytes([forge.part("a/data.pkl", PICKLE, crc32=0), *parts()[1:]]))
    assert not not_written.problems and not_written.records[0].crc32 is None
    broken = forge.zip_bytes([forge.part("a/data.pkl", PICKLE[:20] + b"\xff" + PICKLE[21:], crc32=1), *parts()[1:]])
    with pytest.raises(MalformedCheckpoint, match=r"fails its checksum .* and cannot be read"):
        opened(broken)


def test_records_carry_their_checksums() -> None:
    tree = opened(archive())
    assert tree.integrity == "crc32"
    assert [record.name for record in tree.records] == ["data.pkl", "byteorder", "data/0", "version"]
    assert tree.records[2].data is not None and len(tree.records[1:]) == 3


def test_byte_order_that_is_none() -> None:
    data = forge.zip_bytes([forge.part("a/data.pkl", PICKLE), forge.part("a/byteorder", b"middle")])
    with pytest.raises(MalformedCheckpoint, match="byte order middle"):
        opened(data)


@pytest.mark.parametrize("declared", [0, 10, 1 << 20, (1 << 20) + 1])
def test_inflating_to_another_size_than_declared(declared: int) -> None:
    bomb = forge.zip_bytes(parts(forge.part("a/x", bytes(1 << 20), method=8, size=declared, local_sizes=False)))
    tree = opened(bomb)
    record = next(record for record in tree.records if record.name == "x")
    assert record.data is not None and record.data.size == declared
    buffer = bytearray(declared)
    if declared == 1 << 20:
        record.data.read_into(0, memoryview(buffer))
        assert buffer == bytes(1 << 20)
    elif declared:
        with pytest.raises(MalformedCheckpoint, match="inflates to"):
            record.data.read_into(0, memoryview(buffer))


def test_a_pickle_that_inflates_without_end_is_bounded() -> None:
    data = forge.zip_bytes([forge.part("a/data.pkl", b"N0" * 4_000_000 + b"N.", method=8), *parts()[1:]])
    assert len(data) < 20_000
    with pytest.raises(LimitExceeded, match=r"bytes of data\.pkl"):
        opened(data)
    small = forge.zip_bytes([forge.part("a/data.pkl", b"N0" * 400_000 + b"N.", method=8), *parts()[1:]])
    with pytest.raises(LimitExceeded, match="opcodes"):
        opened(small, Limits(opcodes=100_000))
    with pytest.raises(LimitExceeded, match=r"bytes of data\.pkl"):
        opened(small, Limits(pickle=1 << 16))
    honest = forge.torch_zip(forge.pickled(b"](" + b"".join(map(forge.integer, range(300_000))) + b"e"))
    assert len(opened(rezipped(honest)).root) == 300_000


def test_deflated_bytes_in_any_order() -> None:
    content = bytes(range(256)) * 4096
    packed = forge._deflate(content)
    data = DeflatedBytes(MemoryBytes(packed), len(content), "x")
    for offset, size in ((0, 10), (500_000, 70_000), (499_000, 10), (0, len(content)), (len(content) - 1, 1), (5, 0)):
        buffer = bytearray(size)
        data.read_into(offset, memoryview(buffer))
        assert bytes(buffer) == content[offset : offset + size]
    with pytest.raises(OptinspectError):
        data.read_into(len(content), memoryview(bytearray(1)))
    damaged = DeflatedBytes(MemoryBytes(packed[:50] + b"\xff" * 20 + packed[70:]), len(content), "x")
    with pytest.raises(MalformedCheckpoint, match=r"damaged|inflates to"):
        damaged.read_into(0, memoryview(bytearray(len(content))))
