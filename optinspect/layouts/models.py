"""Models from dicts of tensors, nested dicts and plain lists of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from optinspect.checkpoint import ModelEntry, ModelState
from optinspect.containers.pickle_machine import AttributedDict
from optinspect.layouts.base import Problems, only_tensors, sequence, tensor
from optinspect.layouts.names import is_buffer_name, without_prefix
from optinspect.tensors import AnyTensor, CompositeRef, TensorRef

EXEMPT = frozenset({"n_averaged"})
"""AveragedModel's own counter stands beside the wrapped names."""

Kind = Literal["parameter", "parameter?", "buffer", "buffer?"]
Named = tuple[str, AnyTensor, Kind]


def entries(named: Iterable[Named]) -> tuple[ModelEntry, ...]:
    """One entry for each tensor; further names of the same elements are its aliases."""
    first: dict[object, ModelEntry] = {}
    aliases: dict[object, list[str]] = {}
    for name, value, kind in named:
        elements = identity(value)
        if elements in first:
            aliases.setdefault(elements, []).append(name)
        else:
            first[elements] = ModelEntry(name=name, key=name, tensor=value, kind=kind)
    for elements, others in aliases.items():
        first[elements] = replace(first[elements], aliases=tuple(others))
    return tuple(first.values())


def identity(value: AnyTensor) -> object:
    """Equal for the same elements of the same storage; an empty tensor shares nothing with another."""
    if isinstance(value, CompositeRef) or 0 in value.shape:
        return id(value)
    return (value.storage, value.offset, value.shape, value.stride, value.dtype.name)


def guess(name: str, value: AnyTensor) -> Kind:
    """What a state_dict does not say: numbers that have no gradient are buffers, and so are well-known names."""
    if isinstance(value, TensorRef) and value.is_parameter:
        return "parameter"
    differentiable = value.dtype is None or value.dtype.is_floating or value.dtype.kind == "quantized"
    return "buffer?" if not differentiable or is_buffer_name(name) else "parameter?"


def of_mapping(value: Mapping[Any, Any]) -> list[Named]:
    """Names and tensors of a state_dict, nested ones joined by dots, in the file's order."""
    named: list[Named] = []
    pending: list[tuple[str, Any]] = [(str(key), value[key]) for key in reversed(value)]
    while pending:
        name, item = pending.pop()
        held = tensor(item)
        if held is not None:
            named.append((name, held, guess(name, held)))
        elif isinstance(item, dict) and only_tensors(item):
            pending.extend((f"{name}.{key}", item[key]) for key in reversed(item))
    return named


def modules_of(value: object) -> frozenset[str]:
    """Paths of the modules that torch noted beside the tensors (`state_dict()._metadata`, "" for the outermost)."""
    attributes = value.attributes if isinstance(value, AttributedDict) else None
    noted = attributes.get("_metadata") if isinstance(attributes, dict) else None
    return frozenset(key for key in noted if isinstance(key, str)) if isinstance(noted, dict) else frozenset()


def of_sequence(value: object) -> list[Named]:
    """A list of parameters has positions for names: "[0]", "[1]"."""
    members = sequence(value) or ()
    found = ((f"[{place}]", tensor(item)) for place, item in enumerate(members))
    return [(name, held, guess(name, held)) for name, held in found if held is not None]


def build(
    named: list[Named], route: str, *, ordered: bool, input_number: int, problems: Problems
) -> tuple[ModelState, str | None]:
    """The model, and a note where prefixes were taken off."""
    prefix, names = without_prefix([name for name, _, _ in named], EXEMPT)
    found = entries((name, value, kind) for name, (_, value, kind) in zip(names, named, strict=True))
    if prefix:  # taken off a name, never off the key
        found = tuple(
            one if one.name in EXEMPT else ModelEntry(one.name, prefix + one.key, one.tensor, one.kind, one.aliases)
            for one in found
        )
    if len(set(names)) < len(names):
        problems.add(route, "two tensors of a model have one name")
    model = ModelState(route, found, ordered, prefix=prefix, input=input_number)
    return model, f"wrapper prefix '{prefix}' taken off the names of '{route or 'the model'}'" if prefix else None
