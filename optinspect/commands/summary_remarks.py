"""What stands out in live objects: who is not trained and why, gradients, learning rates that were changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optinspect.commands import show_remarks, summary_settings
from optinspect.commands.facts import Subject
from optinspect.commands.show_remarks import OUT, of
from optinspect.commands.summary_facts import Live
from optinspect.commands.summary_tables import ONE_GROUP
from optinspect.commands.wording import counted, some
from optinspect.report import Line, Severity
from optinspect.tensors import TensorRef

UNCHANGED = "nothing was changed: weights, state, gradients and random state are as they were"


def footer(live: Live) -> tuple[Line, ...]:
    facts = live.facts
    covered = show_remarks.covered(facts) if facts.measured is not None else Line("covered", "no values (stats=False)")
    said = [*_stands_out(live), *show_remarks.notes(facts)]
    return (*sorted(said, key=lambda line: line.label != OUT), covered, Line("safety", UNCHANGED))


def _stands_out(live: Live) -> Iterator[Line]:
    facts = live.facts
    if not facts.subjects and facts.everything:
        yield Line(OUT, "no parameter matches group and filters", Severity.WARNING)
    yield from show_remarks.settings(facts)
    yield from show_remarks.values(facts)
    yield from _valueless(live)
    yield from _gradients(live)
    yield from _membership(live)
    yield from _frozen(live)
    yield from _state(live)
    yield from summary_settings.remarks(live)


def _valueless(live: Live) -> Iterator[Line]:
    """Parameters that have no values: meta, lazy, freed."""
    found: dict[str, list[Subject]] = {}
    for one in live.facts.subjects:
        tensor = live.ref(one)
        if isinstance(tensor, TensorRef) and tensor.problem:
            found.setdefault(tensor.problem, []).append(one)
    for reason, subjects in found.items():
        yield Line(OUT, f"no values in {of(subjects)}: {reason}", Severity.WARNING)


def _membership(live: Live) -> Iterator[Line]:
    if not live.has_model:
        yield Line("note", "no model was given: names are those that the optimizer was given, where it was given any")
    if live.strangers:
        told = f"not in the model: {of(list(live.strangers))}: the optimizer steps tensors that the model does not use"
        yield Line(OUT, f"{told} (replaced since it was made, or of another model)", Severity.WARNING)
    lost = [name for name in live.loose if live.tensor(name).requires_grad]
    if lost:
        told = f"trainable, but in no group of this optimizer: {counted(len(lost), 'parameter')}: {some(lost)}"
        yield Line(OUT, told, Severity.WARNING)


def _frozen(live: Live) -> Iterator[Line]:
    frozen = [one for one in live.facts.subjects if not live.trains(one)]
    moving = [one for one in frozen if live.gradient(one).kind != "none"]
    if moving:
        told = f"frozen, but its gradient is not None, so the optimizer still steps {of(moving)}"
        yield Line(OUT, f"{told} (zero_grad() ends it)", Severity.WARNING)
    if frozen:
        yield Line("note", f"frozen in a group: {of(frozen)}; requires_grad_(True) trains them, with this optimizer")
    shut = [name for name in live.loose if not live.tensor(name).requires_grad]
    if shut:
        told = f"frozen and in no group: {counted(len(shut), 'parameter')}: {some(shut)}"
        yield Line("note", f"{told}; to train them takes requires_grad_(True) and add_param_group")


def _gradients(live: Live) -> Iterator[Line]:
    by_kind: dict[str, list[Subject]] = {}
    for one in live.facts.subjects:
        if live.trains(one):
            by_kind.setdefault(live.gradient(one).kind, []).append(one)
    if bad := by_kind.get("not finite"):
        yield Line(OUT, f"NaN or Inf in the gradient of {of(bad)}", Severity.ERROR)
    if by_kind.keys() <= {"none", "not read"} and "not read" not in by_kind:
        return
    if absent := by_kind.get("none"):
        told = f"no gradient (None), where others have one: {of(absent)}; they are not stepped"
        yield Line(OUT, told, Severity.WARNING)
    if zero := by_kind.get("zero"):
        told = f"a gradient of zeros in {of(zero)}: not None, so momentum and weight decay still move them"
        yield Line(OUT, told, Severity.WARNING)


def _state(live: Live) -> Iterator[Line]:
    subjects = list(live.facts.subjects)
    missing = [one for one in subjects if one.state.present == "missing"]
    apart = live.facts.checkpoint.optimizers[0].family in ONE_GROUP  # all of its state is its first parameter's
    fresh = [] if apart else [one for one in missing if live.trains(one)]
    if missing and len(missing) == len(subjects):
        yield Line(OUT, "no parameter has state: no step was taken, or this optimizer keeps none")
    elif fresh:
        yield Line(OUT, f"no state yet, though trainable: {of(fresh)} (no gradient has reached them)", Severity.WARNING)
    yield from show_remarks.kept("", live.facts.checkpoint.optimizers[0], subjects)
    yield from _mismatched(live, subjects)


def _mismatched(live: Live, subjects: Sequence[Subject]) -> Iterator[Line]:
    """State that cannot be this parameter's, or lies elsewhere: a step fails, or is wrong where shapes broadcast."""
    shapes = [one for one in subjects if one.state.shape not in (None, live.ref(one).shape)]
    if shapes:
        yield Line(OUT, f"state of another shape than its parameter: {of(shapes)}", Severity.ERROR)
    if elsewhere := [one for one in subjects if _elsewhere(live, one)]:
        first = elsewhere[0]
        where = f"parameter on {live.ref(first).device}, state on {some(sorted(_devices(first)))}"
        told = f"state on another device than its parameter: {of(elsewhere)} ({where})"
        yield Line(OUT, f"{told}: was the model moved after the optimizer was made?", Severity.WARNING)


def _elsewhere(live: Live, subject: Subject) -> bool:
    devices = _devices(subject)
    return bool(devices) and live.ref(subject).device not in devices


def _devices(subject: Subject) -> set[str]:
    """Where its state lies; step counters may be anywhere."""
    return {tensor.device for _, tensor in subject.state.tensors if tensor.numel > 1}
