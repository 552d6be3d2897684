"""OI711 to OI715: what must come back beside model and optimizer: GradScaler, random states, averages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from optinspect.checkpoint import Companion, ModelState
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.layouts.base import join, last
from optinspect.report import Severity
from optinspect.tensors import TensorRef

COLLAPSED = 2.0**-14
"""A scale below it: gradients would be pushed under float16's smallest normal number, instead of above it."""
CPU_SIZES = (5056, 5048)
"""Bytes of torch.get_rng_state() (with and without the padding of older versions)."""


@rule("OI711", Severity.ERROR, title="an impossible loss scale", repair="set scale to 65536, torch's initial value")
def scale(context: Context) -> Iterable[Complaint]:
    """The GradScaler's scale is 0, negative, NaN or infinite; or so small (a warning) that it has collapsed.

    Why a resume breaks: every gradient is 0 or NaN, every step is skipped, and the loss stands still in silence.
    Harmless when: never.
    Repair: set scale to 65536 and _growth_tracker to 0; look for NaN in the run, they halve the scale each time.
    Seen: transformers#34053, accelerate#4289, ultralytics PR#22189.
    """
    scalers = context.facts.checkpoint.scalers
    if not scalers:
        raise Skip("no GradScaler in the file")
    for each in scalers:
        value = _number(each.value.get("scale") if isinstance(each.value, Mapping) else None)
        if value is None:
            continue
        route = join(each.route, "scale")
        if not isfinite(value) or value <= 0:
            yield Complaint(f"scale is {value:g}", route)
        elif value < COLLAPSED:
            yield Complaint(
                f"scale is {value:g}: it was halved until nothing is left", route, severity=Severity.WARNING
            )


def _number(value: Any) -> float | None:
    if isinstance(value, TensorRef):
        from optinspect.layouts.base import Problems  # noqa: PLC0415
        from optinspect.layouts.values import scalar  # noqa: PLC0415

        value = scalar(value, Problems(), "")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@rule("OI712", Severity.WARNING, title="an empty GradScaler")
def scaler_empty(context: Context) -> Iterable[Complaint]:
    """The GradScaler's state is an empty dict: what a scaler that is switched off gives.

    Why a resume breaks: load_state_dict of a scaler that is switched on raises "The source state dict is empty".
    Harmless when: mixed precision stays switched off in the resumed run.
    Repair: leave the scaler out, or save one that was in use.
    Seen: scripts that save GradScaler(enabled=False) on CPU and resume on CUDA.
    """
    for each in context.facts.checkpoint.scalers:
        if isinstance(each.value, Mapping) and not each.value:
            yield Complaint("is empty", each.route)


@rule("OI713", Severity.NOTE, title="float16 without a GradScaler")
def scaler_missing(context: Context) -> Iterable[Complaint]:
    """Weights are float16, but no GradScaler's state is in the file.

    Why it matters: the scale starts again at 65536, and the first steps are skipped until it fits; schedulers that
    are stepped all the same run ahead.
    Harmless when: training uses no loss scale, or bfloat16 elsewhere.
    Repair: save scaler.state_dict().
    Seen: transformers#34053 (256 became 65536, and lr ran out of step), mmcv PR#1013, fairseq2#1346.
    """
    checkpoint = context.facts.checkpoint
    if checkpoint.scalers or not checkpoint.optimizers:
        raise Skip("a GradScaler is there" if checkpoint.scalers else "no optimizer in the file")
    half = [each for each in context.subjects if each.weight is not None and each.weight.dtype.name == "float16"]
    if half:
        yield Complaint(f"{len(half):,} weights are float16", None, half[0].named.name)


@rule("OI714", Severity.WARNING, title="a random state of the wrong size")
def random_state(context: Context) -> Iterable[Complaint]:
    """torch's CPU random state has another number of bytes than torch.set_rng_state takes.

    Why a resume breaks: set_rng_state raises "RNG state is wrong size".
    Harmless when: the state is not restored.
    Repair: save torch.get_rng_state() whole; do not gather it over ranks or slice it.
    Seen: states that were cut or padded to be sent between ranks.
    """
    found = list(_states(context.facts.checkpoint.rng))
    if not found:
        raise Skip("no random state of torch's CPU generator in the file")
    for route, tensor in found:
        if tensor.numel not in CPU_SIZES:
            yield Complaint(f"{tensor.numel:,} bytes ({CPU_SIZES[0]:,} expected)", route)


def _states(companions: Iterable[Companion]) -> Iterator[tuple[str, TensorRef]]:
    """What is torch's CPU state by its name."""
    for each in companions:
        name = last(each.route).lower()
        cpu = name in ("torch", "cpu", "torch_rng", "torch_rng_state", "cpu_rng_state", "torch_state", "torch_cpu")
        if cpu and isinstance(each.value, TensorRef):
            yield each.route, each.value


@rule("OI715", Severity.NOTE, title="an average that has not begun", requires=("OI104",))
def average(context: Context) -> Iterable[Complaint]:
    """The averaged copy of the weights equals the weights in every tensor, or counts no updates, after many steps.

    Why it matters: the average was lost, restarted, or saved over the weights; evaluation uses the wrong ones.
    Harmless when: averaging begins later in the run.
    Repair: take the average from the save before this one.
    Seen: yolov5#310, YOLOX#1318, lightly-train#892 (updates = 0 lets the average be overwritten).
    """
    checkpoint, steps = context.facts.checkpoint, [step for step in context.facts.steps if step is not None]
    averages = [(n, each) for n, each in enumerate(checkpoint.models) if each.role == "ema"]
    if not averages or not steps:
        raise Skip("no average of the weights in the file")
    figures = _figures(context)
    for number, each in averages:
        models = [(n, one) for n, one in enumerate(checkpoint.models) if one.role == "model"]
        if max(steps) > 2 and any(_equal(figures, number, each, n, one) for n, one in models):
            told = f"equals the weights in all {len(each.entries):,} tensors after {max(steps):g} steps"
            yield Complaint(told, each.route)


Figures = Mapping[tuple[int, str], tuple[float | None, ...]]


def _figures(context: Context) -> Figures:
    """(model, tensor) → figures that only equal tensors share, as a rule."""
    facts = context.facts
    found: dict[tuple[int, str], tuple[float | None, ...]] = {}
    for subject in facts.subjects:
        weight = facts.weight(subject)
        if weight is not None and subject.named.model is not None and subject.named.entry is not None:
            found[subject.named.model, subject.named.entry.name] = (weight.mean, weight.norm, weight.min, weight.max)
    for place, (number, entry) in enumerate(facts.loose):
        measured = facts.measured.get((None, place))
        if measured is not None and measured.weight is not None:
            one = measured.weight
            found[number, entry.name] = (one.mean, one.norm, one.min, one.max)
    return found


def _equal(figures: Figures, number: int, average: ModelState, other: int, model: ModelState) -> bool:
    pairs = [
        (figures.get((number, entry.name)), figures.get((other, entry.name)))
        for entry in average.entries
        if not entry.is_buffer and entry.name in model.by_name
    ]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return len(known) > 1 and all(a == b for a, b in known)


RULES: tuple[Rule, ...] = (scale, scaler_empty, scaler_missing, random_state, average)
