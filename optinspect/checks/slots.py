"""OI307 to OI312: are the slots of a parameter tensors of the right kind?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from optinspect.checkpoint import ModelEntry
from optinspect.checks.base import MANY, Complaint, Context, Rule, Spot, rule
from optinspect.checks.bounds import DIGITS
from optinspect.checks.values import BYTES, Found
from optinspect.layouts.base import join
from optinspect.plain import plain
from optinspect.report import Severity
from optinspect.subjects import Subject
from optinspect.tensors import CompositeRef, TensorRef, is_tensor

TORCHS = "torch.optim"
WHOLE = ("int", "bool")
"""Kinds of dtype without a fraction."""


def _in_shape(context: Context, subject: Subject) -> dict[str, TensorRef]:
    """The slots that are plain tensors in the parameter's shape, where the optimizer is known."""
    description = context.facts.description(subject)
    if description is None:
        return {}
    tensors = ((slot, value) for slot, value in subject.state.slots.items() if isinstance(value, TensorRef))
    return {slot: value for slot, value in tensors if description.kind(slot) == "parameter"}


@rule("OI307", Severity.ERROR, title="slots of one parameter differ in shape", requires=(*BYTES, "OI209", "OI214"))
def slot_shapes(context: Context) -> Iterable[Complaint]:
    """exp_avg and exp_avg_sq of one parameter have different shapes.

    Why a resume breaks: loading succeeds; the step raises a size mismatch, or broadcasts in silence where one of them
    is a number; fused kernels read and write beyond the tensor.
    Harmless when: never for optimizers that keep both in the parameter's shape.
    Repair: take the save before this one, or delete the parameter's state.
    Seen: state converted between layouts (a transposed linear layer), reduced for logging, cut by hand.
    """
    found: Found = []
    for subject in context.subjects:
        slots = _in_shape(context, subject)
        shapes = Counter(tensor.shape for tensor in slots.values())
        if len(shapes) < 2:
            continue
        entry = subject.named.entry
        right = entry.shape if entry is not None else shapes.most_common(1)[0][0]
        slot = next(slot for slot, tensor in slots.items() if tensor.shape != right)
        found.append((subject, slot, f"shape {list(slots[slot].shape)}, others {list(right)}"))
    return context.each(found)


@rule("OI308", Severity.WARNING, title="a dtype that loses digits", requires=(*BYTES, "OI209"))
def slot_dtypes(context: Context) -> Iterable[Complaint]:
    """A moment has fewer digits than its weight (float16 or bfloat16 beside float32); or it, or the weight that it
    belongs to, is stored in whole numbers (an error).

    Why a resume breaks: load_state_dict casts it up without a word; the digits stay lost. In float16 squares below
    6e-8 are 0 now; of weights in whole numbers nearly all are 0.
    Harmless when: an optimizer keeps low-precision moments by design: only torch's own are looked at.
    Repair: save the state as it is; do not call .half() or .bfloat16() on it.
    Seen: fairseq2#212, speculators#899 (a whole optimizer cast to bfloat16), ultralytics' fp16 saves.
    """
    found: Found = []
    whole: Found = []
    weights: list[tuple[Subject, ModelEntry, int]] = []
    stored = [(at, entry) for at, entry in context.facts.loose if _whole_weight(entry)]
    for subject in context.subjects:
        description = context.facts.description(subject)
        slots = _in_shape(context, subject)
        if description is None or description.source != TORCHS or not slots:
            continue
        finest = max(DIGITS.get(tensor.dtype.name, 0) for tensor in slots.values())
        needed = max(finest, DIGITS.get(subject.weight.dtype.name, 0) if subject.weight else 0)
        if subject.weight is None and finest and subject.state.shape:
            weights += [(subject, entry, at) for at, entry in stored if entry.shape == subject.state.shape]
        for slot, tensor in slots.items():
            if tensor.dtype.kind in WHOLE:
                whole.append((subject, slot, f"{tensor.dtype.name}: a moment in whole numbers"))
            elif 0 < DIGITS.get(tensor.dtype.name, 0) < needed:
                by_weight = subject.weight is not None and DIGITS.get(subject.weight.dtype.name) == needed
                of = "the weight has" if by_weight else "other moments have"
                digits = DIGITS[tensor.dtype.name]
                found.append((subject, slot, f"{tensor.dtype.name}: {digits} binary digits, where {of} {needed}"))
    for each in context.each(whole):
        yield replace(each, severity=Severity.ERROR)
    lost = {entry.name: (subject.key, entry, at) for subject, entry, at in weights}
    for key, entry, at in list(lost.values())[:MANY]:
        dtype = entry.tensor.dtype.name if entry.tensor.dtype is not None else "int"
        told = f"{dtype}: a weight in whole numbers, whose moments have fractions"
        route = join(context.facts.checkpoint.models[at].route, entry.key)
        yield Complaint(told, route, entry.name, (key,), Severity.ERROR)
    yield from context.each(found)


def _whole_weight(entry: ModelEntry) -> bool:
    """Whether a tensor of whole numbers is what became of a weight. Those of single bytes are quantised, and those
    with the name of a buffer are one.
    """
    tensor, own = entry.tensor, entry.name.rpartition(".")[2]
    whole = isinstance(tensor, TensorRef) and tensor.dtype.kind == "int" and tensor.dtype.itemsize > 1
    return whole and own in ("weight", "bias")


@rule("OI309", Severity.NOTE, title="load_state_dict will round the moments", requires=(*BYTES, "OI308"))
def finer_than_weight(context: Context) -> Iterable[Complaint]:
    """Moments have more digits than the weight. torch's load_state_dict casts them to the weight's dtype.

    Why it matters: training in float32 moments over bfloat16 weights resumes with bfloat16 moments; squares that are
    small become 0 in float16.
    Harmless when: the optimizer restores its state in its own way, or master weights are kept elsewhere.
    Repair: a load_state_dict_post_hook that puts the tensors of the file back in their dtype.
    Seen: fairscale#50, ParlAI#2512, OpenTau#184.
    """
    found: Found = []
    for subject in context.subjects:
        weight = subject.weight
        if weight is None or not weight.dtype.is_floating:
            continue
        for slot, tensor in (_in_shape(context, subject) or _like(subject, weight)).items():
            if (
                weight.dtype.itemsize < tensor.dtype.itemsize
                and tensor.dtype.is_floating
                and weight.dtype.kind == "float"
            ):
                found.append((subject, slot, f"{tensor.dtype.name} over a {weight.dtype.name} weight"))
    return context.each(found)


def _like(subject: Subject, weight: TensorRef) -> dict[str, TensorRef]:
    """Of an optimizer that is not known: the slots in the weight's shape."""
    return {slot: tensor for slot, tensor in subject.tensors.items() if tensor.shape == weight.shape}


@rule("OI310", Severity.ERROR, title="two slots share their memory", requires=(*BYTES, "OI203"))
def shared(context: Context) -> Iterable[Complaint]:
    """Two slots, of one parameter or of two, are the same elements of one storage.

    Why a resume breaks: each step writes one through the other. torch keeps the sharing when it saves and loads.
    Harmless when: never for moments. Slots beside each other in one storage are not meant.
    Repair: clone() the tensors before saving; the values of one of the two are lost.
    Seen: FSDP1 with offload_to_cpu wrote exp_avg and exp_avg_sq of every parameter as one tensor (torch 2.13).
    """
    spans: dict[int, list[tuple[int, int, Subject, str]]] = {}
    for subject in context.subjects:
        for slot, tensor in subject.tensors.items():
            if tensor.numel and not tensor.problem and not slot.startswith("qmap"):  # bitsandbytes has one map for all
                length = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
                size = tensor.dtype.itemsize
                span = (tensor.offset * size, (tensor.offset + length) * size, subject, slot)
                spans.setdefault(id(tensor.storage), []).append(span)
    found: Found = []
    others: dict[Spot, None] = {}
    for held in spans.values():
        end, other, its = 0, held[0][2], ""
        for start, stop, subject, slot in sorted(held, key=lambda span: span[:2]) if len(held) > 1 else ():
            if start < end:
                found.append((subject, slot, f"the same memory as {its} of {other.label}"))
                others[other.key] = None
            if stop > end:
                end, other, its = stop, subject, slot
    for each in context.each(found):
        yield replace(each, spots=(*each.spots, *others))


@rule("OI311", Severity.ERROR, title="a slot is no ordinary tensor", requires=(*BYTES, "OI307"))
def ordinary(context: Context) -> Iterable[Complaint]:
    """A moment is an expanded view (stride 0), sparse, or no tensor at all; or it requires a gradient (a warning).

    Why a resume breaks: in-place updates of an expanded tensor raise "unsupported operation", or write one number for
    all; those of a sparse one raise NotImplementedError, of a number or list AttributeError. A moment that requires a
    gradient keeps the graph of every step alive, or raises in the in-place update.
    Harmless when: torch's load clones the tensor, as it does where dtype or device change.
    Repair: `state[k] = state[k].detach().clone()` before saving.
    Seen: state built by hand with zeros(1).expand_as(p); differentiable optimizers.
    """
    found: Found = []
    graph: Found = []
    for subject in context.subjects:
        for slot, tensor in subject.tensors.items():
            if tensor.is_expanded:
                found.append((subject, slot, f"stride 0: {tensor.numel:,} elements share {_stored(tensor):,}"))
            elif tensor.requires_grad and not _differentiable(subject):
                graph.append((subject, slot, "requires a gradient"))
        found += [(subject, slot, told) for slot, told in _of_wrong_kind(context, subject)]
    yield from context.each(found)
    for each in context.each(graph):
        yield replace(each, severity=Severity.WARNING)


def _of_wrong_kind(context: Context, subject: Subject) -> Iterator[tuple[str, str]]:
    """Slots of torch's own optimizers that are dense tensors in every file that it writes, and here are not."""
    description = context.facts.description(subject)
    if description is None or description.source != TORCHS:
        return
    anew = {each.slot for each in description.asked if each.anew}  # SGD's is the gradient, and sparse where that is
    for slot, value in subject.state.slots.items():
        sparse = isinstance(value, CompositeRef) and value.kind.startswith("sparse")
        if sparse and description.kind(slot) == "parameter" and slot not in anew:
            yield slot, f"{value.kind} (a dense tensor expected)"
        elif not is_tensor(value) and value is not None and slot != "step":
            wanted = EXPECTED.get(description.kind(slot) or "other")
            if wanted is not None and not (wanted == "a number" and isinstance(value, int | float)):
                yield slot, f"{plain(value, nodes=8)!r}"[:40] + f" ({wanted} expected)"


EXPECTED = {"parameter": "a tensor", "factored": "a tensor", "scalar": "a number"}


def _stored(tensor: TensorRef) -> int:
    return tensor.storage.nbytes // tensor.dtype.itemsize


def _differentiable(subject: Subject) -> bool:
    return bool(subject.group.hyperparameters.get("differentiable"))


RULES: tuple[Rule, ...] = (slot_shapes, slot_dtypes, finer_than_weight, shared, ordinary)
