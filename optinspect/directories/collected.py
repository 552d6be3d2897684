"""Directories whose files each hold one thing under a usual name: accelerate, skorch, or one's own torch.save calls."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from optinspect.directories import weights
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import Folder
from optinspect.directories.trainer import companions, sharded

SAVED = r"\.(?:pt|pth|bin|pkl|ckpt|safetensors)"
_MODEL = re.compile(r"(model|pytorch_model)(?:_(\d+))?\.(?:safetensors|bin)")

ACCELERATE = (
    ("optimizer", r"optimizer(?:_(?P<rank>\d+))?\.bin"),
    ("scheduler", r"scheduler(?:_(?P<rank>\d+))?\.bin"),
    ("sampler", r"sampler(?:_(?P<rank>\d+))?\.bin"),
    ("dataloader", r"dl_state_dict(?:_(?P<rank>\d+))?\.bin"),
    ("scaler", r"scaler\.pt"),
    ("random_states", r"random_states_(?P<rank>\d+)\.pkl"),
    ("custom_checkpoint", r"custom_checkpoint_(?P<rank>\d+)\.pkl"),
)


class Accelerate:
    """accelerator.save_state(): model*.safetensors, optimizer*.bin, scheduler*.bin, random_states_R.pkl.

    Numbers count in the order of prepare(), each kind by itself: model_1 and optimizer_1 need not belong together.
    """

    name = "accelerate"

    def recognises(self, folder: Folder) -> bool:
        random = any(re.fullmatch(r"random_states_\d+\.pkl", name) for name in folder.files)
        optimizer = any(re.fullmatch(r"optimizer(?:_\d+)?\.bin", name) for name in folder.files)
        return random and (optimizer or "optimizer_0" in folder.folders)

    def gather(self, session: Session) -> Found:
        root: dict[str, Any] = {}
        unordered: set[str] = set()
        single = {match[2]: match[0] for name in session.folder.files if (match := _MODEL.fullmatch(name))}
        for number, name in single.items():
            key = "model" if number is None else f"model_{number}"
            stem = re.sub(r"\.(?:safetensors|bin)$", "", name)
            _add(root, unordered, key, weights.find(session, stem))
        sharded(session, root)
        if not single and "model" not in root:
            _add(root, unordered, "model", weights.first(session))
        companions(session, ACCELERATE, root)
        return Found(root, frozenset(unordered), session.json("config.json"))


def _add(root: dict[str, Any], unordered: set[str], key: str, read: weights.Weights | None) -> None:
    if read is None:
        return
    root[key] = read.tensors
    if not read.ordered:
        unordered.add(key)


@dataclass(frozen=True, slots=True)
class Separate:
    """One file a thing. `kinds`: (key of the whole, file's name); `needs`: patterns of which each must have a file."""

    name: str
    kinds: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]

    def recognises(self, folder: Folder) -> bool:
        return all(any(re.fullmatch(need, name) for name in folder.files) for need in self.needs)

    def gather(self, session: Session) -> Found:
        root: dict[str, Any] = {}
        unordered = set[str]()
        for key, pattern in self.kinds:
            before = len(session.parts)
            companions(session, ((key, pattern),), root)
            if any(not part.tree.ordered for part in session.parts[before:]):
                unordered |= {name for name in root if name.partition("_")[0] == key}
        return Found(root, frozenset(unordered), session.json("config.json"))


SKORCH = Separate(
    "skorch",
    (("model", r"params\.(?:pt|safetensors)"), ("optimizer", r"optimizer\.pt"), ("criterion", r"criterion\.pt")),
    (r"params\.(?:pt|safetensors)", r"optimizer\.pt", r"history\.json"),
)
"""skorch's Checkpoint callback: params.pt, optimizer.pt, criterion.pt, history.json."""

SEPARATE = Separate(
    "separate-files",
    (
        ("model", rf"(?:pytorch_)?(?:model|net|network|state_dict|weights|params)(?:_state(?:_dict)?)?{SAVED}"),
        ("optimizer", rf"(?:optimizer|optim|opt)(?:_state(?:_dict)?)?(?:_(?P<rank>\d+))?{SAVED}"),
        ("scheduler", rf"(?:lr_)?scheduler(?:_state(?:_dict)?)?{SAVED}"),
        ("scaler", rf"(?:grad_)?scaler(?:_state(?:_dict)?)?{SAVED}"),
        ("rng_state", rf"(?:rng|random)_states?(?:_(?P<rank>\d+))?{SAVED}"),
    ),
    (rf"(?:optimizer|optim|opt)(?:_state(?:_dict)?)?(?:_\d+)?{SAVED}",),
)
"""Files that say by their names which part they are."""
