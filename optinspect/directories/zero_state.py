"""The optimizer files of ZeRO's ranks as one optimizer with names, its fp32 weights beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optinspect.containers.geometry import integers
from optinspect.directories.zero_files import Files
from optinspect.directories.zero_slices import Buffers, Shape, Spot, spots
from optinspect.layouts.base import mapping, sequence
from optinspect.tensors import TensorRef

MASTERS = ("fp32_flat_groups", "single_partition_of_fp32_groups")
"""Stage 3, stages 1 and 2."""
MAX_RANKS = 1 << 16


@dataclass
class Zero:
    """optimizer: a state_dict keyed by names; weights: fp32 by name; frozen: weights that no group has (stage 3)."""

    optimizer: dict[str, Any]
    weights: dict[str, TensorRef]
    frozen: dict[str, TensorRef] = field(default_factory=dict)
    scaler: Any = None


@dataclass(frozen=True, slots=True)
class _Rank:
    """One rank's `optimizer_state_dict`."""

    whole: Mapping[Any, Any]

    @property
    def base(self) -> Mapping[Any, Any]:
        """The state_dict of the optimizer that ZeRO wraps."""
        inner = self.whole.get("base_optimizer_state", self.whole.get("optimizer_state_dict"))
        listed = sequence(inner)  # a list of states a group, without param_groups: elastic checkpoints
        if listed is not None:
            return {"state": dict(enumerate(listed)), "param_groups": ()}
        return mapping(inner) or {}

    def state(self, number: int) -> Mapping[Any, Any]:
        return mapping((mapping(self.base.get("state")) or {}).get(number)) or {}

    def master(self, number: int) -> TensorRef | None:
        for key in MASTERS:
            buffers = sequence(self.whole.get(key)) or ()
            if number < len(buffers) and isinstance(buffers[number], TensorRef):
                return buffers[number]  # type: ignore[no-any-return]
        return None


def read_zero(files: Files, states: Mapping[int, Mapping[Any, Any]]) -> Zero | None:
    """None, with a problem, where the names are lost. A rank that is missing leaves its parameters without values."""
    first = states[min(states)] if states else {}
    shapes = _shapes(first.get("param_shapes"))
    if not shapes:
        files.session.problem(
            "missing", "*_model_states.pt", "no param_shapes in the model states: the flat buffers have no names"
        )
        return None
    ranks = _ranks(files, first)
    present = [rank for rank in ranks if rank is not None]
    if not present:
        return None
    split = any("fp32_flat_groups" in rank.whole for rank in present)
    made = Zero({"state": {}, "param_groups": []}, {}, scaler=present[0].whole.get("loss_scaler"))
    for number, named in enumerate(shapes):
        _add(made, ranks, number, spots(named, len(ranks), split=split))
    made.optimizer["param_groups"] = _groups(present[0].base, shapes)
    if split:
        made.frozen = _frozen(first, states, len(ranks))
    return made


def _shapes(value: Any) -> list[dict[str, Shape]]:
    listed = sequence(value) or ([value] if isinstance(value, dict) else [])
    found = []
    for one in listed:
        held = mapping(one) or {}
        found.append(
            {n: tuple(s) for n, s in held.items() if isinstance(n, str) and integers(s) and min(s, default=0) >= 0}
        )
    return found


def _ranks(files: Files, first: Mapping[Any, Any]) -> list[_Rank | None]:
    """One entry a rank, None where its file is missing or cannot be read."""
    known = max(files.optimizer) + 1
    world = first.get("dp_world_size")
    count = world if type(world) is int and known <= world <= MAX_RANKS else known
    lost = [rank for rank in range(count) if rank not in files.optimizer]
    if lost:
        told = f"of {count:,} ranks' files {len(lost):,} are not there, first that of rank {lost[0]}"
        files.session.problem("missing", "*_optim_states.pt", told)
    ranks: list[_Rank | None] = []
    for rank in range(count):
        name = files.optimizer.get(rank)
        if name is None:
            ranks.append(None)
            continue
        tree = files.session.try_open(name)
        inner = mapping((mapping(tree.root) or {}).get("optimizer_state_dict")) if tree is not None else None
        if tree is not None and inner is None:
            files.session.problem("integrity", name, "no optimizer_state_dict in it")
        ranks.append(_Rank(inner) if inner is not None else None)
    return ranks


def _add(made: Zero, ranks: Sequence[_Rank | None], number: int, where: Mapping[str, Spot]) -> None:
    """The parameters of one buffer: their slots and fp32 weights."""
    slots: dict[str, Any] = {}
    for rank in ranks:
        for slot, value in rank.state(number).items() if rank else ():
            slots.setdefault(str(slot), value)
    # The optimizer's buffers keep their padding, so that every rank's has the same length; the fp32 ones lose it.
    stride = max((v.numel for v in slots.values() if isinstance(v, TensorRef)), default=0)
    masters = Buffers.of("fp32", [rank.master(number) if rank else None for rank in ranks], stride)
    flats = {}
    for slot, value in slots.items():
        if isinstance(value, TensorRef) and len(value.shape) == 1 and value.numel == stride > 1:
            held = [rank.state(number).get(slot) if rank else None for rank in ranks]
            flats[slot] = Buffers.of(slot, [one if isinstance(one, TensorRef) else None for one in held], stride)
    for name, spot in where.items():
        cut = {slot: buffers.cut(name, spot) for slot, buffers in flats.items() if buffers is not None}
        made.optimizer["state"][name] = {slot: cut.get(slot, value) for slot, value in slots.items()}
        if masters is not None:
            made.weights[name] = masters.cut(name, spot)


def _groups(base: Mapping[Any, Any], shapes: Sequence[Mapping[str, Shape]]) -> list[dict[Any, Any]]:
    """param_groups with names; `params` of the flat optimizer are numbers of buffers, several where one was divided."""
    groups = [dict(held) for one in sequence(base.get("param_groups")) or () if (held := mapping(one)) is not None]
    if not groups:
        return [{"params": list(named)} for named in shapes]
    taken: set[int] = set()
    for place, group in enumerate(groups):
        numbers = sequence(group.get("params"))
        usable = numbers if numbers and integers(numbers) else [place]
        mine = [number for number in usable if 0 <= number < len(shapes) and number not in taken]
        taken.update(mine)
        group["params"] = [name for number in mine for name in shapes[number]]
    return groups


def _frozen(first: Mapping[Any, Any], states: Mapping[int, Mapping[Any, Any]], ranks: int) -> dict[str, TensorRef]:
    """Frozen weights of stage 3: every rank's model states have a fragment."""
    shapes = _shapes(first.get("frozen_param_shapes"))
    found = {}
    for name, shape in shapes[0].items() if shapes else ():
        pieces = [
            (mapping(states.get(rank, {}).get("frozen_param_fragments")) or {}).get(name) for rank in range(ranks)
        ]
        buffers = Buffers.of("frozen", [one if isinstance(one, TensorRef) else None for one in pieces])
        if buffers is not None:
            found[name] = buffers.cut(name, spots({name: shape}, ranks, split=True)[name])
    return found
