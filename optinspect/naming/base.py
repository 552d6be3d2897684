"""The result of naming: which model parameter each optimizer index is, and how we know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optinspect.checkpoint import Key, ModelEntry

Evidence = Literal["live", "step", "recorded", "forced", "fingerprint", "order", "none"]
"""Strongest first. Only live, step and forced are certain; recorded is, as far as the file was not altered."""


@dataclass(frozen=True, slots=True)
class NamedParameter:
    """One optimizer index. `rivals`: other names the evidence leaves open, most likely first.

    convention  for `order`: which ordering rule was taken ("one group in module order", …)
    solutions   for `order`: how many assignments the ordering rule leaves; None where they were not counted
    entry       the model's tensor; None when unnamed
    model       number of the model in Checkpoint.models; None when unnamed or when no model is in the file
    """

    index: int
    key: Key
    name: str | None
    evidence: Evidence
    aliases: tuple[str, ...] = ()
    convention: str | None = None
    solutions: int | None = None
    rivals: tuple[str, ...] = ()
    entry: ModelEntry | None = None
    model: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Names from the user, for the optimizer at this route or for the only one: a list a group, or one over all.

    flat  `groups` holds one list, of all names in the order of the indices
    """

    groups: tuple[tuple[str, ...], ...]
    optimizer: str | None = None
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The file's own names do not fit: what it says against what the shapes say."""

    index: int
    recorded: str
    message: str
    source: Literal["recorded", "told"] = "recorded"
    """"told": the user's own list of names does not fit."""


@dataclass(frozen=True)
class Naming:
    """Names of one optimizer, in index order."""

    optimizer: int
    parameters: tuple[NamedParameter, ...]
    contradictions: tuple[Contradiction, ...] = ()
    notes: tuple[str, ...] = ()
