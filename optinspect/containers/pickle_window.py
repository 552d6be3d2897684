"""Pickles whose length is written nowhere: read a window, and a larger one when it was too small."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optinspect.containers.base import Limits
from optinspect.containers.pickle_builders import BUILDERS
from optinspect.containers.pickle_data import Pickled, interpret, no_storages
from optinspect.containers.pickle_machine import Builder, Storages
from optinspect.containers.source import Source
from optinspect.errors import TruncatedCheckpoint

_FIRST = 1 << 20
_GROWTH = 8


def interpret_at(
    source: Source,
    offset: int,
    what: str,
    limits: Limits,
    storages: Callable[[], Storages] = lambda: no_storages,
    builders: Mapping[str, Builder] = BUILDERS,
) -> Pickled:
    """The pickle that begins at `offset`; its `end` counts from there.

    `storages` is called for each attempt, so that nothing of a shorter window stays. Raises TruncatedCheckpoint when
    the source ends first, and what interpret() raises.
    """
    size = _FIRST
    while True:
        data = source.head(min(size, limits.pickle), offset)
        try:
            return interpret(data, f"{source.path}: {what}", limits, storages(), builders)
        except TruncatedCheckpoint:
            if offset + len(data) >= source.size or size >= limits.pickle:
                raise
        size *= _GROWTH
