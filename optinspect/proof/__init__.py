"""The proof from two checkpoints: what the optimizer did between them. numpy only; torch is not imported.

    pairing ──▶ clocks ──▶ study (samples: betas, whose state is whose, which rules can fit)
                      ──▶ one pass over every element (tallies, drift)  ──▶ diagnosis ──▶ Proof

docs/proof.md has the formulas, the units and what was measured.
"""

from __future__ import annotations

from collections.abc import Callable

from optinspect.checkpoint import Checkpoint
from optinspect.proof.clocks import clocks_of
from optinspect.proof.pairing import pairs
from optinspect.proof.result import GroupProof, ParameterProof, Proof, Test, Verdict
from optinspect.proof.summary import combined
from optinspect.proof.trial import tried

__all__ = ["GroupProof", "ParameterProof", "Proof", "Test", "Verdict", "prove"]


def prove(
    a: Checkpoint,
    b: Checkpoint,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Proof:
    """What the optimizer did from checkpoint A to checkpoint B of one run.

    threads   None: one a core, at most 4
    progress  called with the number of bytes just read

    Raises Undecidable where the two cannot be set side by side (no optimizer, other numbers of parameters), or where
    B is the earlier one; FileChanged when a file is rewritten meanwhile.
    """
    clocks = clocks_of(a, b)
    return combined([tried(pair, clocks, (a, b), threads, progress) for pair in pairs(a, b)])
