"""Names of a corpus of real checkpoints against the truth their live objects gave; position alone is the baseline."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optinspect.checkpoint import Checkpoint
from optinspect.naming import NamedParameter, name_parameters
from optinspect.reading import open_checkpoint

CORPUS = Path(os.environ.get("OPTINSPECT_CORPUS", "/nonexistent"))
pytestmark = pytest.mark.skipif("OPTINSPECT_CORPUS" not in os.environ, reason="OPTINSPECT_CORPUS names no corpus")

CERTAIN = ("live", "step", "forced", "recorded")
WRAPPERS = ("module.", "_orig_mod.")


def cases(room: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Healthy cases with one file for the optimizers."""
    for path in sorted((CORPUS / room).glob("*/truth.json")):
        truth = json.loads(path.read_text())
        files = {one.get("file") for one in truth.get("optimizers") or ()}
        if truth.get("fault") == "healthy" and len(files) == 1 and (path.parent / str(min(files))).exists():
            yield truth, path.parent


def opened(truth: dict[str, Any], folder: Path) -> Checkpoint:
    file = truth["optimizers"][0]["file"]
    apart = [one["file"] for one in truth.get("models") or () if one.get("file") not in (None, file)]
    return open_checkpoint(folder / file, model_state=folder / apart[0] if apart else None)


def plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def agrees(row: NamedParameter, wanted: str | list[str]) -> bool:
    """Any tied name is right; a file may hold the model under fewer or more prefixes than the live one had."""
    truths = [plain(name) for name in (wanted if isinstance(wanted, list) else [wanted])]
    said = [name for name in (row.name, *row.aliases) if name]
    return any(a == b or a.endswith("." + b) or b.endswith("." + a) for a in truths for b in said)


@pytest.mark.parametrize("room", ["groups", "containers", "optimizers"])
def test_certain_names_are_right_and_far_more_are_right_than_by_position(room: str) -> None:
    tally: Counter[str] = Counter()
    for truth, folder in cases(room):
        with opened(truth, folder) as checkpoint:
            for naming, wanted in zip(name_parameters(checkpoint), truth["optimizers"], strict=False):
                order = [e for model in checkpoint.models for e in model.entries]
                for row in naming.parameters:
                    name = wanted["index_to_name"].get(str(row.key), row.key if isinstance(row.key, str) else None)
                    if name is None or (row.entry is not None and row.entry.name.startswith("[")):
                        continue
                    right = agrees(row, name)
                    assert row.evidence not in CERTAIN or right, (folder.name, row.index, row.name, name)
                    tally["right" if right else "none" if row.name is None else "wrong"] += 1
                    at = order[row.index] if row.index < len(order) else None
                    tally["by position"] += at is not None and agrees(
                        NamedParameter(row.index, row.key, at.name, "order", at.aliases), name
                    )
    assert tally["right"] > 100
    assert tally["wrong"] <= 2  # the shuffled stack of equal layers, where nothing in the file tells
    assert tally["right"] >= tally["by position"]
