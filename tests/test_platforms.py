"""Other systems, tried here: without positional reads (Windows), with other locales, and files of more than 4 GB."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import large_files
import numpy as np
import pytest
import safetensors
import torch

import optinspect
from optinspect.containers.held_file import HeldFile

ROOT = Path(__file__).parents[1]
SAMPLES = [*sorted((ROOT / "sample_checkpoints").glob("*.pt")), ROOT / "sample_checkpoints" / "separate"]
GB = 1 << 30
LARGE = (9 << 29) // 8
"""Rows of two float32: 4.5 GiB a tensor, beyond every 32-bit offset."""
FLAT = 10 << 20
"""Bytes that a large file may take in memory beyond a small one; 0.2 MB were measured."""

WRITERS: Mapping[str, tuple[large_files.Write, Callable[[int], dict[str, Any]]]] = {
    "zip.pt": (large_files.torch_zip, large_files.training_run),
    "legacy.pt": (large_files.torch_legacy, large_files.training_run),
    "weights.safetensors": (large_files.safetensors, lambda elements: large_files.training_run(elements)["model"]),
}


# --- a system without positional reads


@pytest.fixture
def no_positional_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """os.pread and os.preadv are not there, as on Windows; the list gets the size of every read under the lock."""
    for name in ("pread", "preadv", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    sizes: list[int] = []
    read = HeldFile._read_locked

    def watched(self: HeldFile, offset: int, buffer: memoryview) -> int:
        sizes.append(len(buffer))
        return read(self, offset, buffer)

    monkeypatch.setattr(HeldFile, "_read_locked", watched)
    return sizes


def reported(path: Path) -> dict[str, Any]:
    """All that `show --weights` and `check` find out."""
    shown, checked = optinspect.show(str(path), weights=True), optinspect.check(str(path))
    return {
        "tables": {table.key: [dict(row) for row in table.rows] for table in shown.tables},
        "summary": dict(shown.summary),
        "findings": [(each.rule, each.message) for each in (*shown.findings, *checked.findings)],
        "status": (shown.status, checked.status),
    }


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_reader_gives_the_same_without_positional_reads(path: Path, request: pytest.FixtureRequest) -> None:
    usual = reported(path)
    sizes: list[int] = request.getfixturevalue("no_positional_reads")
    assert repr(reported(path)) == repr(usual)
    assert sizes


def test_safetensors_and_several_threads_without_positional_reads(
    tmp_path: Path, no_positional_reads: list[int]
) -> None:
    """Every tensor's mean is its own number: a read at another thread's place would show."""
    tensors = {f"t.{i}": torch.full((300_000,), float(i)) for i in range(24)}
    torch.save({"model": tensors}, tmp_path / "many.pt")
    flat = {name: large_files.Values(tensor.numpy()) for name, tensor in tensors.items()}
    large_files.safetensors(tmp_path / "many.safetensors", flat)
    for name in ("many.pt", "many.safetensors"):
        rows = optinspect.show(str(tmp_path / name), weights=True).tables[-1].rows
        assert {row["name"]: (row["min"], row["mean"], row["max"]) for row in rows} == {
            f"t.{i}": (float(i),) * 3 for i in range(24)
        }
    assert max(no_positional_reads) >= 1 << 20


def test_threads_that_share_a_file_do_not_read_each_others_place(
    tmp_path: Path, no_positional_reads: list[int]
) -> None:
    data = np.arange(1 << 18, dtype="<u4").tobytes()
    (tmp_path / "numbers").write_bytes(data)
    file = HeldFile(str(tmp_path / "numbers"))
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            start, size = int(rng.integers(0, len(data) - 5000)), int(rng.integers(1, 5000))
            buffer = bytearray(size)
            file.read_into(start, memoryview(buffer))
            if buffer != data[start : start + size]:
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert wrong == [] and len(no_positional_reads) >= 1600


# --- what would not work elsewhere


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted((ROOT / "optinspect").rglob("*.py"))]


ONLY_SOME_SYSTEMS = {"fork", "pread", "preadv", "sched_getaffinity", "getuid", "geteuid", "mkfifo", "setsid", "statvfs"}


def test_what_only_some_systems_have_is_asked_for_first() -> None:
    """os.fork and its like either do not occur, or stand in a module that asks with hasattr."""
    for path, tree in sources():
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        }
        for name in used & ONLY_SOME_SYSTEMS:
            assert f'hasattr(os, "{name}")' in path.read_text(encoding="utf-8"), (path, name)
    text = "".join(path.read_text(encoding="utf-8") for path, _ in sources())
    assert 'getattr(os, "O_BINARY", 0)' in text
    for name in ("fcntl", "resource", "termios", "pwd", "grp", "multiprocessing"):
        guarded = rf"    try:\n        import {name}\b[^\n]*\n    except ImportError:"
        assert not re.search(rf"import {name}\b", re.sub(guarded, "", text)), name


def test_text_files_are_opened_with_their_encoding() -> None:
    """Without one, a German Windows reads cp1252."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            told = {each.arg for each in node.keywords}
            if node.func.attr in ("read_text", "write_text"):
                assert "encoding" in told, f"{path}:{node.lineno}"
            if node.func.attr in ("open", "fdopen") and any(
                isinstance(each, ast.Constant) and each.value in ("r", "w", "a") for each in node.args
            ):
                assert "encoding" in told, f"{path}:{node.lineno}"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp932"])
def test_another_locale_changes_characters_and_nothing_else(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "größe 重み.pt"
    torch.save({"модель": {"w": torch.ones(2)}, "näme": 1}, path)
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "100"}
    for words in (["--tree"], ["--json"], []):
        command = [sys.executable, "-m", "optinspect", "show", str(path), *words]
        done = subprocess.run(command, capture_output=True, check=False, env=environment, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        if words == ["--json"]:
            assert json.loads(text)["inputs"][0]["path"] == str(path)
        if words == ["--tree"]:
            assert "w" in text and "float32" in text


# --- more than 4 GB


MEASURES_MEMORY = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by /proc")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """Each format with tensors of 4.5 GiB and of 64 KiB, of zeros: holes, so that none takes room on the disk."""
    folder = tmp_path_factory.mktemp("large")
    found = {}
    for name, (write, contents) in WRITERS.items():
        for elements in (LARGE, 1 << 13):
            path = folder / f"{elements}_{name}"
            write(path, contents(elements))
            found[name, elements] = path
    for (name, elements), path in found.items():
        if elements == LARGE:
            status = path.stat()
            assert status.st_size > 4 * GB
            if status.st_blocks * 512 > 64 << 20:
                pytest.skip(f"this file system keeps no holes: {name} takes {status.st_blocks * 512:,} bytes")
    return found


def test_torch_and_safetensors_read_what_is_written_here(files: dict[tuple[str, int], Path]) -> None:
    for elements in (LARGE, 1 << 13):
        for name in ("zip.pt", "legacy.pt"):
            if name == "legacy.pt" and elements == LARGE:
                continue  # torch reads all of it into memory
            value = torch.load(files[name, elements], weights_only=True, mmap=name == "zip.pt")
            truth = large_files.training_run(elements)
            assert value["model"]["big.weight"].shape == (elements, 2)
            for found, expected in (
                (value["model"]["small.weight"], truth["model"]["small.weight"]),
                (value["optimizer"]["state"][1]["momentum_buffer"], truth["optimizer"]["state"][1]["momentum_buffer"]),
            ):
                np.testing.assert_array_equal(found.numpy(), expected.data)
        with safetensors.safe_open(files["weights.safetensors", elements], "np") as opened:
            expected = large_files.training_run(elements)["model"]["small.weight"].data
            np.testing.assert_array_equal(opened.get_tensor("small.weight"), expected)


MEASURED = (
    "import sys\n"
    "from optinspect.cli import main\n"
    "status = main(sys.argv[1:])\n"
    "text = open('/proc/self/status', encoding='ascii').read()\n"
    "print(int(text.partition('VmHWM:')[2].split()[0]) * 1024, file=sys.stderr)\n"
    "sys.exit(status)\n"
)
"""Not ru_maxrss: Linux lets a child begin with what its parent had."""


def shown(path: Path, *words: str, command: str = "show") -> tuple[dict[str, Any], int]:
    """The JSON of a run in a process of its own, and the most memory that it had, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, command, str(path), "--json", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value, int(done.stderr)


@MEASURES_MEMORY
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("words", [["--no-stats"], ["--tree"]], ids=" ".join)
def test_structure_of_a_large_file_takes_no_more_memory(
    name: str, words: list[str], files: dict[tuple[str, int], Path]
) -> None:
    large, peak = shown(files[name, LARGE], *words)
    _, base = shown(files[name, 1 << 13], *words)
    assert abs(peak - base) < FLAT
    assert large["inputs"][0]["bytes"] > 4 * GB
    assert large["summary"]["model_parameters"] == 2 * LARGE + 35
    if words == ["--tree"]:
        sizes = {row["entry"]: row["bytes"] for row in large["tables"]["tree"] if row["entry"].endswith(".weight")}
        assert sizes == {"big.weight": 8 * LARGE, "small.weight": 140}


@MEASURES_MEMORY
@pytest.mark.parametrize("name", WRITERS)
def test_values_behind_4_gb_are_read_where_they_are(name: str, files: dict[tuple[str, int], Path]) -> None:
    value, peak = shown(files[name, LARGE], "--filter", "small*", "--weights")
    truth = large_files.training_run(LARGE)
    expected = {"weight": truth["model"]["small.weight"].data}
    if name != "weights.safetensors":
        expected["momentum_buffer"] = truth["optimizer"]["state"][1]["momentum_buffer"].data
    rows = {row["slot"]: row for row in value["tables"]["statistics"]}
    assert rows.keys() == expected.keys()
    for slot, data in expected.items():
        assert rows[slot]["min"] == float(data.min()) and rows[slot]["max"] == float(data.max())
        assert rows[slot]["norm"] == pytest.approx(float(np.linalg.norm(data.astype(np.float64))), rel=1e-6)
    assert peak < 100 << 20  # 45 MB measured


@MEASURES_MEMORY
@pytest.mark.slow
@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_statistics_of_a_large_file_take_no_more_memory(name: str, files: dict[tuple[str, int], Path]) -> None:
    """4.5 GiB of zeros: 5 to 7 s measured on two shared cores; 51.6 MB of memory, as for 64 MB of zeros."""
    large, peak = shown(files[name, LARGE])
    _, base = shown(files[name, 1 << 13])
    middle = files[name, LARGE].with_name("middle.pt")
    WRITERS[name][0](middle, large_files.training_run(8 << 20))
    _, working = shown(middle)
    assert abs(peak - working) < FLAT and peak - base < 2 * FLAT
    row = next(row for row in large["tables"]["statistics"] if row["name"] == "big.weight")
    assert (row["count"], row["zeros"], row["abs_max"]) == (2 * LARGE, 2 * LARGE, 0.0)


@MEASURES_MEMORY
@pytest.mark.slow
def test_check_of_a_large_file_compares_its_checksums_in_bounded_memory(files: dict[tuple[str, int], Path]) -> None:
    value, peak = shown(files["zip.pt", LARGE], "--exit-zero", command="check")
    assert not [each for each in value["findings"] if each["rule"] == "OI104"]
    _, base = shown(files["zip.pt", 1 << 13], "--exit-zero", command="check")
    assert peak - base < 3 * FLAT
