"""Mutants and generated pickles against the reader: python tests/hostile/fuzz.py --count 50000 --seed 1

Half of the mutants are of raw bytes, half of the structure with checksums repaired. For each: no execution, no import,
no writing (audit hook), no exception but OptinspectError, a bound on time; for all: a bound on memory. A file that
breaks a promise is written to --keep, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hostile import generated, mutants
from hostile.examine import examine
from hostile.guard import Executed, watching

SLOW = 2.0  # seconds of CPU for one file of at most a few kB; the slowest seen takes 0.02
GROWTH = 150 << 10  # kB that a worker may grow over what the imports need; seen: 40 MB
BATCH = 500
SLICES = 16


def candidates(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` files: of 20, nine raw mutants, nine structured ones, two wild pickles."""
    rng = random.Random(seed)
    structured = [mutants.Structured(data) for data in seeds]
    for number in range(count):
        kind = number % 20
        at = rng.randrange(len(seeds))
        if kind < 9:
            yield mutants.raw(rng, seeds[at])
        elif kind < 18:
            yield structured[at].mutant(rng)
        else:
            yield generated.wild(rng)


def judge(data: bytes) -> tuple[str, str | None]:
    """The outcome, and what is wrong with it."""
    start = time.process_time()
    try:
        outcome = examine(data)
    except (Exception, Executed) as error:
        return "broken", f"{type(error).__name__}: {error}"
    spent = time.process_time() - start
    return outcome, None if spent < SLOW else f"took {spent:.1f} s"


def batch(job: tuple[list[bytes], int, int]) -> tuple[Counter[str], list[tuple[str, bytes]]]:
    """Outcomes of one batch, and the files that broke a promise."""
    seeds, count, seed = job
    outcomes: Counter[str] = Counter()
    broken: list[tuple[str, bytes]] = []
    files = candidates(seeds, count, seed) if count else islice(generated.matrix(), seed, None, SLICES)
    for data in files:
        with watching():
            outcome, wrong = judge(data)
        outcomes[outcome] += 1
        if wrong is not None:
            broken.append((wrong, data))
    return outcomes, broken


def run(count: int, seed: int, workers: int) -> tuple[Counter[str], list[tuple[str, bytes]], int]:
    """All outcomes, what broke, and the largest growth of a worker in kB. The matrix of names is always included."""
    from hostile.seeds import seeds  # noqa: PLC0415 - torch, which the workers need not have

    files = seeds()
    jobs = [(files, 0, number) for number in range(SLICES)]
    jobs += [(files, min(BATCH, count - start), seed * 1_000_003 + start) for start in range(0, count, BATCH)]
    outcomes: Counter[str] = Counter()
    broken: list[tuple[str, bytes]] = []
    with multiprocessing.get_context("fork").Pool(workers, _remember_start) as pool:
        for part, wrong in pool.imap_unordered(batch, jobs):
            outcomes += part
            broken += wrong
        peaks = pool.map(_peak, range(workers * 4))
    return outcomes, broken, max(peaks)


_start = {"peak": 0}


def _remember_start() -> None:
    _start["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peak(_: int) -> int:
    """kB that this worker has grown by since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - _start["peak"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for files that broke a promise")
    options = parser.parse_args()
    start = time.monotonic()
    outcomes, broken, growth = run(options.count, options.seed, options.workers)
    print(f"{sum(outcomes.values()):,} files in {time.monotonic() - start:.1f} s, seed {options.seed}: ", end="")
    print(", ".join(f"{number:,} {kind}" for kind, number in outcomes.most_common()))
    print(f"{len(broken)} broke a promise; a worker grew by at most {growth / 1024:.0f} MB")
    for wrong, data in broken[:20]:
        place = hashlib.sha256(data).hexdigest()[:12]
        print(f"  {place}: {wrong:.300}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{place}.bin").write_bytes(data)
    return 1 if broken or growth > GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
