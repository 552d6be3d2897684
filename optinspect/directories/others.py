"""torchtune's output directories and stable-baselines3's archives."""

from __future__ import annotations

import re
from typing import Any

from optinspect.directories import weights
from optinspect.directories.base import Found, Session
from optinspect.directories.folder import Folder, natural

RECIPE = "recipe_state"
TARGET = re.compile(r"\w+_target\.")


class Torchtune:
    """recipe_state/recipe_state.pt beside epoch_N/ with the model: the last epoch is the one it continues from."""

    name = "torchtune"

    def recognises(self, folder: Folder) -> bool:
        return RECIPE in folder.folders and f"{RECIPE}.pt" in folder.inside(RECIPE).files

    def gather(self, session: Session) -> Found:
        tree = session.inside(RECIPE).try_open(f"{RECIPE}.pt")
        root: dict[str, Any] = dict(tree.root) if tree is not None and isinstance(tree.root, dict) else {}
        epochs = [name for name in natural(session.folder.folders) if re.fullmatch(r"epoch_\d+", name)]
        unordered = frozenset[str]()
        if epochs:
            found = weights.first(session.inside(epochs[-1]))
            if found is not None:
                root["model"] = found.tensors
                unordered = frozenset() if found.ordered else frozenset({"model"})
        return Found(root, unordered)


class StableBaselines:
    """model.save(): policy.pth, one *.optimizer.pth an optimizer, `data` as JSON whose pickles are left alone.

    An optimizer is called after the part of the policy that it steps: actor.optimizer.pth steps policy.pth's `actor.*`.
    """

    name = "stable-baselines3"

    def recognises(self, folder: Folder) -> bool:
        return "policy.pth" in folder.files and any(name.endswith("optimizer.pth") for name in folder.files)

    def gather(self, session: Session) -> Found:
        optimizers = [name.removesuffix(".pth") for name in session.folder.files if name.endswith("optimizer.pth")]
        root: dict[str, Any] = {}
        policy = session.try_open("policy.pth")
        if policy is not None and isinstance(policy.root, dict):
            root |= _parts(policy.root) if "policy.optimizer" not in optimizers else _policy(policy.root)
        for name in optimizers:
            tree = session.try_open(f"{name}.pth")
            if tree is not None:
                root[name.replace(".", "_")] = tree.root
        variables = (
            session.try_open("pytorch_variables.pth") if "pytorch_variables.pth" in session.folder.files else None
        )
        if variables is not None and variables.root:
            root["pytorch_variables"] = variables.root
        settings = session.json("data")
        root.update({k: v for k, v in settings.items() if k not in root and isinstance(v, int | float | str | bool)})
        return Found(root)


def _policy(policy: dict[Any, Any]) -> dict[str, Any]:
    """What the one optimizer steps, and the target networks (DQN's q_net_target), which it never does."""
    target = {name: tensor for name, tensor in policy.items() if TARGET.match(str(name))}
    rest = {name: tensor for name, tensor in policy.items() if name not in target}
    return {"policy": rest, "policy_target": target} if target and rest else {"policy": policy}


def _parts(policy: dict[Any, Any]) -> dict[str, Any]:
    """The policy's tensors by the first part of their names: actor, critic, critic_target."""
    parts: dict[str, Any] = {}
    for name, tensor in policy.items():
        parts.setdefault(str(name).partition(".")[0], {})[name] = tensor
    return parts
