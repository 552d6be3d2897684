"""Time and memory of the commands beside the alternatives, side by side in one run (`make bench`).

    python bench/run.py [--runs N] [--layers N] [--in DIRECTORY] [--keep]

Builds a 1.5 GB training checkpoint (and one of 100,000 tiny tensors) in a temporary directory, runs all cases N times
in turn (so that a busy machine is unfair to all alike), and prints the median wall time, CPU time and peak memory of
each, and how many times faster it is than the script. All files are in the page cache: what is compared is the work.
To add a case: one line in CASES.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
SHOW = (sys.executable, "-m", "optinspect", "show")
REPLAY = (sys.executable, "-m", "optinspect", "replay")
DIFF = (sys.executable, "-m", "optinspect", "diff")
CHECK = (sys.executable, "-m", "optinspect", "check")
SCRIPT = (sys.executable, str(HERE / "user_script.py"))

PLAIN_READ = (
    sys.executable,
    "-c",
    "import os, sys\nf = os.open(sys.argv[1], os.O_RDONLY)\nb = bytearray(1 << 20)\no = 0\n"
    "while n := os.preadv(f, [b], o): o += n",
)


@dataclass(frozen=True)
class Case:
    """`command` gets the paths of its files ("" for none); its ratio is that of `against`'s wall time to its own."""

    title: str
    command: tuple[str, ...]
    file: str
    against: str | None = None
    second: str = ""


GPT2 = "gpt2.pt"
LATER = "gpt2_later.pt"
MANY = "many.pt"
SCRIPT_ALL = "script: torch.load + five figures, every tensor"
SCRIPT_STATE = "script, optimizer state only"
CASES = (
    Case("plain read of the file", PLAIN_READ, GPT2, SCRIPT_ALL),
    Case("optinspect show", SHOW, GPT2, SCRIPT_ALL),
    Case("optinspect show --weights", (*SHOW, "--weights"), GPT2, SCRIPT_ALL),
    Case("optinspect show --json", (*SHOW, "--json"), GPT2, SCRIPT_ALL),
    Case("optinspect show --no-stats", (*SHOW, "--no-stats"), GPT2, SCRIPT_ALL),
    Case("optinspect check", CHECK, GPT2, SCRIPT_ALL),
    Case(SCRIPT_ALL, SCRIPT, GPT2),
    Case(SCRIPT_STATE, (*SCRIPT, "--state"), GPT2),
    Case("optinspect replay --steps 3", (*REPLAY, "--steps", "3"), GPT2),
    Case("optinspect replay --steps 10, without a file", (*REPLAY, "--steps", "10"), ""),
    Case("optinspect diff, ten steps apart", DIFF, GPT2, SCRIPT_ALL, LATER),
    Case("optinspect diff, a file and itself", DIFF, GPT2, SCRIPT_ALL, GPT2),
    Case("optinspect diff --trust-crc, likewise", (*DIFF, "--trust-crc"), GPT2, SCRIPT_ALL, GPT2),
    Case("optinspect --help", (sys.executable, "-m", "optinspect", "--help"), ""),
    Case("100,000 tensors: show --no-stats --json", (*SHOW, "--no-stats", "--json"), MANY),
    Case("100,000 tensors: show --json", (*SHOW, "--json"), MANY),
    Case("100,000 tensors: diff --json", (*DIFF, "--json"), MANY, None, MANY),
    Case("100,000 tensors: script", SCRIPT, MANY),
)


@dataclass(frozen=True)
class Run:
    wall: float
    cpu: float
    peak: float
    """Megabytes of resident memory."""
    status: int


def run(case: Case, folder: Path) -> Run:
    # the path goes first: SCRIPT and PLAIN_READ read argv[1]
    head = len(SCRIPT) if case.command[: len(SCRIPT)] == SCRIPT else len(case.command)
    path = [str(folder / name) for name in (case.file, case.second) if name]
    command = [*case.command[:head], *path, *case.command[head:]]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, process.returncode)


def build(folder: Path, layers: int) -> None:
    """In processes of their own, so that their memory is not ours."""
    if not (folder / GPT2).exists():
        maker = [sys.executable, str(HERE / "gpt2_checkpoint.py")]
        subprocess.run([*maker, str(folder / GPT2), "--layers", str(layers)], check=True)
        subprocess.run([*maker, str(folder / LATER), "--layers", str(layers), "--later"], check=True)
        subprocess.run([*maker, str(folder / MANY), "--many"], check=True)


@contextmanager
def workplace(given: Path | None, keep: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=given, prefix="optinspect-bench-") as folder:
        if keep and given is not None:
            yield given
        else:
            yield Path(folder)


def table(results: dict[str, list[Run]]) -> Iterator[str]:
    yield f"{'':48} {'wall':>8} {'CPU':>8} {'peak':>8} {'faster':>8} {'status':>6}"
    walls = {title: median(one.wall for one in runs) for title, runs in results.items()}
    for case in CASES:
        runs = results[case.title]
        ratio = f"{walls[case.against] / walls[case.title]:6.1f} ×" if case.against else ""
        cpu, peak = median(one.cpu for one in runs), max(one.peak for one in runs)
        yield (
            f"{case.title:48} {walls[case.title]:6.2f} s {cpu:6.2f} s {peak:5.0f} MB {ratio:>8}"
            f" {max(one.status for one in runs):6}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12, help="of the GPT-2 shape; 12 make 1.5 GB")
    parser.add_argument(
        "--in", dest="folder", type=Path, help="where the files are built (default: the system's choice)"
    )
    parser.add_argument("--keep", action="store_true", help="with --in: keep the files, and use those that are there")
    options = parser.parse_args()
    with workplace(options.folder, options.keep) as folder:
        build(folder, options.layers)
        size = (folder / GPT2).stat().st_size
        print(
            f"{GPT2}: {size / 1e9:.2f} GB; {os.cpu_count()} cores; median of {options.runs} runs, after one to warm up"
        )
        results: dict[str, list[Run]] = {case.title: [] for case in CASES}
        for turn in range(options.runs + 1):
            for case in CASES:
                found = run(case, folder)
                if turn:
                    results[case.title].append(found)
        print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
