"""What an optimizer keeps for one parameter, flat: slot name → tensor or plain value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from optinspect.layouts.base import children, holds_tensor, is_container, mapping
from optinspect.opaque import Opaque
from optinspect.optimizers import Optimizer
from optinspect.optimizers.base import words
from optinspect.tensors import AnyTensor, CompositeRef, TensorRef

WRAPPERS = frozenset({"__bnb_optimizer_quant_state__"})
"""Slots that only wrap the real ones in the file: their name is left out."""

USUAL = words(
    "exp_avg exp_avg_sq max_exp_avg_sq momentum_buffer square_avg grad_avg acc_delta sum momentum exp_inf ax m v z"
    " exp_avg_var grad_sum_sq"
)
"""Slots that have the parameter's shape in every optimizer known; alone they tell it for an unknown one."""

MAX_DEPTH = 4
MAX_SLOTS = 10_000

Shape = tuple[int, ...]
Presence = Literal["present", "missing", "partial"]


def flat(value: object) -> dict[str, Any]:
    """Slots of one parameter. Containers of tensors are opened ("Q.0", "0.step"); plain containers stay whole."""
    held = mapping(value)
    if held is None and isinstance(value, Opaque):
        held = value.state if isinstance(value.state, dict) else None
    if held is None:
        return {} if value is None else {"value": value}
    if not any(is_container(item) for item in held.values()):  # nearly always
        return {key if isinstance(key, str) else str(key): item for key, item in held.items()}
    slots: dict[str, Any] = {}
    for key, item in held.items():
        _flatten(str(key), item, slots, MAX_DEPTH)
    return slots


def _flatten(name: str, value: Any, slots: dict[str, Any], depth: int) -> None:
    if not depth or len(slots) > MAX_SLOTS or not is_container(value) or not holds_tensor(value, depth):
        slots[name] = value
        return
    for key, item in children(value):
        _flatten(str(key) if name in WRAPPERS else f"{name}.{key}", item, slots, depth - 1)


def tensor_class(value: object) -> str | None:
    """The bare name of a tensor subclass; None for plain, sparse and distributed tensors."""
    if not isinstance(value, CompositeRef) or value.kind.startswith("sparse"):
        return None
    name = value.kind.rpartition(".")[2]
    return None if name == "DTensor" else name


def _votes(slots: Mapping[str, Any], optimizer: Optimizer | None) -> list[Shape]:
    """Shapes of the slots that should have the parameter's."""
    found: list[Shape] = []
    for name, value in slots.items():
        if not isinstance(value, TensorRef | CompositeRef) or name == "step":
            continue
        if optimizer is None or optimizer.kind(name) == "parameter":
            found.append(value.shape)
    return found


def shape_of(slots: Mapping[str, Any], optimizer: Optimizer | None) -> tuple[Shape | None, bool]:
    """The parameter's shape as the slots show it, and whether they disagree.

    With a known optimizer the slots of the parameter's shape must agree (a number among them is left out); for an
    unknown one at least two of them must, and more than any other shape, or one whose name leaves no doubt.
    """
    votes = _votes(slots, optimizer)
    if len(votes) > 1 and votes.count(votes[0]) == len(votes):  # nearly always
        return votes[0], False
    shapes = [shape for shape in votes if shape] or votes
    counts = Counter(shapes).most_common(2)
    if not counts:
        return _from_factors(slots, optimizer), False
    (shape, most), tied = counts[0], len(counts) > 1 and counts[1][1] == counts[0][1]
    if optimizer is not None:
        return (None, True) if tied else (shape, len(set(votes)) > 1)
    return _unknown_shape(slots, shape if not tied else None, most)


def _from_factors(slots: Mapping[str, Any], optimizer: Optimizer | None) -> Shape | None:
    """Rows [..., n, 1] and columns [..., 1, m], or [..., n] and [..., m], belong to [..., n, m].

    Rows [1, 1] and columns [1, m] are both: torch keeps the dimension that it averages, all others drop it.
    """
    row, column = (slots.get(name) for name in (optimizer and optimizer.factors) or ("", ""))
    if not isinstance(row, TensorRef) or not isinstance(column, TensorRef) or len(row.shape) != len(column.shape):
        return None
    kept, dropped = _with_kept(row.shape, column.shape), _with_dropped(row.shape, column.shape)
    own = optimizer is not None and optimizer.source == "torch.optim"
    return (kept or dropped) if own else (dropped or kept)


def _with_kept(row: Shape, column: Shape) -> Shape | None:
    fits = len(row) >= 2 and row[-1] == 1 and column[-2] == 1 and row[:-2] == column[:-2]
    return (*row[:-1], column[-1]) if fits else None


def _with_dropped(row: Shape, column: Shape) -> Shape | None:
    return (*row, column[-1]) if row and row[:-1] == column[:-1] else None


def _unknown_shape(slots: Mapping[str, Any], shape: Shape | None, most: int) -> tuple[Shape | None, bool]:
    usual = {value.shape for name, value in slots.items() if name in USUAL and isinstance(value, TensorRef)}
    if len(usual) == 1:
        return usual.pop(), False
    return (shape if shape is not None and most >= 2 and not usual else None), len(usual) > 1


def presence(slots: Mapping[str, Any], expected: frozenset[str]) -> Presence:
    """None counts as absent: older SGD keeps it where there is no momentum."""
    held = {name for name, value in slots.items() if value is not None}
    if not held:
        return "missing"
    return "present" if expected <= held else "partial"


def expectations(
    held: Sequence[Mapping[str, Any]], ranks: Sequence[int], optimizer: Optimizer | None
) -> Mapping[int, frozenset[str]]:
    """Slots that parameters of a group must have, by their number of dimensions (`ranks`).

    What at least half of the siblings with as many dimensions have; for a known optimizer only of slots in the
    parameter's shape (codes and factors depend on its size), with what it always keeps.
    """
    counts: dict[int, Counter[str]] = {}
    members: Counter[int] = Counter()
    for slots, rank in zip(held, ranks, strict=True):
        if slots:
            members[rank] += 1
            counts.setdefault(rank, Counter()).update(name for name, value in slots.items() if value is not None)
    always = optimizer.always if optimizer and not optimizer.patterns else frozenset[str]()
    return {
        rank: always
        | {
            name
            for name, count in found.items()
            if 2 * count >= members[rank] > 1 and (optimizer is None or optimizer.kind(name) == "parameter")
        }
        for rank, found in counts.items()
    }


def rank_of(slots: Mapping[str, AnyTensor | Any]) -> int:
    return max((len(v.shape) for v in slots.values() if isinstance(v, TensorRef | CompositeRef)), default=0)
