"""What truth.json says, in one form for all rooms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HEALTHY_ROOMS = ("containers", "groups", "optimizers")
"""Every case opens, or is refused for a reason that its truth supports."""
HURT_ROOMS = ("damaged", "hostile")
"""Run through the command line in a process of its own, never in this one."""
LATER_ROOMS = ("pairs", "faults", "frameworks")
"""Opened and named as far as plain files go; their own questions belong to other commands."""
REFUSABLE = ("fmt_tar", "fmt_torchscript", "fmt_exported_program", "fmt_plain_pickle")
"""Cases whose truth accepts a refusal: other formats, and a pickle of torch files inside bytes."""

OWN = Path(__file__).parents[1] / "data"


def root() -> Path:
    """The corpus that OPTINSPECT_CORPUS names, or the few cases that come with the project."""
    return Path(os.environ.get("OPTINSPECT_CORPUS") or OWN)


@dataclass(frozen=True)
class TrueOptimizer:
    """An optimizer as the live object was; lists run over the positions of all groups' parameters."""

    file: str
    path: tuple[Any, ...]
    role: str
    cls: str
    groups: tuple[Mapping[str, Any], ...]
    names: tuple[tuple[str, ...], ...]
    """Per position the right names: more than one where weights are tied."""
    shapes: tuple[tuple[int, ...] | None, ...]
    steps: tuple[float | None, ...]
    slots: frozenset[str]
    stateless: frozenset[int]
    prints: tuple[Mapping[str, Any], ...] = ()
    """Per position: slot → shape, dtype and float64 sum, where the truth has them."""

    @property
    def family(self) -> str:
        return self.cls.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class Case:
    """One folder. `files` holds (checkpoint, model's file or None), one entry a thing to open."""

    folder: Path
    truth: Mapping[str, Any]

    @property
    def room(self) -> str:
        return self.folder.parent.name

    @property
    def id(self) -> str:
        return f"{self.room}/{self.folder.name}"

    @property
    def refusable(self) -> bool:
        return self.folder.name in REFUSABLE or self.truth.get("fault") == "not_a_checkpoint"

    @property
    def prefix(self) -> str:
        return str(self.truth.get("prefix") or "")

    @cached_property
    def optimizers(self) -> tuple[TrueOptimizer, ...]:
        told = self.truth.get("optimizers", ())
        adapt = _framework_optimizer if self.room == "frameworks" else _optimizer
        return tuple(adapt(self.truth, number, one) for number, one in enumerate(told) if one.get("groups"))

    @cached_property
    def files(self) -> tuple[tuple[Path, Path | None], ...]:
        if self.room == "frameworks":
            return ((self.folder / _whole(self.truth), None),)
        models = [model["file"] for model in self.truth["models"] if "file" in model]
        names = dict.fromkeys(one.file for one in self.optimizers) or dict.fromkeys(models or self.truth["files"])
        pairs = ((name, models[0] if models else name) for name in names)
        return tuple(
            (self.folder / name, None if model == name or ":" in model else self.folder / model)
            for name, model in pairs
        )

    @cached_property
    def by_position(self) -> tuple[str, ...]:
        """What enumerate(model.named_parameters()) would call the indices."""
        if self.room == "frameworks":
            return tuple(row["name"] for row in self.truth["model"]["named_parameters_order"])
        several = len(self.truth["models"]) > 1 and not self.truth.get("pairing")
        return tuple(
            f"{model['role']}.{row['name']}" if several else row["name"]
            for model in self.truth["models"]
            for row in model["parameters"]
        )

    @property
    def model_has_names(self) -> bool:
        return bool(self.by_position) or any(one.get("has_param_names") for one in self.truth["optimizers"])


def _optimizer(truth: Mapping[str, Any], number: int, told: Mapping[str, Any]) -> TrueOptimizer:
    keys = [str(key) for group in told["groups"] for key in group["params"]]
    named = told["index_to_name"]
    shapes = told.get("index_to_shape") or {}
    return TrueOptimizer(
        file=told["file"].partition(":")[0],
        path=tuple(told["path"]),
        role=told["role"],
        cls=told["cls"],
        groups=tuple({k: v for k, v in g.items() if k not in ("params", "names")} for g in told["groups"]),
        names=tuple(tuple(n) if isinstance(n := named[key], list) else (n,) for key in keys),
        shapes=tuple(tuple(shapes[key]) if key in shapes else None for key in keys),
        steps=tuple(told["steps"].get(key) for key in keys),
        slots=frozenset(told.get("state_keys") or ()),
        stateless=frozenset(i for i, key in enumerate(keys) if int(key) in (told.get("indices_without_state") or ())),
    )


_NOT_HYPERPARAMETERS = (
    "param_names_in_index_order",
    "indices_note",
    "indices",
    "shapes",
    "saved_has_param_names",
    "lr_base",
)


def _whole(truth: Mapping[str, Any]) -> str:
    """What a user gives: the file that holds everything, else the directory that all the files lie in."""
    described = truth.get("truth_describes") or ""
    told = (*truth["optimizer_files"], *truth["model_files"])
    names = {name.partition("::")[0] for name in told if name.startswith(described)}
    return names.pop() if len(names) == 1 else os.path.commonpath([str(Path(name).parent) for name in names])


def _framework_optimizer(truth: Mapping[str, Any], number: int, told: Mapping[str, Any]) -> TrueOptimizer:
    names = [name for group in told["groups"] for name in group["param_names_in_index_order"]]
    shapes = [shape for group in told["groups"] for shape in group.get("shapes", ())]
    without = set(told.get("params_without_state") or ())
    tied = truth.get("tied") or ()
    return TrueOptimizer(
        file=_whole(truth),
        path=(),
        role=str(number),
        cls=told["class"],
        groups=tuple({k: v for k, v in g.items() if k not in _NOT_HYPERPARAMETERS} for g in told["groups"]),
        names=tuple(next((tuple(t) for t in tied if isinstance(t, list) and n in t), (n,)) for n in names),
        shapes=tuple(tuple(shape) for shape in shapes) if len(shapes) == len(names) else (None,) * len(names),
        steps=tuple((told.get("step_per_param") or {}).get(name) for name in names),
        slots=frozenset(told.get("state_keys") or ()),
        stateless=frozenset(i for i, name in enumerate(names) if name in without),
        prints=tuple((told.get("state_fingerprints") or {}).get(name, {}) for name in names),
    )


def cases(*rooms: str) -> Iterator[Case]:
    """Every case of these rooms, in order."""
    for room in rooms:
        for path in sorted((root() / room).glob("*/truth.json")):
            yield Case(path.parent, json.loads(path.read_text(encoding="utf-8")))
