"""Which of a file's models is the one in memory: by names and shapes, then by the optimizer that steps it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from optinspect.checkpoint import Checkpoint, ModelState
from optinspect.live.members import Members
from optinspect.naming.base import Naming
from optinspect.naming.recorded import plain

WORDS = re.compile(r"[a-z]+|[0-9]+")


def likeliest(members: Members, checkpoint: Checkpoint, naming: Naming) -> ModelState | None:
    """The model with most of the live tensors, name and shape; of equal ones that which the file's optimizer steps.

    Where no shape agrees the names alone decide. None where several are left, or where nothing is shared with any.
    """
    live = {plain(name): tuple(m.tensor.shape) for m in (*members.parameters, *members.unstepped) for name in m.names}
    models = [each for each in checkpoint.models if each.role == "model"]
    trained = [each for each in models if not any(entry.beside for entry in each.entries)]
    if not live or not trained:
        return None
    if len(trained) == 1:
        return trained[0]
    scores = [_shared(live, each) for each in trained]
    best = [each for each, score in zip(trained, scores, strict=True) if score == max(scores)]
    if not any(max(scores)):
        return None
    if len(best) > 1:
        best = _called_like(checkpoint.optimizers[naming.optimizer].route, best)
    if len(best) > 1 and len({frozenset(_looks(each)) for each in best}) > 1:  # of twins naming takes any
        stepped = Counter(row.model for row in naming.parameters if row.model is not None)
        best = [each for each in best if stepped and each is checkpoint.models[stepped.most_common(1)[0][0]]]
    return best[0] if len(best) == 1 else None


def _called_like(optimizer: str, models: list[ModelState]) -> list[ModelState]:
    """Those whose routes share most words and numbers with the optimizer's: "q2" of "q2_opt"; all where none does."""
    own = set(WORDS.findall(optimizer.lower()))
    shared = [len(own & set(WORDS.findall(each.route.lower()))) for each in models]
    return [each for each, score in zip(models, shared, strict=True) if score == max(shared)]


def _looks(model: ModelState) -> Iterator[tuple[str, tuple[int, ...]]]:
    return ((entry.name, entry.shape) for entry in model.entries)


def _shared(live: dict[str, tuple[int, ...]], model: ModelState) -> tuple[int, int]:
    """How many of the live names it has in the same shape, and how many at all."""
    held = {plain(name): entry.shape for name, entry in model.by_name.items()}
    names = live.keys() & held.keys()
    return sum(live[name] == held[name] for name in names), len(names)
