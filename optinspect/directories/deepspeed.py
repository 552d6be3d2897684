"""DeepSpeed: `latest`, a folder of that tag, and in it model states and, with ZeRO, one optimizer file a rank.

The optimizer's own state is flat: one buffer a group and rank. `param_shapes` in the model states gives the names and
the order, so that every parameter's slots and fp32 weight are cut out of the buffers under their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optinspect.containers.wording import line
from optinspect.directories import zero_files
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import Folder
from optinspect.directories.trainer import COMPANIONS, STATE, companions
from optinspect.directories.zero_files import Files
from optinspect.directories.zero_state import Zero, read_zero
from optinspect.errors import MalformedCheckpoint
from optinspect.layouts.base import mapping, sequence
from optinspect.opaque import Opaque
from optinspect.tensors import is_tensor

HANDLED = (
    "module",
    "optimizer",
    "param_shapes",
    "frozen_param_shapes",
    "frozen_param_fragments",
    "shared_params",
    "buffer_names",
    "ds_config",
)
"""Keys of the model states that are read here; the others stand beside the model as they are."""


class DeepSpeed:
    """ZeRO 0, 1, 2, 3, also inside a checkpoint-N of transformers' Trainer."""

    name = "deepspeed"

    def recognises(self, folder: Folder) -> bool:
        return zero_files.is_deepspeed(folder)

    def gather(self, session: Session) -> Found:
        """Raises what opening the first model file raises, MalformedCheckpoint where it is no dict."""
        files = zero_files.find(session)
        states = _model_states(files)
        first = states[min(states)] if states else {}
        root = {key: value for key, value in first.items() if key not in HANDLED}
        zero = read_zero(files, states) if files.optimizer else None
        if zero is None:
            _expected_ranks(files, first)
            root.update({key: first[key] for key in ("module", "optimizer") if first.get(key) is not None})
        else:
            root |= _with_zero(zero, states)
        if files.model_parallel > 1:
            session.notes.append(f"tensor parallel: part 0 of {files.model_parallel} is shown, each has its own slices")
        companions(session, tuple(kind for kind in COMPANIONS if kind[0] != "optimizer"), root)
        state = session.json(STATE)
        if state:
            root["trainer_state"] = state
        buffers = frozenset(name for name in sequence(first.get("buffer_names")) or () if isinstance(name, str))
        return Found(root, roles={"module": "copy"} if zero is not None else {}, buffers=buffers)


def _model_states(files: Files) -> dict[int, Mapping[Any, Any]]:
    """rank → model states. Stages 1 and 2 have one file in all.

    In stage 3 every rank has one, with placeholders for the weights: the first says what there is, the others are
    opened only for their fragments of frozen weights (64 ranks of 10,000 placeholders take 20 s to list).
    """
    states: dict[int, Mapping[Any, Any]] = {}
    for rank, name in sorted(files.model.items()):
        if states and not next(iter(states.values())).get("frozen_param_shapes"):
            break
        tree = files.session.try_open(name)
        if tree is not None and not isinstance(tree.root, dict):
            raise MalformedCheckpoint(line(tree.path, "no dict of model states"))
        if tree is not None:
            states[rank] = tree.root
    return states


def _expected_ranks(files: Files, first: Mapping[Any, Any]) -> None:
    """ZeRO writes param_shapes; where no optimizer file is there, they are lost."""
    if first.get("param_shapes") is not None and first.get("optimizer") is None:
        world = first.get("dp_world_size")
        files.session.problem("missing", "*_optim_states.pt", f"the optimizer's files of {world} ranks are lost")


def _with_zero(zero: Zero, states: Mapping[int, Mapping[Any, Any]]) -> dict[str, Any]:
    """The model in fp32 as the optimizer steps it, the weights of the forward pass as its copy, and the optimizer."""
    first = states[min(states)] if states else {}
    module = mapping(first.get("module")) or {}
    shared = mapping(first.get("shared_params")) or {}
    weights: dict[Any, Any] = {}
    for key, value in module.items():
        own = zero.weights.get(key, zero.weights.get(shared.get(key, "")))
        if own is None and is_tensor(value) and 0 in value.shape and key not in zero.frozen:
            continue
        weights[key] = own if own is not None else zero.frozen.get(key, value)
    for key, value in zero.weights.items():
        weights.setdefault(key, value)
    whole = any(is_tensor(value) and 0 not in value.shape and key in zero.weights for key, value in module.items())
    found: dict[str, Any] = {"model": weights, "optimizer": zero.optimizer}
    if whole:
        found["module"] = module
    scaler = zero.scaler
    held = scaler.state if isinstance(scaler, Opaque) else scaler
    if isinstance(held, dict) and held.get("dynamic"):
        found["loss_scaler"] = held
    return found
