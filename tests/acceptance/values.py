"""Is every value that we read the one that torch reads? Walks both trees side by side.

torch loads with weights_only where it can. The files of an honest room that it refuses that way (a Namespace, pickle
protocol 5) are loaded in full; a hostile one never is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from optinspect.tensors import CompositeRef, TensorRef


def load_with_torch(path: Path, *, trusted: bool) -> Any:
    """torch's own reading, or None where it cannot read the file on this machine."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415

        return load_file(path)
    for weights_only in (True, False) if trusted else (True,):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(path, weights_only=weights_only, map_location="cpu")
        except Exception:  # whatever torch cannot read is not compared; the counts say how much was
            continue
    return None


def differences(ours: Any, theirs: Any, route: str = "") -> Iterator[str]:
    """One line a difference; "=" for each tensor whose bits are the same, so that silence is no success."""
    if isinstance(theirs, np.ndarray) and theirs.dtype.kind in "fiub":
        theirs = torch.from_numpy(theirs)
    if isinstance(ours, TensorRef):
        yield from _tensor(ours, theirs, route)
    elif isinstance(theirs, torch.Tensor) and not isinstance(ours, CompositeRef):
        yield f"{route}: torch has a tensor of {tuple(theirs.shape)}, we have {type(ours).__name__}"
    elif isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        yield from _mapping(ours, theirs, route)
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        if len(ours) != len(theirs):
            yield f"{route}: {len(ours)} items (torch: {len(theirs)})"
        for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(a, b, f"{route}[{number}]")
    elif isinstance(theirs, bool | int | float | str | bytes | None) and not _same_plain(ours, theirs):
        yield f"{route}: {ours!r:.60} (torch: {theirs!r:.60})"


def _mapping(ours: Mapping[Any, Any], theirs: Mapping[Any, Any], route: str) -> Iterator[str]:
    if len(ours) != len(theirs):
        yield f"{route}: {len(ours)} keys (torch: {len(theirs)})"
    for (key, a), (other, b) in zip(ours.items(), theirs.items(), strict=False):
        if isinstance(other, str | int) and key != other:
            yield f"{route}: key {key!r:.40} (torch: {other!r:.40})"
        yield from differences(a, b, f"{route}.{key}")


def _same_plain(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float) and isinstance(ours, float):
        return ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    return bool(ours == theirs) and isinstance(ours, bool) == isinstance(theirs, bool)


def _tensor(ours: TensorRef, theirs: Any, route: str) -> Iterator[str]:
    if not isinstance(theirs, torch.Tensor):
        yield f"{route}: we have a tensor, torch has {type(theirs).__name__}"
    elif str(theirs.dtype) != f"torch.{ours.dtype.name}" or tuple(theirs.shape) != ours.shape:
        yield f"{route}: {ours.dtype.name}{ours.shape} (torch: {theirs.dtype}{tuple(theirs.shape)})"
    elif theirs.device.type == "meta" or theirs.is_quantized:
        return
    elif (problem := ours.problem or ours.storage.problem) is not None:
        yield f"{route}: torch reads it, we do not: {problem}"
    elif bits_of(ours) != bits(theirs):
        yield f"{route}: other values than torch's ({ours.dtype.name}{ours.shape})"
    else:
        yield "="


def bits(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def bits_of(ref: TensorRef) -> bytes:
    """The elements in row-major order, little-endian, from the storage's own bytes: independent of blocks.py."""
    if ref.numel == 0 or ref.storage.data is None:
        return b""
    size = ref.storage.data.size
    data = bytearray(size)
    ref.storage.data.read_into(0, memoryview(data))
    dtype = getattr(torch, ref.dtype.name)
    if ref.storage.byteorder == "big":
        word = ref.dtype.itemsize // (2 if ref.dtype.kind == "complex" else 1)
        data = bytearray(
            torch.frombuffer(data, dtype=torch.uint8).view(-1, word).flip(1).contiguous().numpy().tobytes()
        )
    usable = size - size % ref.dtype.itemsize
    flat = torch.frombuffer(data, dtype=torch.uint8)[:usable].clone().view(dtype)
    view = flat.as_strided(ref.shape, ref.stride, ref.offset)
    view = view.conj() if ref.conj else view
    return bits(-view if ref.neg else view)
