"""The state_dicts that load_state_dict takes, built from what our reader found: tensors bit-equal with torch.load's.

optimizer_state_dict(case)      {"state": …, "param_groups": …}, numbered in the live optimizer's order
model_state_dict(case)          the live model's own keys → the file's tensors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import ParameterState
from optinspect.errors import Undecidable
from optinspect.layouts.names import without_prefix
from optinspect.live.case import Case
from optinspect.live.models import EXTRA, entry_of, file_entries
from optinspect.replaying.tree_copy import TreeCopy
from optinspect.routes import format_route, walk
from optinspect.tensors import CompositeRef, TensorRef
from optinspect.torch_bridge import to_torch

if TYPE_CHECKING:
    import torch

DEEP = 6
"""Steps from the top of a file to an optimizer: "loops.fit.state.optimizers[0].state_dict" is the deepest seen."""


def optimizer_state_dict(case: Case) -> dict[str, Any]:
    """Numbers 0, 1, … in the live order, each with the state that the case pairs it with; the file's settings.

    Tensors are new, on the CPU; what shares a storage in the file shares one. Orphaned states are left out.
    Raises Undecidable where the state holds objects of classes or tensors of several parts, UnreadableTensor.
    """
    copy = TreeCopy()
    raw = _raw(case)
    states = raw.get("state") if raw is not None else None
    found: dict[int, Any] = {}
    for place, held in _in_file_order(case, states):
        content = copy.of(held, 0)
        if content:
            found[place] = {key: _detached(value) for key, value in content.items()}
    groups = [_group(case, raw, copy, number) for number in range(len(case.file.groups))]
    if copy.left_out:
        names = (
            ", ".join(sorted(copy.left_out - {"CompositeRef"}))[:80] or "tensors of several parts (sparse, quantized)"
        )
        raise Undecidable(
            f"{case.file.route or 'optimizer'}: holds {names} (expected plain data and tensors)",
            hint="optinspect builds no objects of classes; load this file with the package that wrote it",
        )
    return {"state": found, "param_groups": groups, **{key: copy.of(value, 0) for key, value in _extra(case).items()}}


def _raw(case: Case) -> Mapping[Any, Any] | None:
    """The optimizer's state_dict as the file holds it; None where the reader put it together itself."""
    root = case.checkpoint.trees[case.file.input].root
    if not case.file.route:
        return root if isinstance(root, Mapping) else None
    for route, value in walk(root, DEEP):
        if isinstance(value, Mapping) and "param_groups" in value and format_route(route) == case.file.route:
            return value
    return None


def _in_file_order(case: Case, states: Any) -> list[tuple[int, Any]]:
    """(live position, the state as stored), in the order in which the file has the states."""
    held = states if isinstance(states, Mapping) else {}
    rank = {key: number for number, key in enumerate(held)}
    places = sorted(enumerate(case.pairs), key=lambda each: rank.get(each[1].state.key, len(rank)))
    return [(place, held.get(pair.state.key) or _flat(pair.state)) for place, pair in places]


def _flat(state: ParameterState) -> Mapping[str, Any]:
    """The slots as the reader has them. Raises Undecidable for those that were taken out of a nested one."""
    for slot, value in state.slots.items():
        if isinstance(value, CompositeRef) or (isinstance(value, TensorRef) and "." in slot):
            raise Undecidable(f"{slot} is made of several tensors (expected one)", hint="load it with its own package")
    return state.slots


def _group(case: Case, raw: Mapping[Any, Any] | None, copy: TreeCopy, number: int) -> dict[str, Any]:
    """A group's settings as stored, with the numbers of its parameters in the live order."""
    held = raw.get("param_groups") if raw is not None else None
    stored = held[number] if isinstance(held, Sequence) and number < len(held) else None
    settings = stored if isinstance(stored, Mapping) else case.file.groups[number].hyperparameters
    members = [(place, pair.member.label) for place, pair in enumerate(case.pairs) if pair.member.group == number]
    made = {key: copy.of(value, 0) for key, value in settings.items() if key != "params"}
    if case.by_name and "param_names" in made:
        made["param_names"] = [label for _, label in members]
    return {**made, "params": [place for place, _ in members]}


def _extra(case: Case) -> Mapping[str, Any]:
    """Keys beside state and groups, which an optimizer of its own class may read; torch's reads none."""
    return case.file.extra


def _detached(value: Any) -> Any:
    import torch  # noqa: PLC0415

    return value.detach() if isinstance(value, torch.Tensor) else value


def model_state_dict(case: Case) -> dict[str, torch.Tensor]:
    """The live module's keys with the file's tensors; keys that the file lacks are absent. Raises UnreadableTensor."""
    module, held = case.members.module, file_entries(case)
    if module is None:
        return {}
    keys = [key for key in module.state_dict() if not key.endswith(EXTRA)]
    _, names = without_prefix(keys)
    entries = ((key, entry_of(name, held)) for key, name in zip(keys, names, strict=True))
    return {key: to_torch(_whole(entry.tensor, key)) for key, entry in entries if entry is not None}


def _whole(tensor: object, key: str) -> TensorRef:
    if not isinstance(tensor, TensorRef):
        raise Undecidable(f"{key[:80]} is made of several tensors (expected one)", hint="load it with its own package")
    return tensor
