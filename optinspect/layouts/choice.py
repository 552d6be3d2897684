"""Which of several models is the trained one, and what the caller asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from optinspect.checkpoint import ModelState, OptimizerState
from optinspect.containers.wording import line
from optinspect.errors import UnknownRoute
from optinspect.layouts.base import last
from optinspect.layouts.recognition import AVERAGED, COPY, MODEL_NAMES, PARTS
from optinspect.routes import same_route

Found = TypeVar("Found", ModelState, OptimizerState)


def wanted(found: Sequence[Found], key: str | None, option: str, path: str) -> tuple[Found, ...]:
    """All of them, or the one that the caller named. Raises UnknownRoute with the routes there are."""
    if key is None:
        return tuple(found)
    chosen = tuple(one for one in found if same_route(one.route, key))
    if chosen:
        return chosen
    routes = [one.route or "the file itself" for one in found]
    what = option.removeprefix("--").removesuffix("-key")
    hint = f"use {option} {found[0].route}" if found and found[0].route else f"leave {option} out"
    told = f"no {what} at '{key[:60]}' (found: {', '.join(routes) or 'none'})"
    raise UnknownRoute(line(path, told), routes, hint=hint)


def like_models(models: Sequence[ModelState]) -> tuple[list[ModelState], list[ModelState]]:
    """Those that look like models, and dicts of other tensors; where none does, the largest is taken."""
    strong = [model for model in models if _is_strong(model)]
    if not strong and models:
        strong = [max(models, key=lambda model: model.elements)]
    return strong, [model for model in models if model not in strong]


def _is_strong(model: ModelState) -> bool:
    spelled = not model.route or last(model.route) in MODEL_NAMES or AVERAGED.search(model.route) is not None
    return spelled or any(PARTS.search(entry.key) for entry in model.entries)


def with_roles(
    models: Sequence[ModelState], optimizers: Sequence[OptimizerState], root: Any
) -> tuple[list[ModelState], list[str]]:
    """Averaged copies, best copies and targets told from the weights that an optimizer steps."""
    told = [replace(model, role=_role(model, root)) for model in models]
    notes: list[str] = []
    if told and not any(model.role == "model" for model in told):
        told[0] = replace(told[0], role="model")
        notes.append(f"only a copy of the weights is in the file: '{told[0].route}' stands for the trained model")
    return _without_twins(told, sum(len(one.parameters) for one in optimizers), notes), notes


def _role(model: ModelState, root: Any) -> Any:
    # Lightning's weight averaging: state_dict is the average, current_model_state what the optimizer steps.
    if model.route == "state_dict" and isinstance(root, dict) and "current_model_state" in root:
        return "ema"
    if AVERAGED.search(model.route) or any(entry.name == "n_averaged" for entry in model.entries):
        return "ema"
    return "copy" if COPY.search(model.route) else "model"


def _without_twins(models: list[ModelState], stepped: int, notes: list[str]) -> list[ModelState]:
    """Of models with equal names and shapes one is kept, where the optimizers cannot step them all."""
    trained = [model for model in models if model.role == "model"]
    if not stepped or stepped >= sum(len(model.parameters) for model in trained):
        return models
    twins: dict[object, list[ModelState]] = {}
    for model in trained:
        twins.setdefault(tuple((entry.name, entry.shape) for entry in model.entries), []).append(model)
    copies: Mapping[int, ModelState] = {}
    for alike in twins.values():
        ranked = sorted(alike, key=_rank)
        copies = {**copies, **{id(model): replace(model, role="copy") for model in ranked[1:]}}
        if len(ranked) > 1 and _rank(ranked[0]) == len(MODEL_NAMES):
            routes = "' and '".join(model.route for model in ranked[:3])
            notes.append(
                f"'{routes}' have the same names and shapes: '{ranked[0].route}' is taken as the trained model"
                " (choose with --model-key)"
            )
    return [copies.get(id(model), model) for model in models]


def _rank(model: ModelState) -> int:
    name = last(model.route)
    return MODEL_NAMES.index(name) if name in MODEL_NAMES else len(MODEL_NAMES)
