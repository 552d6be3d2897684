"""The whole comparison in one line, and the figures that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, isnan

from optinspect.checkpoint import Checkpoint
from optinspect.comparison.parameters import STRUCTURE, Parameter
from optinspect.comparison.tensors import TensorChange

ALIKE = 0.5
"""Cosine of all weights together (of two dimensions and more) from which two checkpoints are taken for one run.

Measured: 0.998 and above on 33 runs ten steps apart and on the sample run; at most 0.17 between two seeds of a model
with 136 weights in matrices, where chance is largest.
"""


def steps_of(checkpoint: Checkpoint) -> float | None:
    """The largest step count: of the optimizers, else of the counters that count steps or iterations."""
    counted = [step for optimizer in checkpoint.optimizers for step in optimizer.steps]
    if not counted:
        counted = [float(value) for route, value in checkpoint.counters.items() if "step" in route or "iter" in route]
    return max(counted, default=None)


def steps_between(parameters: Sequence[Parameter]) -> set[float]:
    """How many steps each parameter took from a to b: one number in one run, where none was added or reset."""
    found = {
        row.b.state.step - row.a.state.step
        for row in parameters
        if row.a is not None and row.b is not None and row.a.state.step is not None and row.b.state.step is not None
    }
    return {step for step in found if not isnan(step)}


def cosine_of_weights(compared: Sequence[TensorChange]) -> float | None:
    """a·b / (‖a‖·‖b‖) over all weights of two dimensions and more; None where none was compared."""
    changes = [
        each.change
        for each in compared
        if each.job.kind == "weight" and each.change is not None and len(each.job.a.shape) >= 2
    ]
    norm_a, norm_b = hypot(*(each.norm_a for each in changes)), hypot(*(each.norm_b for each in changes))
    if not (norm_a and norm_b):
        return None
    return sum(each.cross * (each.norm_a / norm_a) * (each.norm_b / norm_b) for each in changes)


def verdict(
    identical: bool,
    parameters: Sequence[Parameter],
    compared: Sequence[TensorChange],
    *,
    settings: bool,
    values: bool,
    between: float | None,
) -> str:
    """One line. settings, values: some hyperparameter, some other value differs; between: steps from a to b."""
    if identical:
        return "identical" if all(each.bit_equal for each in compared) else "identical within the tolerance"
    unknown = sum(each.unknown for each in compared)
    if unknown and not (settings or values or any(set(row.changes) - {"unreadable"} for row in parameters)):
        tensors = f"{unknown:,} tensor{'s' * (unknown != 1)}"
        return f"identical as far as they could be compared: {tensors} could not be read"
    both = [row for row in parameters if not {"added", "removed", "shape"} & set(row.changes)]
    if parameters and len(both) * 2 < len(parameters):
        return f"different models: {len(both):,} of {len(parameters):,} parameters are in both with the same shape"
    if all(each.within for each in compared) and compared:
        return _same_values(parameters, settings=settings, values=values, between=between)
    cosine = cosine_of_weights(compared)
    structure = any(STRUCTURE & set(row.changes) or {"added", "removed"} & set(row.changes) for row in parameters)
    same = "partly the same structure" if structure else "same structure"
    if cosine is not None and cosine >= ALIKE and between:
        when = "later" if between > 0 else "earlier"
        run = "same run" if not structure else "same run with changes of structure"
        return f"{run}, {_steps(abs(between))} {when} (cosine of the weights {cosine:.4f})"
    told = f", {_steps(abs(between))} apart" if between else ""
    if not compared:
        return "the same where they were compared, but for what is listed" if not structure else same
    return f"{same}, other values{told}"


def _same_values(parameters: Sequence[Parameter], *, settings: bool, values: bool, between: float | None) -> str:
    happened = {change for row in parameters for change in row.changes}
    reasons = [
        word
        for word, present in (
            ("numbering", "renumbered" in happened),
            ("groups", "moved" in happened),
            ("hyperparameters", settings),
            ("parameters", bool({"added", "removed"} & happened)),
            ("structure", bool(STRUCTURE & happened)),
            ("step counts", "step" in happened or bool(between)),
            ("other values", values),
        )
        if present
    ]
    return f"same weights and state, other {', '.join(reasons).replace('other values', 'values beside them')}"


def _steps(count: float) -> str:
    return f"{count:,g} step{'s' * (count != 1)}"
