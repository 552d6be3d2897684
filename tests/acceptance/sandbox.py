"""The command line on a damaged or hostile file, in a process of its own, in an empty folder."""

from __future__ import annotations

import json
import os
import pickletools
import re
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optinspect.errors import MAX_MESSAGE

from .corpus import Case

SECONDS = 5.0
PEAK_MB = 400.0
OUTPUT = 2_000_000
"""Bytes on stdout: a file of a few kB may not flood a terminal or a log."""
PROJECT = Path(__file__).parents[2]
MARKER = "OPTINSPECT_MARKER_*"


@dataclass(frozen=True)
class Run:
    """What one command did. `created`: files that appeared in its working directory."""

    arguments: tuple[str, ...]
    status: int
    seconds: float
    peak_mb: float
    out: str
    err: str
    created: tuple[str, ...]


def run(*arguments: str) -> Run:
    """`optinspect ARGUMENTS` in an empty temporary folder, at most 30 s and 8 GiB of address space."""
    launcher = Path(__file__).with_name("launch.py")
    read, write = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-I", "-S", str(launcher), str(write), "30"]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "160", "PYTHONUTF8": "1"}
        done = subprocess.run(
            [*command, sys.executable, "-m", "optinspect", *arguments],
            cwd=folder,
            env=environment,
            pass_fds=(write,),
            capture_output=True,
            check=False,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            figures = json.loads(pipe.read())
        created = tuple(sorted(path.name for path in Path(folder).iterdir()))
    out, err = (text.decode("utf-8", "backslashreplace") for text in (done.stdout, done.stderr))
    return Run(arguments, figures["status"], figures["seconds"], figures["peak_mb"], out, err, created)


def faults(case: Case, path: Path, done: Run) -> Iterator[str]:
    """What breaks the promises that hold for every file, however bad."""
    if done.created or list(case.folder.glob(MARKER)):
        yield f"EXECUTED: created {done.created}"
    if done.status not in (0, 1, 2):
        yield f"exit {done.status}: {done.err.strip()[-150:]!r}"
    if "Traceback" in done.out + done.err:
        yield f"traceback: {done.err.strip().splitlines()[-1]!r:.150}"
    if done.seconds > SECONDS:
        yield f"{done.seconds:.1f} s (at most {SECONDS:g})"
    if done.peak_mb > PEAK_MB:
        yield f"{done.peak_mb:.0f} MB (at most {PEAK_MB:g})"
    if len(done.out) > OUTPUT:
        yield f"{len(done.out):,} bytes on stdout"
    if odd := unprintable(done.out + done.err):
        yield f"control characters reach the terminal: {odd}"
    if done.status == 2:
        yield from _error_faults(path, done)


def _error_faults(path: Path, done: Run) -> Iterator[str]:
    if "--json" in done.arguments:
        error = json.loads(done.out)["error"]
        lines = [error["message"]]
    else:
        lines = [line for line in done.err.splitlines() if not line.lower().startswith("hint")]
        if done.out:
            yield f"exit 2 with {len(done.out)} bytes on stdout"
    message = "\n".join(lines)
    # The path is the caller's, not the file's: one that is long already does not count against the limit.
    if len(lines) != 1 or len(message.replace(str(path), "")) > MAX_MESSAGE:
        yield f"error of {len(lines)} lines, {len(message)} characters: {message!r:.250}"


def unprintable(text: str) -> list[str]:
    """Control and format characters other than line ends; box drawing and escapes in ASCII are fine."""
    return sorted(
        {hex(ord(c)) for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\n"}
    )


EXIT = {
    "healthy": (0,),
    "bitflip_nochecksum": (0,),
    "crc_mismatch": (0, 1),
    "no_optimizer": (0,),
    "storage_size": (0, 1, 2),
    "zip_layout": (0, 1, 2),
    "zip_record_missing": (0, 1, 2),
    "trailing_bytes": (0, 1, 2),
    "leading_bytes": (2,),
    "zip_header": (2,),
    "zip_duplicate_entry": (2,),
    "zip_name_mismatch": (2,),
    "hostile_pickle": (2,),
    "resource_memory": (0, 1, 2),
    "view_out_of_range": (1, 2),
    "hostile_names": (0,),
    "hostile_index": (0, 1),
    "view_overlap": (0, 1),
    "resource_many_groups": (0,),
    "resource_stride0": (0, 1),
}
"""Exit statuses of `show` that a fault allows; not listed: 2 for what is no checkpoint, 0 to 2 for hostile content."""


def expected_exits(case: Case, path: Path) -> tuple[int, ...]:
    """By the kind of fault; for a file cut short by whether its structure is whole, as pickletools sees it."""
    fault = case.truth["fault"]
    if fault == "truncated":
        return (1,) if _structure_is_whole(path) else (2,)
    if fault == "crc_mismatch" and "opcode" in case.id:
        return (1, 2)
    if case.folder.name == "file_python_pickle_dict":
        return (0, 2)  # a readable pickle without any state: shown or refused, both are right
    return EXIT.get(fault, (2,) if case.room == "damaged" else (0, 1, 2))


def _structure_is_whole(path: Path) -> bool:
    data = path.read_bytes()
    if data[:4] == b"PK\3\4":
        name, extra = (int.from_bytes(data[at : at + 2], "little") for at in (26, 28))
        return b"data.pkl" in data[:200] and _ends(data, 30 + name + extra, 1)
    if path.suffix == ".safetensors":
        return len(data) >= 8 + int.from_bytes(data[:8], "little")
    return _ends(data, 0, 5)


def _ends(data: bytes, start: int, pickles: int) -> bool:
    """Do this many pickles in a row end with STOP? Disassembled, never loaded."""
    for _ in range(pickles):
        try:
            *_, (_, _, stop) = pickletools.genops(data[start:])
        except ValueError:
            return False
        start += (stop or 0) + 1
    return True


PLAIN = re.compile(r"torch\b|collections\b|_codecs\b|(__builtin__|builtins)\.(set|bytearray|list|unicode)$")


def named_globals(path: Path) -> set[str]:
    """Names outside torch and plain containers that the pickle in a zip refers to by GLOBAL or INST."""
    try:
        with zipfile.ZipFile(path) as archive:
            inner = [name for name in archive.namelist() if name.endswith("data.pkl")]
            data = archive.read(inner[0])
            found = {
                str(arg).replace(" ", ".") for op, arg, _ in pickletools.genops(data) if op.name in ("GLOBAL", "INST")
            }
    except (zipfile.BadZipFile, ValueError, IndexError, NotImplementedError, UnicodeDecodeError):
        return set()
    return {modern(name) for name in found if not PLAIN.match(name)}


def modern(name: str) -> str:
    """Python 2's name as Python 3's pickle understands it: __builtin__.unicode is builtins.str."""
    module, _, attribute = name.rpartition(".")
    module, attribute = NAME_MAPPING.get((module, attribute), (IMPORT_MAPPING.get(module, module), attribute))
    return f"{module}.{attribute}"
