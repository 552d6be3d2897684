"""What a proof says: frozen, plain, and complete enough to be drawn by any renderer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from optinspect.proof.candidates import Source
from optinspect.proof.pairing import Place
from optinspect.report import Finding, Skipped

Verdict = Literal["verified", "consistent", "refuted", "undecided"]


@dataclass(frozen=True, slots=True)
class GroupProof:
    """One parameter group (its number in A).

    lr_inferred, lr_error     by least squares, with its standard error; None where nothing moved
    lr_from                   whose stored lr the step used; None where it was not one step, or no rule fits
    weight_decay_inferred     decoupled decay that the weights show, lr·wd over lr; weight_decay_error: standard error
    betas_inferred            from the moments alone; None where they do not tell
    variants                  rules that fit every member, as they are listed in Proof.variants_fitting
    """

    optimizer: int
    group: int
    lr_a: float | None
    lr_b: float | None
    lr_inferred: float | None = None
    lr_error: float | None = None
    lr_from: Source | None = None
    weight_decay: float | None = None
    weight_decay_inferred: float | None = None
    weight_decay_error: float | None = None
    betas: tuple[float, float] | None = None
    betas_inferred: tuple[float | None, float | None] | None = None
    gradient_norm: float | None = None
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParameterProof:
    """One parameter. index: in A.

    evidence          "step" where the step itself proves which weight this is; else that of naming
    moment_residual, step_residual   largest, in the units of docs/proof.md; None where not computed
    reason            why it is undecided
    """

    optimizer: int
    index: int
    group: int
    name: str | None
    evidence: str
    steps_between: float | None
    gradient_norm: float | None
    moment_residual: float | None
    step_residual: float | None
    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Test:
    """A law that must hold whatever the gradients were. worst: largest value/limit; strength: what it can exclude."""

    name: str
    worst: float
    held: bool
    strength: str


@dataclass(frozen=True)
class Proof:
    """What the optimizer did between two checkpoints.

    steps_between    of most parameters that were stepped; None where nothing counts
    variant          the rule that the files declare where it fits, else the first that does
    variants_fitting all rules that fit everywhere: the data cannot tell them apart
    clipped_at       the round value that the gradient norm is pinned to; None where it is not
    lr_from          None where groups differ, or where it was not one step
    names_a, names_b (optimizer, index) → tensor of the model in that file, proved by the step
    """

    verdict: Verdict
    steps_between: float | None
    variant: str | None
    variants_fitting: tuple[str, ...]
    gradient_norm: float | None
    clipped_at: float | None
    lr_from: Source | None
    groups: tuple[GroupProof, ...]
    parameters: tuple[ParameterProof, ...]
    tests: tuple[Test, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    names_a: Mapping[tuple[int, int], Place] = field(default_factory=dict)
    names_b: Mapping[tuple[int, int], Place] = field(default_factory=dict)

    @property
    def refuted(self) -> bool:
        return self.verdict == "refuted"
