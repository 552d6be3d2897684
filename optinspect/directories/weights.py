"""A model's weights as files hold them: one file, several shards with an index, a pickled dict or an adapter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from optinspect.directories.base import Session

STEMS = ("model", "pytorch_model", "adapter_model", "pytorch_model_fsdp", "diffusion_pytorch_model")
ENDINGS = ("safetensors", "bin")
"""As transformers prefers them."""

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.(?P<ending>safetensors|bin)\Z")


@dataclass(frozen=True, slots=True)
class Weights:
    """tensors: name → tensor; ordered: the names are in module order; names: the files."""

    tensors: dict[Any, Any]
    ordered: bool
    names: tuple[str, ...]


def is_weights(name: str) -> bool:
    """One of the usual names, or the index of shards."""
    plain = name.removesuffix(".index.json")
    return any(plain == f"{stem}.{ending}" for stem in STEMS for ending in ENDINGS)


def find(session: Session, stem: str) -> Weights | None:
    """The weights called `stem`: `stem.safetensors`, `stem.bin` or their shards; None where there are none."""
    files = session.folder.files
    for ending in ENDINGS:
        if f"{stem}.{ending}" in files:
            return _read(session, (f"{stem}.{ending}",))
        shards = tuple(
            name for name in files if (m := _SHARD.match(name)) and (m["stem"], m["ending"]) == (stem, ending)
        )
        if shards or f"{stem}.{ending}.index.json" in files:
            return _sharded(session, f"{stem}.{ending}.index.json", shards)
    return None


def first(session: Session) -> Weights | None:
    """The weights under the first of the usual names."""
    return next((found for stem in STEMS if (found := find(session, stem)) is not None), None)


def _read(session: Session, names: tuple[str, ...]) -> Weights | None:
    tensors: dict[Any, Any] = {}
    ordered, opened = True, 0
    for name in names:
        tree = session.try_open(name)
        if tree is None:
            continue
        opened += 1
        ordered = ordered and tree.ordered
        if not isinstance(tree.root, dict):
            session.problem("integrity", name, "no dict of weights")
            continue
        for key, value in tree.root.items():
            if key in tensors:
                session.problem("integrity", name, f"{key!r:.80} is in another shard too")
            tensors.setdefault(key, value)
    return Weights(tensors, ordered, names) if opened else None


def _sharded(session: Session, index: str, shards: tuple[str, ...]) -> Weights | None:
    """All shards as one; what the index names and no shard holds is a problem."""
    mapped = session.json(index).get("weight_map")
    where = {k: v for k, v in mapped.items() if isinstance(v, str)} if isinstance(mapped, dict) else {}
    totals = {int(m["total"]) for name in shards if (m := _SHARD.match(name))}
    wanted = set(where.values()) or set(shards)
    for name in sorted(wanted - set(shards)):
        session.problem("missing", name, "the index names this shard; it is not in the directory")
    if not where and totals and max(totals) != len(shards):
        session.problem("missing", shards[0], f"{len(shards)} of {max(totals)} shards are in the directory")
    weights = _read(session, tuple(name for name in shards if name in wanted))
    if weights is None:
        return None
    lost = [key for key, name in where.items() if name in shards and key not in weights.tensors]
    if lost:
        session.problem("missing", index, f"{len(lost)} tensors of the index are in no shard, first {lost[0]!r:.80}")
    return weights
