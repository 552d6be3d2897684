"""Where weights that the optimizer did not write come from: an averaged copy in the same file, or nowhere known."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from optinspect.checkpoint import Checkpoint
from optinspect.proof.pairing import Weight
from optinspect.proof.sampling import LARGEST, runs_of, values
from optinspect.tensors import TensorRef, obstacle


def averaged(checkpoint: Checkpoint, weights: Sequence[Weight]) -> str | None:
    """The route of a copy in the file that holds what these weights of B hold; None where there is none."""
    for model in checkpoint.models:
        if model.role == "model":
            continue
        twins = [(weight, model.by_name.get(weight.name)) for weight in weights]
        found = [
            _same(weight.b, entry.tensor) for weight, entry in twins if entry and isinstance(entry.tensor, TensorRef)
        ]
        if found and all(found):
            return model.route
    return None


def _same(x: TensorRef, y: TensorRef) -> bool:
    if x.shape != y.shape or obstacle(y):
        return False
    runs = runs_of(prod(x.shape), LARGEST)
    return bool(np.array_equal(values(x, runs), values(y, runs), equal_nan=True))
