"""One descriptor, held: who may be opened, how it is read, and what happens when the file changes under us."""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path

import pytest
import torch

from optinspect.containers import open_source, open_tree
from optinspect.containers.held_file import HeldFile
from optinspect.containers.source import ByteRange, Source
from optinspect.errors import FileChanged, OptinspectError, TruncatedCheckpoint, UnreadableFile
from optinspect.tensors import MemoryBytes


def read(data: HeldFile | ByteRange, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    data.read_into(offset, memoryview(buffer))
    return bytes(buffer)


@pytest.mark.parametrize("positional", [True, False], ids=["pread", "seek and read"])
def test_reads_from_many_threads_do_not_disturb_one_another(positional: bool, tmp_path: Path) -> None:
    content = os.urandom(1 << 16)
    path = tmp_path / "x"
    path.write_bytes(content)
    file = HeldFile(str(path), positional=positional)
    wrong: list[int] = []

    def check(start: int) -> None:
        for offset in range(start, 60_000, 97):
            if read(file, offset, 333) != content[offset : offset + 333]:
                wrong.append(offset)

    threads = [threading.Thread(target=check, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    with pytest.raises(FileChanged, match="became shorter"):
        read(file, 65_000, 1000)
    file.close()
    file.close()
    with pytest.raises(UnreadableFile, match="reading failed"):
        read(file, 0, 1)


@pytest.mark.parametrize("make", ["nothing", "directory", "pipe", "nul", "device", "loop"])
def test_what_is_no_regular_file_is_one_line(make: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if make == "directory":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    elif make == "loop":
        path.symlink_to(path)
    given = {"nul": "a\0b", "device": os.devnull}.get(make, str(path))
    with pytest.raises(UnreadableFile) as caught:
        open_tree(given)
    assert "\n" not in caught.value.message and caught.value.message.isprintable() and caught.value.hint


def test_a_path_of_any_length_keeps_the_line_short() -> None:
    with pytest.raises(UnreadableFile) as caught:
        open_tree("/" + "d" * 240 + "/" + "\x1b[31m" * 30 + "name.pt")
    assert len(caught.value.message) <= 200 and "name.pt: " in caught.value.message


def test_a_change_during_the_run_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(1000)}, path)
    data = path.read_bytes()
    with open_tree(path) as tree:
        tree.verify_unchanged()
        path.write_bytes(data[:-1])
        with pytest.raises(FileChanged, match="changed while it was being read"):
            tree.verify_unchanged()
    with open_tree(path) as tree:
        other = tmp_path / "y.pt"
        other.write_bytes(data)
        other.replace(path)
        with pytest.raises(FileChanged):
            tree.verify_unchanged()
    with open_tree(path) as tree:
        path.unlink()
        with pytest.raises(FileChanged):
            tree.verify_unchanged()


def test_a_file_that_shrinks_while_it_is_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.ones(1 << 20)}, path)
    with open_tree(path) as tree:
        os.truncate(path, 1000)
        data = tree.root["w"].storage.data
        with pytest.raises(FileChanged, match="became shorter"):
            data.read_into(0, memoryview(bytearray(1 << 20)))


def open_descriptors() -> int:
    """0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_the_descriptor_is_closed_on_success_and_on_error(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    torch.save({"w": torch.ones(2)}, good)
    bad.write_bytes(good.read_bytes()[:100])
    before = open_descriptors()
    for _ in range(20):
        open_tree(good).close()
        with pytest.raises(OptinspectError):
            open_tree(bad)
    assert open_descriptors() == before


def test_ranges_end_where_they_say() -> None:
    outer = ByteRange(MemoryBytes(b"0123456789"), 2, 6)
    inner = ByteRange(outer, 1, 3)
    assert read(inner, 0, 3) == b"345" and inner._parent is outer._parent
    for offset, size in ((0, 4), (3, 1), (-1, 1)):
        with pytest.raises(TruncatedCheckpoint):
            read(inner, offset, size)
    with pytest.raises(TruncatedCheckpoint, match=r"x: ends after 10 bytes \(12 expected\)"):
        Source("x", MemoryBytes(b"0123456789")).read(5, 7)


def test_a_checkpoint_inside_a_larger_file() -> None:
    """As a distributed checkpoint keeps them: several archives laid end to end, each a byte range."""
    pieces = []
    for number in range(3):
        buffer = io.BytesIO()
        torch.save({"w": torch.full((5,), float(number))}, buffer)
        pieces.append(buffer.getvalue())
    whole = Source("x.distcp", MemoryBytes(b"".join(pieces)))
    offset = 0
    for number, piece in enumerate(pieces):
        tree = open_source(whole.within(str(number), whole.part(offset, len(piece))))
        offset += len(piece)
        buffer = bytearray(20)
        tree.root["w"].storage.data.read_into(0, memoryview(buffer))
        assert struct.unpack("<5f", buffer) == (number,) * 5 and tree.path == f"x.distcp!{number}" and not tree.held
