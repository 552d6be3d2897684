"""transformers' Trainer: checkpoint-N/ with optimizer.pt, scheduler.pt, rng_state*.pth, trainer_state.json, weights.

The groups are decay, then no decay, each in `named_parameters()` order, frozen parameters left out. A PEFT adapter is
written in place of the model: adapter_model.safetensors and adapter_config.json.
"""

from __future__ import annotations

import re
from typing import Any

from optinspect.directories import dcp, weights
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import Folder

STATE = "trainer_state.json"
ADAPTER = "adapter_config.json"

COMPANIONS = (
    ("optimizer", r"optimizer\.(?:pt|bin)"),
    ("scheduler", r"scheduler\.(?:pt|bin)"),
    ("scaler", r"scaler\.pt"),
    ("rng_state", r"rng_state(?:_(?P<rank>\d+))?\.pth"),
    ("training_args", r"training_args\.bin"),
)
"""(key, file's name); a rank is added to the key."""


class Trainer:
    """checkpoint-N of transformers' Trainer, or of what is built on it (TRL, sentence-transformers, axolotl)."""

    name = "trainer"

    def recognises(self, folder: Folder) -> bool:
        has_state = STATE in folder.files or "training_args.bin" in folder.files
        optimizer = any(re.fullmatch(r"optimizer\.(?:pt|bin)", name) for name in folder.files)
        return has_state and (optimizer or "optimizer_0" in folder.folders)

    def gather(self, session: Session) -> Found:
        root: dict[str, Any] = {}
        found = model(session, root)
        companions(session, COMPANIONS, root)
        state = session.json(STATE)
        if state:
            root["trainer_state"] = state
        return found


class Peft:
    """An adapter without a Trainer's state beside it."""

    name = "peft"

    def recognises(self, folder: Folder) -> bool:
        return ADAPTER in folder.files and any(name.startswith("adapter_model.") for name in folder.files)

    def gather(self, session: Session) -> Found:
        root: dict[str, Any] = {}
        found = model(session, root)
        companions(session, COMPANIONS, root)
        return found


def model(session: Session, root: dict[str, Any]) -> Found:
    """The model, or the adapter where one is saved; in the adapter's case the base weights are not there."""
    stems = ("adapter_model", *weights.STEMS) if ADAPTER in session.folder.files else weights.STEMS
    sharded(session, root)
    if "model" in root:
        return Found(root)
    read = next((w for stem in stems if (w := weights.find(session, stem)) is not None), None)
    unordered = frozenset[str]()
    if read is not None:
        root["model"] = read.tensors
        unordered = frozenset() if read.ordered else frozenset({"model"})
        if read.names and read.names[0].startswith("adapter_model"):
            session.notes.append("a PEFT adapter: the base model's weights are not in the directory")
    config = session.json("config.json")
    return Found(root, unordered, config)


def sharded(session: Session, root: dict[str, Any]) -> None:
    """FSDP's SHARDED_STATE_DICT: a directory of torch.distributed.checkpoint for the model, one for each optimizer."""
    for name in session.folder.folders:
        match = re.fullmatch(r"(pytorch_model_fsdp|optimizer)_(\d+)", name)
        if match is None or dcp.METADATA not in session.folder.inside(name).files:
            continue
        key = "model" if match[1] != "optimizer" else "optimizer"
        held = dcp.contents(session.inside(name))
        root[key if match[2] == "0" else f"{key}_{match[2]}"] = held.get(key, held)


def companions(session: Session, kinds: tuple[tuple[str, str], ...], root: dict[str, Any]) -> None:
    """Every file of these kinds under its key, "key_rank" where several ranks have one."""
    for key, pattern in kinds:
        for name in session.folder.files:
            match = re.fullmatch(pattern, name)
            if match is None:
                continue
            tree = session.try_open(name)
            if tree is not None:
                rank = match.groupdict().get("rank")
                root[f"{key}_{rank}" if rank is not None else key] = tree.root


class Pretrained:
    """A model as from_pretrained() takes it, without an optimizer."""

    name = "pretrained"

    def recognises(self, folder: Folder) -> bool:
        return any(weights.is_weights(name) for name in folder.files)

    def gather(self, session: Session) -> Found:
        root: dict[str, Any] = {}
        return model(session, root)
