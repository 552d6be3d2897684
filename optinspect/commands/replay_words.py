"""What `replay` says in words: who stepped what with which gradients, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from optinspect.commands.wording import counted
from optinspect.optimizers.rules import rule_named
from optinspect.replaying.movers import opponent_named
from optinspect.replaying.result import Replayed
from optinspect.report import Line, Severity

SOURCES = {
    "recorded": "recorded: those that the optimizer used in the run",
    "synthetic": "synthetic: drawn from what the moments describe, N(m̂, max(v̂ − m̂², 0)); not those of the run",
    "zero": "zero: what momentum and decay still do alone",
    "model": "of the model given with --model, on the batches given with --data",
    "demo": "of the model, on pieces of the text",
}


def sides(replayed: Replayed) -> Iterator[Line]:
    """Who steps: the rule, and what it is compared with."""
    titles = [rule_named(name) for name in replayed.rule.split(" + ")]
    told = " and ".join(rule.title for rule in titles if rule is not None)
    yield Line("rule", f"{told}, as optinspect has it ({replayed.rule})")
    yield Line("against", f"{opponent_named(replayed.against).title} ({replayed.against})")


def gradients(replayed: Replayed, seed: int) -> Line:
    told = SOURCES[replayed.source]
    return Line("gradients", f"{told} (--seed {seed})" if replayed.source == "synthetic" else told)


def result(replayed: Replayed) -> Iterator[Line]:
    """The answer in one sentence, and what casts a shadow on it."""
    steps = counted(len(replayed.steps), "step")
    apart = replayed.apart
    if apart.bit_equal:
        yield Line("result", f"bit-equal: the same weights and moments after each of {steps}, to the last bit")
    elif apart.max_ulps == 0:
        yield Line("result", f"after {steps} the weights are the same to the last bit, the moments are not", _NOTE)
    else:
        far = f"up to {apart.max_abs:.3e} ({apart.max_ulps:,} units in the last place)"
        yield Line("result", f"not the same: after {steps} the weights are {far} apart", _NOTE)
    if any(not isfinite(row.update_norm) for row in replayed.steps):
        first = next(row.step for row in replayed.steps if not isfinite(row.update_norm))
        yield Line("result", f"from step {first} on weights are NaN or Inf", Severity.ERROR)


_NOTE = Severity.WARNING


def notes(replayed: Replayed) -> Iterator[Line]:
    for note in replayed.notes:
        yield Line("note", note)
    if replayed.skipped:
        name, reason = replayed.skipped[0]
        more = f" and {len(replayed.skipped) - 1:,} more" if len(replayed.skipped) > 1 else ""
        yield Line("not stepped", f"{name}{more}: {reason}", Severity.WARNING)


def status(replayed: Replayed) -> int:
    """0 where the two agree to the last bit, 1 where they do not, as `diff` and `cmp` have it."""
    return 0 if replayed.bit_equal else 1
