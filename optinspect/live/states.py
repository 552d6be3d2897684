"""OI905 and OI906: shape and dtype of each state against the parameter that it would go to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from optinspect.live.case import Case, Pair, together
from optinspect.live.misfit import Misfit, Reaction
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.report import Severity
from optinspect.tensors import CompositeRef, TensorRef

Complaint = tuple[Pair, str | None, str]
"""A pair, the slot that it is about, what is wrong."""


@live_rule("OI905", Severity.ERROR, title="state of another shape than the parameter")
def shapes(told: Told, case: Case) -> Iterator[Misfit]:
    """A slot that has the parameter's shape in this optimizer has another one in the file.

    Why a resume breaks: load_state_dict does not compare shapes; the first step raises "The size of tensor a must match
    the size of tensor b", or broadcasts. With fused=True on CPU memory beyond the tensor is read and written.
    Harmless when: never.
    Repair: use the model of the run; after a change of the vocabulary or of a head pad the state, or drop it.
    Seen: pytorch#40769, yolov5#1412, OpenNMT-py#2030, DALLE2#115.
    """
    found: list[Complaint] = []
    for pair in case.pairs:
        live = tuple(pair.member.tensor.shape)
        wrong = next((slot for slot, held in _like_parameter(case, pair) if held.shape != live), None)
        if wrong is not None:
            held = pair.state.slots[wrong].shape
            found.append((pair, wrong, f"{wrong} has shape {list(held)} in the file, the parameter {list(live)}"))
    fused = any(case.settings(group.number).get("fused") for group in case.file.groups)
    reaction = (
        Reaction("silent", "fused=True reads and writes beyond the tensor")
        if fused
        else Reaction("step", "RuntimeError")
    )
    yield from tell(told, case, found, reaction, _shape)


def _shape(pair: Pair, slot: str | None) -> tuple[Any, Any]:
    held = pair.state.slots[slot] if slot is not None else None
    return (list(held.shape) if held is not None else None), list(pair.member.tensor.shape)


def _like_parameter(case: Case, pair: Pair) -> Iterator[tuple[str, TensorRef | CompositeRef]]:
    """Slots that have the parameter's shape; of an optimizer that nobody knows, those that tell its shape."""
    known = case.description
    for slot, value in pair.state.tensors:
        if known is not None:
            if known.kind(slot) == "parameter":
                yield slot, value
        elif pair.state.shape is not None and value.shape == pair.state.shape:
            yield slot, value


@live_rule(
    "OI906",
    Severity.ERROR,
    title="state of another dtype than the parameter",
    repair="make the model in the dtype of the run, or allow it where the cast is meant",
)
def dtypes(told: Told, case: Case) -> Iterator[Misfit]:
    """The moments are of another dtype than the parameter: load_state_dict casts them without a word.

    Why a resume breaks: float32 moments lose digits in a bfloat16 model, and v turns to 0 in float16; moments that
    were bfloat16 in the file do not get back what they lost, where the run has kept them in float32.
    Single numbers that are tensors (mu_product of NAdam, eta of ASGD) are cast too: a warning, since torch does so to
    its own files.
    Harmless when: the run was moved to another precision on purpose.
    Repair: make the model in the dtype of the run before loading.
    Seen: pytorch#74424; model.half() before load_state_dict; checkpoints written in bfloat16 to save space.
    """
    if not _casts(case):
        return
    found: list[Complaint] = []
    for pair in case.pairs:
        tensor = pair.member.tensor
        live = str(tensor.dtype).removeprefix("torch.")
        if not tensor.is_floating_point():
            continue
        for slot, held in _like_parameter(case, pair):
            if isinstance(held, TensorRef) and held.dtype.name != live:
                found.append((pair, slot, f"{slot} is {held.dtype.name} in the file, the parameter {live}"))
                break
    yield from tell(told, case, found, Reaction("silent", "it casts"), _dtype)
    if not found:
        yield from tell(told, case, list(_scalars(case)), Reaction("silent", "it casts"), _dtype, Severity.WARNING)


def _scalars(case: Case) -> Iterator[Complaint]:
    """Numbers kept as tensors (NAdam's mu_product, ASGD's eta): torch casts all of them but `step`."""
    for pair in case.pairs:
        live = str(pair.member.tensor.dtype).removeprefix("torch.")
        shaped = {slot for slot, _ in _like_parameter(case, pair)}
        for slot, held in pair.state.tensors:
            if not isinstance(held, TensorRef) or held.shape or held.dtype.kind != "float" or slot in shaped:
                continue
            if held.dtype.name != live and pair.member.tensor.is_floating_point():
                yield pair, slot, f"{slot} is {held.dtype.name} in the file, the parameter {live}"
                break


def _dtype(pair: Pair, slot: str | None) -> tuple[Any, Any]:
    held = pair.state.slots[slot] if slot is not None else None
    return (held.dtype.name if held is not None else None), str(pair.member.tensor.dtype).removeprefix("torch.")


def _casts(case: Case) -> bool:
    """Whether loading follows torch's own policy, which casts to the parameter's dtype."""
    import torch  # noqa: PLC0415

    kind, base = case.kind, torch.optim.Optimizer
    if not issubclass(kind, base) or kind.load_state_dict is not base.load_state_dict:
        return False
    name = "_process_value_according_to_param_policy"
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None) is vars(base).get(name)


def tell(
    told: Told,
    case: Case,
    found: Sequence[Complaint],
    reaction: Reaction,
    sides: Callable[[Pair, str | None], tuple[Any, Any]],
    severity: Severity | None = None,
) -> Iterator[Misfit]:
    """One misfit a pair while they are few, else one for all; `sides` gives the file's value and the live one."""
    slot_of = {pair.member.index: slot for pair, slot, _ in found}
    for pairs, message in together([(pair, what) for pair, _, what in found]):
        first = pairs[0]
        slot = slot_of[first.member.index]
        file, live = sides(first, slot)
        misfit = told(
            message,
            reaction,
            *(("index", pair.member.index) for pair in pairs),
            route=case.state_route(first.state, slot),
            parameter=first.member.name,
            file=file,
            live=live,
            severity=severity,
        )
        others = ((case.state_route(p.state, slot_of[p.member.index]), p.member.name) for p in pairs[1:])
        yield replace(misfit, also=tuple(others))


RULES: tuple[LiveRule, ...] = (shapes, dtypes)
