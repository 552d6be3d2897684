"""fastai's Learner.save: {"model": …, "opt": {"state": [a dict a parameter], "hypers": [a dict a group]}}.

The state is a list in the order of the parameters, over all groups. How many of them belong to which group is not in
the file: parameters are listed under the first group where there are several.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.containers.base import Tree
from optinspect.layouts.base import Wanted, mapping, sequence
from optinspect.layouts.dictionary import DICTIONARY
from optinspect.opaque import Opaque


class Fastai:
    """A dict whose `opt` has lists where torch has a dict and groups."""

    name = "fastai"

    def recognises(self, tree: Tree) -> bool:
        opt = mapping(tree.root.get("opt")) if isinstance(tree.root, dict) else None
        return opt is not None and sequence(opt.get("state")) is not None and _listed(opt.get("hypers")) is not None

    def find(self, tree: Tree, wanted: Wanted) -> Checkpoint:
        """Raises UsageError as every layout does."""
        opt = mapping(tree.root["opt"]) or {}
        states, settings = sequence(opt["state"]) or (), _listed(opt["hypers"]) or ()
        groups: list[dict[Any, Any]] = [{**(mapping(one) or {}), "params": []} for one in settings]
        notes = list(tree.notes)
        if groups:
            groups[0]["params"] = list(range(len(states)))
        if len(groups) > 1:
            notes.append(
                f"which parameter is in which of the {len(groups)} groups is not in the file: all under group 0"
            )
        optimizer = {"state": dict(enumerate(states)), "param_groups": groups}
        return DICTIONARY.find(replace(tree, root={**tree.root, "opt": optimizer}, notes=notes), wanted)


def _listed(value: Any) -> Any:
    """A list, or fastcore's L around one."""
    if isinstance(value, Opaque) and not value.entries:
        return sequence(value.attribute("items"))
    return sequence(value)


FASTAI = Fastai()
