"""Weights that are one tensor on one side and two on the other."""

from __future__ import annotations

from collections.abc import Iterator

from optinspect.live.case import Case
from optinspect.live.models import entry_of, file_entries
from optinspect.naming.recorded import plain

UNTIED_HERE = "one tensor in the file, two in the model"


def ties(case: Case) -> Iterator[tuple[list[str], str]]:
    """(names, what they are where); nothing of a file whose format keeps no ties (safetensors)."""
    if case.model is None or not case.model.ordered:
        return
    held = file_entries(case)
    for own in case.live_names:
        entries = {id(entry) for name in own if (entry := entry_of(name, held)) is not None}
        if len(entries) > 1:
            yield list(own), "one tensor in the model, two in the file"
    one_of = {plain(name): number for number, own in enumerate(case.live_names) for name in own}
    for entry in case.model.entries:
        mine = [name for name in (entry.name, *entry.aliases) if plain(name) in one_of]
        if len({one_of[plain(name)] for name in mine}) > 1:
            yield mine, UNTIED_HERE
