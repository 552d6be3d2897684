"""Which model(s) an optimizer steps, where a file holds several: by shapes, by what the keys are called, by order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations

from optinspect.checkpoint import Checkpoint, ModelEntry, ModelState, OptimizerState
from optinspect.naming.question import Candidate, Pool, Question
from optinspect.naming.words import affinity
from optinspect.tensors import CompositeRef

MAX_CHAINED = 4
"""Models whose chains are tried in every order; more are chained in the file's order only."""

_BACKSLASH = "\\"
_POSITION = re.compile(r"\[[0-9]+\]$")
"""A list of tensors: positions are no names."""


Tensor = tuple[int, str]
"""A model's number and a tensor's name in it."""


def question_for(checkpoint: Checkpoint, number: int, taken: frozenset[Tensor] = frozenset()) -> Question:
    """The optimizer and the pools of model tensors it may step, likeliest first; `taken` are in no pool."""
    optimizer = checkpoint.optimizers[number]
    homes = _homes(checkpoint)
    singles = [_pool(checkpoint.models, (home,)) for home in homes]
    pools = [pool.without(taken) for pool in (*singles, *_chains(checkpoint.models, homes))]
    question = Question(number, optimizer, (), _universe(checkpoint, homes, singles))
    names = {
        home: affinity(_route(checkpoint, optimizer), _route(checkpoint, checkpoint.models[home])) for home in homes
    }

    def rank(item: tuple[int, Pool]) -> tuple[int, ...]:
        place, pool = item
        fit = 3 if question.equals(pool) else 2 if question.includes(pool) else 0
        single = len(pool.models) == 1
        close = names[pool.models[0]] if single else 0
        same_place = single and len(homes) == len(checkpoint.optimizers) and homes.index(pool.models[0]) == number
        return (-fit, -close, not same_place, place)

    ranked = tuple(pool for _, pool in sorted(enumerate(pools), key=rank))
    return Question(number, optimizer, ranked, question.universe, alone=len(checkpoint.optimizers) == 1)


def _route(checkpoint: Checkpoint, owner: OptimizerState | ModelState) -> str:
    """The route, with the file's name before it where the checkpoint is in several files."""
    if len(checkpoint.inputs) < 2:
        return owner.route
    return f"{checkpoint.inputs[owner.input].path.replace(_BACKSLASH, '/').rpartition('/')[2]} {owner.route}"


def _homes(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Models an optimizer may step; averaged and other copies only where there is nothing else."""
    named = [n for n, model in enumerate(checkpoint.models) if not all(_POSITION.match(e.name) for e in model.entries)]
    return tuple(n for n in named if checkpoint.models[n].role == "model") or tuple(named[:1])


def _chains(models: Sequence[ModelState], homes: tuple[int, ...]) -> list[Pool]:
    """One optimizer over several models: every order and choice of a few, else all of them as they stand."""
    if len(homes) < 2:
        return []
    if len(homes) > MAX_CHAINED:
        return [_pool(models, homes)]
    orders = [order for size in range(2, len(homes) + 1) for order in permutations(homes, size)]
    return [_pool(models, order) for order in sorted(orders, key=lambda order: (order != tuple(sorted(order)), order))]


def _pool(models: Sequence[ModelState], numbers: tuple[int, ...]) -> Pool:
    prefixes = _prefixes(models, numbers)
    rows = [
        Candidate(number, prefix + entry.name, entry, prefix)
        for number, prefix in zip(numbers, prefixes, strict=True)
        for entry in models[number].entries
        if may_be_stepped(entry)
    ]
    return Pool(
        tuple(row for row in rows if not row.entry.is_buffer),
        tuple(row for row in rows if row.entry.is_buffer),
        all(models[number].ordered for number in numbers),
        numbers,
        next((models[number].order_from for number in numbers if models[number].order_from), ""),
        models[numbers[0]].fillings if len(numbers) == 1 else (),
    )


def _prefixes(models: Sequence[ModelState], numbers: tuple[int, ...]) -> list[str]:
    """ "encoder." and "decoder." for chained models: the last key of each route, the whole route where two agree."""
    if len(numbers) == 1:
        return [""]
    last = [models[number].route.rpartition(".")[2] for number in numbers]
    whole = [models[number].route for number in numbers]
    return [f"{key}." if key else "" for key in (last if len(set(last)) == len(last) else whole)]


def _universe(checkpoint: Checkpoint, homes: tuple[int, ...], singles: Sequence[Pool]) -> Pool:
    """Every model's tensors, copies of a model (same names, same shapes) counted once."""
    if not homes:
        return Pool((), (), False, ())
    seen: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = {}
    for home in homes:
        looks = tuple((e.name, e.shape) for e in checkpoint.models[home].entries) if len(homes) > 1 else ()
        seen.setdefault(looks, home)
    if len(seen) == 1:
        return singles[0]
    pools = [single for single in singles if single.models[0] in seen.values()]
    return Pool(
        tuple(c for pool in pools for c in pool.candidates),
        tuple(c for pool in pools for c in pool.doubtful),
        all(pool.ordered for pool in pools),
        tuple(seen.values()),
    )


def may_be_stepped(entry: ModelEntry) -> bool:
    """Floating or complex, of whatever width: integers and booleans have no gradient."""
    if entry.kind == "buffer":
        return False
    if isinstance(entry.tensor, CompositeRef):
        return entry.tensor.dtype is None or entry.tensor.dtype.kind not in ("int", "bool")
    return entry.tensor.dtype.kind not in ("int", "bool")
