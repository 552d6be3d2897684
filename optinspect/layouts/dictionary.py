"""Any tree of dicts and lists whose values hold state_dicts, found by structure; every other layout starts here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optinspect.checkpoint import Checkpoint, Companion, ModelState, OptimizerState, ParamGroup
from optinspect.containers.base import Tree
from optinspect.layouts import beside, choice, companions, models, modules, optimizer_states
from optinspect.layouts.base import Problems, Wanted, children, is_container, join, last, mapping, only_tensors
from optinspect.layouts.flattened import is_flattened, unflattened
from optinspect.layouts.groups import Groups
from optinspect.layouts.recognition import OPTIMIZER_NAMES, role_of
from optinspect.layouts.values import scalar
from optinspect.layouts.walk import Node, Walk, rest, walk
from optinspect.opaque import Opaque
from optinspect.optimizers import named
from optinspect.tensors import TensorRef

MAX_COUNTED = 64
"""Members of a dict that is searched for counters: a longer one is a log."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A layout that `recognises` a root and is found by structure."""

    name: str
    recognises_root: Callable[[Any], bool]

    def recognises(self, tree: Tree) -> bool:
        return self.recognises_root(tree.root)

    def find(self, tree: Tree, wanted: Wanted) -> Checkpoint:
        """What the tree holds, as a checkpoint of one input. Raises UsageError for a wanted route not there."""
        return _Finder(tree, wanted).checkpoint()


class _Finder:
    """Collects what one tree holds."""

    def __init__(self, tree: Tree, wanted: Wanted) -> None:
        self.tree, self.wanted = tree, wanted
        self.problems = Problems()
        self.notes: list[str] = []
        self.walk: Walk = walk(tree.root)

    def checkpoint(self) -> Checkpoint:
        every = [self._model(node) for node in self._nodes("model", "module", "parameters")]
        every = [model for model in every if model.entries] or self._loose_model()
        read = [self._optimizer(node) for node in self._nodes("optimizer", "optimizer-object")]
        optimizers = choice.wanted(
            [one for one, _ in read], self.wanted.optimizer_key, "--optimizer-key", self.tree.path
        )
        strong, weak = (every, []) if self.wanted.model_key else choice.like_models(every)
        chosen = choice.wanted(strong, self.wanted.model_key, "--model-key", self.tree.path)
        told, notes = choice.with_roles(chosen, [one for one, _ in read], self.tree.root)
        if self.wanted.model_key:
            told, notes = [replace(model, role="model") for model in chosen], []
        counters, other = self._rest()
        self._expected_optimizer(optimizers)
        groups = beside.groups_in(other, weak)
        taken = () if self.wanted.model_key else beside.fitting(groups, _trained(told), optimizers)
        told += [_beside(self._built(named, route)) for route, named in _by_route(taken)]
        other = other | {model.route: f"{len(model.entries)} tensors" for model in weak}
        return Checkpoint(
            inputs=(),
            models=tuple(told),
            optimizers=tuple(_with_tensor_names(one, dict_of(read)[one.route], told) for one in optimizers),
            schedulers=self._companions("scheduler"),
            scalers=self._companions("scaler"),
            rng=self._companions("rng"),
            counters=counters,
            other={route: value for route, value in other.items() if route not in {each.taken for each in taken}},
            opaque=self.tree.opaque,
            problems=(*self.tree.problems, *self.problems.all()),
            notes=(*self.tree.notes, *self.notes, *notes),
            outside=beside.outside(each for each in groups if each not in taken),
        )

    def _nodes(self, *roles: str) -> list[Node]:
        return [node for node in self.walk.found if node.role in roles]

    def _model(self, node: Node) -> ModelState:
        if node.role == "module":
            named = modules.of_module(node.value, node.route, self.problems)
        elif node.role == "parameters":
            named = models.of_sequence(node.value)
            self.notes.append(f"'{node.route}' is a list of tensors: the file has no names for them, only positions")
        else:
            named = models.of_mapping(mapping(node.value) or {})
        return replace(self._built(named, node.route), modules=models.modules_of(node.value))

    def _built(self, named: list[models.Named], route: str) -> ModelState:
        model, note = models.build(named, route, ordered=self.tree.ordered, input_number=0, problems=self.problems)
        if note:
            self.notes.append(note)
        return model

    def _loose_model(self) -> list[ModelState]:
        """Tensors lying among other things at the top, where nothing else can be the model."""
        root = mapping(self.tree.root)
        if root is None or self.walk.root.role is not None or not self._nodes("optimizer"):
            return []
        taken = {id(node.value) for node in self.walk.found}  # a random state is a tensor too
        tensors = {
            key: item
            for key, item in root.items()
            if isinstance(item, TensorRef) and item.shape and id(item) not in taken
        }
        return [self._built(models.of_mapping(tensors), "")] if tensors else []

    def _optimizer(self, node: Node) -> tuple[OptimizerState, Groups]:
        value = node.value
        if isinstance(value, Opaque) and node.role == "optimizer-object":
            held = {key: value.attribute(key) for key in optimizer_states.KEYS}
        else:
            held = dict(mapping(value) or {})
        if is_flattened(held):
            held, note = unflattened(held, self.tree.metadata)
            self.notes.extend(filter(None, (note,)))
        optimizer, groups = optimizer_states.build(held, node.route, self.problems, 0)
        if groups.note:
            self.notes.append(groups.note)
        if node.role == "optimizer-object":
            optimizer = replace(optimizer, families=(value.name.rpartition(".")[2],))
        elif (name := _class_in_route(node)) is not None:
            optimizer = replace(optimizer, families=(name,))
        return optimizer, groups

    def _companions(self, kind: str) -> tuple[Companion, ...]:
        return tuple(
            Companion(node.route, kind, _plain_state(node.value), self._companion_name(node))
            for node in self._nodes(kind)
        )

    def _companion_name(self, node: Node) -> str | None:
        if node.role == "scheduler":
            return companions.scheduler_name(node.value)
        return last(node.route) or None if node.role == "rng" else None

    def _rest(self) -> tuple[dict[str, int | float], dict[str, Any]]:
        counters: dict[str, int | float] = {}
        other: dict[str, Any] = {}
        for key, route, value in rest(self.walk):
            if not self._count(key, route, value, counters):
                other[route] = value
                if isinstance(value, dict) and len(value) <= MAX_COUNTED:
                    for name, item in value.items():
                        self._count(name, join(route, name), item, counters)
        return counters, other

    def _count(self, key: object, route: str, value: Any, counters: dict[str, int | float]) -> bool:
        if is_container(value) or not companions.is_counter(key, route):
            return False
        number = scalar(value, self.problems, route)
        if number is None or isinstance(number, bool):
            return False
        counters[route] = number
        return True

    def _expected_optimizer(self, optimizers: tuple[OptimizerState, ...]) -> None:
        """An entry that is called optimizer and is none."""
        root = self.tree.root if isinstance(self.tree.root, dict) and not optimizers else {}
        for key, value in root.items():
            if not isinstance(key, str) or not OPTIMIZER_NAMES.match(key):
                continue
            role = next((node.role for node in self.walk.found if node.route == key), None)
            if role is not None or isinstance(value, str | int | float):
                what = f"a {role}'s state" if role else type(value).__name__
                self.problems.add(key, "no optimizer's state_dict where one is expected", what)
            else:
                self.notes.append(
                    f"'{key}' holds no optimizer's state_dict" + (": it is None" if value is None else "")
                )


def _beside(model: ModelState) -> ModelState:
    return replace(model, entries=tuple(replace(entry, beside=True) for entry in model.entries))


def _trained(found: list[ModelState]) -> list[ModelState]:
    return [model for model in found if model.role == "model"]


def _by_route(groups: Sequence[beside.Group]) -> list[tuple[str, list[models.Named]]]:
    """Tensors that stand alone in one dict are one model."""
    found: dict[str, list[models.Named]] = {}
    for each in groups:
        found.setdefault(each.route, []).extend(each.named)
    return list(found.items())


def _class_in_route(node: Node) -> str | None:
    """`optimizers.DecoupledAdamW`: a class that is not known by its keys, but that the file names."""
    parent = node.parent
    if parent is None or last(parent.route) != "optimizers" or not isinstance(node.key, str):
        return None
    return node.key if node.key.isidentifier() and node.key[0].isupper() and named(node.key) is None else None


def dict_of(read: list[tuple[OptimizerState, Groups]]) -> dict[str, Groups]:
    return {optimizer.route: groups for optimizer, groups in read}


def _plain_state(value: Any) -> Any:
    return value.state if isinstance(value, Opaque) and value.state is not None and not value.items else value


def _with_tensor_names(optimizer: OptimizerState, groups: Groups, found: list[ModelState]) -> OptimizerState:
    """Names for a pickled optimizer: its `params` are the very tensors of a model in the same file."""
    if not groups.tensors:
        return optimizer
    names = {models.identity(entry.tensor): entry.name for model in found for entry in model.entries}
    named: list[ParamGroup] = []
    position = 0
    for group in optimizer.groups:
        tensors = [groups.tensors.get(position + place) for place in range(len(group.params))]
        own = tuple(names.get(models.identity(one), "") if one is not None else "" for one in tensors)
        named.append(replace(group, names=own if all(own) else group.names))
        position += len(group.params)
    return replace(optimizer, groups=tuple(named))


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda root: isinstance(root, dict) and all(key in root for key in keys)


def _is_bare(root: Any) -> bool:
    """A model's or optimizer's state_dict, or a list of parameters, with nothing beside it."""
    role = role_of(root, "", 0) if is_container(root) else None
    if role == "model":
        return not any(is_container(item) and not only_tensors(item) for _, item in children(root))
    return role in ("optimizer", "optimizer-object", "parameters", "scheduler")


LIGHTNING = Dictionary("lightning", _has("pytorch-lightning_version"))
NANOGPT = Dictionary("nanogpt", _has("iter_num", "model_args"))
MODULE = Dictionary("module", modules.is_module)
STATE_DICT = Dictionary("state-dict", _is_bare)
DICTIONARY = Dictionary("dictionary", lambda _root: True)
