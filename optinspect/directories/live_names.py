"""Names of a live module and of the file that its save_pretrained() writes: tied ones, renamed ones, divided ones.

transformers 5 saves some models under the names of older versions, and fused experts one by one. Its own conversion is
applied to the tensors without values: what comes out of it are views, whose base and place say what they are part of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optinspect.directories.live_class import Part


def tied_names(module: Any) -> dict[str, tuple[str, ...]]:
    """First name of a parameter → its other names."""
    first: dict[int, str] = {}
    others: dict[str, tuple[str, ...]] = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(value), name)
        if known != name:
            others[known] = (*others.get(known, ()), name)
    return others


def parts_of(module: Any) -> dict[str, tuple[Part, ...]]:
    """Parameter → the file's tensors of it, where these are parts of it as it is."""
    own = dict(module.named_parameters())
    names = {id(value): name for name, value in own.items()}
    found: dict[str, list[Part]] = {}
    for key, value in _saved(module, own).items():
        base = value if id(value) in names else value._base
        name = names.get(id(base))
        part = _part(key, value, base) if name is not None else None
        if name is not None and part is not None:
            found.setdefault(name, []).append(part)
    stacks = {name: _stack(_saved(module, {name: own[name]}), tuple(own[name].shape)) for name in own.keys() - found}
    return {name: tuple(parts) for name, parts in (found | stacks).items()}


def _stack(saved: Mapping[str, Any], whole: tuple[int, ...]) -> list[Part]:
    """Experts by their number: of each its matrices one below the other, as the conversion lists them."""
    parts: list[Part] = []
    heights: dict[int, int] = {}
    for key, value in saved.items():
        numbers = [int(step) for step in key.partition("experts.")[2].split(".") if step.isdecimal()]
        shape = tuple(value.shape)
        if len(numbers) != 1 or len(whole) != 3 or len(shape) != 2 or shape[1] != whole[2]:
            return []
        top = heights.get(numbers[0], 0)
        heights[numbers[0]] = top + shape[0]
        parts.append(Part(key, (numbers[0], top, 0), (1, *shape)))
    return parts if heights and set(heights.values()) == {whole[1]} and max(heights) == whole[0] - 1 else []


def _saved(module: Any, own: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state_dict under the names that it is saved under; before version 5 these are the module's own."""
    try:
        from transformers.core_model_loading import revert_weight_conversion  # noqa: PLC0415

        saved: Mapping[str, Any] = revert_weight_conversion(module, dict(own))
    except Exception:
        return own
    return saved


def _part(key: str, view: Any, base: Any) -> Part | None:
    """Where in `base` the view lies; None where it is no box of it."""
    strides, shape = tuple(base.stride()), tuple(base.shape)
    missing = len(shape) - view.dim()
    sizes = (1,) * missing + tuple(view.shape)
    if missing < 0 or tuple(view.stride()) != strides[missing:]:
        return None
    offsets, rest = [], view.storage_offset()
    for stride in strides:
        offsets.append(rest // stride if stride else 0)
        rest -= offsets[-1] * stride
    fits = all(at + size <= whole for at, size, whole in zip(offsets, sizes, shape, strict=True))
    return Part(key, tuple(offsets), sizes) if fits else None
