"""The summary table: `python -m tests.acceptance [ROOM ...]`. Exit 1 when a case is wrong."""

from __future__ import annotations

import sys
from collections import Counter

from .corpus import HEALTHY_ROOMS, HURT_ROOMS, LATER_ROOMS, cases, root
from .judge import CERTAIN, Verdict, judge
from .rooms import Hurt, hurt

SHOWN = 25
"""Wrong cases a room that are printed in full; all of them count."""


def main(rooms: list[str]) -> int:
    print(f"corpus: {root()}")
    wrong = 0
    for room in rooms or (*HEALTHY_ROOMS, *HURT_ROOMS, *LATER_ROOMS):
        if room in HURT_ROOMS:
            wrong += hurt_table(room, [hurt(case) for case in cases(room)])
        else:
            wrong += read_table(room, [judge(case) for case in cases(room)])
    return 1 if wrong else 0


def read_table(room: str, verdicts: list[Verdict]) -> int:
    names: Counter[str] = sum((verdict.names for verdict in verdicts), Counter())
    bad = [verdict for verdict in verdicts if verdict.wrong]
    for verdict in bad[:SHOWN]:
        print(f"  WRONG {verdict.case}")
        print(*(f"        {line}" for line in verdict.wrong[:6]), sep="\n")
    for verdict in verdicts:
        if verdict.refused and not verdict.wrong:
            print(f"  refused {verdict.case}: {verdict.refused}")
    tensors, unread, sums = (
        sum(figures) for figures in zip(*((v.tensors, v.unread, v.sums) for v in verdicts), strict=True)
    )
    refused = sum(verdict.refused is not None and not verdict.wrong for verdict in verdicts)
    read = len(verdicts) - refused
    print(f"{room}: {read - len(bad)} of {read} cases read are right, {refused} were refused; ", end="")
    print(f"{tensors} tensors bit-equal with torch's, {sums} sums equal, {unread} inputs that torch cannot read here")
    for evidence in (*CERTAIN, "fingerprint", "order", "none", "position"):
        right, mistaken, none = (names[f"{evidence} {result}"] for result in ("right", "wrong", "none"))
        if right or mistaken or none:
            print(f"    {evidence:12} {right:6} right {mistaken:6} wrong {none:6} without a name")
    return len(bad)


def hurt_table(room: str, results: list[Hurt]) -> int:
    bad = [result for result in results if result.wrong]
    for result in bad[:SHOWN]:
        print(f"  WRONG {result.case}")
        print(*(f"        {line}" for line in result.wrong[:6]), sep="\n")
    exits = Counter(status for result in results for status in result.exits)
    executed = sum("EXECUTED" in line for result in results for line in result.wrong)
    slowest, largest = (max((figure(r) for r in results), default=0.0) for figure in (_seconds, _peak))
    print(f"{room}: {len(results) - len(bad)} of {len(results)} cases right; {executed} executed; ", end="")
    print(f"exits {dict(sorted(exits.items()))}; slowest {slowest:.1f} s; largest {largest:.0f} MB")
    return len(bad)


def _seconds(result: Hurt) -> float:
    return result.seconds


def _peak(result: Hurt) -> float:
    return result.peak_mb


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
