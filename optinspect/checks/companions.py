"""OI711 to OI713 and OI715: what must come back beside model and optimizer: GradScaler, averages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

from optinspect.checkpoint import Checkpoint, ModelState
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.layouts.base import join, last
from optinspect.opaque import Opaque
from optinspect.report import Severity
from optinspect.tensors import TensorRef


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
        elif value < context.facts.terms.thresholds.collapsed_scale:
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

    A note where a configuration in the file says that mixed precision is off.

    Why a resume breaks: load_state_dict of a scaler that is switched on raises "The source state dict is empty".
    Harmless when: mixed precision stays switched off in the resumed run.
    Repair: leave the scaler out, or save one that was in use.
    Seen: scripts that save GradScaler(enabled=False) on CPU and resume on CUDA.
    """
    checkpoint = context.facts.checkpoint
    off = any(_says_off(key, value) for _, key, value in _configured(checkpoint.other))
    for each in checkpoint.scalers:
        if isinstance(each.value, Mapping) and not each.value:
            yield Complaint("is empty", each.route, severity=Severity.NOTE if off else None)


@rule("OI713", Severity.NOTE, title="float16 without a GradScaler")
def scaler_missing(context: Context) -> Iterable[Complaint]:
    """Weights are float16, or the configuration in the file asks for float16, but no GradScaler's state is there.

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
    asked = next(_half_asked(checkpoint.other), None) if not half else None
    if asked is not None:
        yield Complaint(f"{asked[0]} is {asked[1]!r}, but there is no state of a GradScaler", asked[0])


def _half_asked(other: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Route and value of what asks for float16 in a configuration: fp16=True, precision="16-mixed"."""
    for route, key, item in _configured(other):
        if (key in ("fp16", "use_fp16") and item is True) or (key in PRECISION and str(item).lower() in HALF):
            yield route, item


def _says_off(key: Any, value: Any) -> bool:
    """amp=False, fp16=False, precision="32-true": no loss is scaled."""
    switched = key in ("amp", "use_amp", "fp16", "use_fp16") and value is False
    return switched or (key in PRECISION and str(value).lower() in WHOLE)


def _configured(other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Route, key and value of what configurations hold, and of single settings beside them."""
    for route, value in other.items():
        held = value.state if isinstance(value, Opaque) else value
        if isinstance(held, Mapping):
            yield from ((join(route, key), key, item) for key, item in held.items())
        else:
            yield route, last(route), value


PRECISION = ("precision", "mixed_precision", "amp_dtype")
WHOLE = ("no", "none", "32", "32-true", "64-true", "bf16", "bf16-mixed", "bf16-true", "float32", "bfloat16")
"""How configurations spell precisions that scale no loss."""


HALF = ("16", "16-mixed", "fp16", "float16", "half", "torch.float16")
"""How configurations spell it; "16-true" has no scaler."""


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
        route, updates = _updates(checkpoint, each)
        if updates == 0 and max(steps) > 2:
            yield Complaint(f"has made 0 updates after {max(steps):g} steps", route)
            continue
        models = [(n, one) for n, one in enumerate(checkpoint.models) if one.role == "model"]
        if max(steps) > 2 and any(_equal(figures, number, each, n, one) for n, one in models):
            told = f"equals the weights in all {len(each.entries):,} tensors after {max(steps):g} steps"
            yield Complaint(told, each.route)


def _updates(checkpoint: Checkpoint, average: ModelState) -> tuple[str, float | None]:
    """What counts the updates of an average, in it (n_averaged) or beside it (updates, num_updates)."""
    outer, names = average.route.rpartition(".")[0], ("updates", "num_updates", "n_averaged")
    beside = {f"{place}.{name}" if place else name for place in (average.route, outer) for name in names}
    for route, value in checkpoint.counters.items():
        if route in beside or (last(route) in names and "ema" in route.lower()):
            return route, value
    entry = average.by_name.get("n_averaged")
    return join(average.route, "n_averaged"), _number(entry.tensor) if entry is not None else None


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


RULES: tuple[Rule, ...] = (scale, scaler_empty, scaler_missing, average)
