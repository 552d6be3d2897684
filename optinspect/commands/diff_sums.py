"""The changes of many tensors together: a row a group and slot, and a chart of the layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import reduce
from math import log10
from operator import add
from typing import Any

from optinspect.commands.diff_columns import LAYERS, TOTALS
from optinspect.commands.ordering import rank
from optinspect.comparison import Comparison, Parameter, TensorChange
from optinspect.comparison.change import Change
from optinspect.report import Table

BLOCK = re.compile(r".*?(?:^|\.)\d+(?=\.)")
"""Up to the first number: the block of a repeated layer."""
SHORTEST = 0.02
"""Of the longest bar, for the layer that changed least: something is drawn wherever something changed."""


def figures(change: Change | None) -> dict[str, Any]:
    return {
        "norm_a": change.norm_a if change else None,
        "norm_b": change.norm_b if change else None,
        "difference_norm": change.difference_norm if change else None,
        "relative": change.relative if change else None,
        "cosine": change.cosine if change else None,
        "max_abs": change.max_abs if change else None,
    }


def by_group(found: Comparison) -> Table:
    """The tensors of a group together, slot by slot; those in no group last."""
    owners = {row.number: row for row in found.parameters}
    sums: dict[tuple[Any, ...], list[TensorChange]] = {}
    for each in found.tensors:
        sums.setdefault((*_place(owners[each.job.owner]), each.job.kind, each.job.slot), []).append(each)
    rows = [_summed(key, each) for key, each in sorted(sums.items(), key=lambda item: _order(item[0]))]
    return Table("totals", "Change by group", TOTALS, rows, machine=found.identical)


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Groups by number, none last; the weight before the state."""
    return (*((part is None, part or 0) for part in key[:4]), key[4] != "weight", key[5])


def _place(row: Parameter) -> tuple[int | None, ...]:
    return (
        row.a.optimizer if row.a else None,
        row.a.group.number if row.a else None,
        row.b.optimizer if row.b else None,
        row.b.group.number if row.b else None,
    )


def _summed(key: tuple[Any, ...], every: Iterable[TensorChange]) -> dict[str, Any]:
    optimizer_a, group_a, optimizer_b, group_b, kind, slot = key
    compared = [each for each in every if each.problem is None]
    changes = [each.change for each in compared if each.change is not None]
    return {
        "optimizer_a": optimizer_a,
        "optimizer_b": optimizer_b,
        "group_a": group_a,
        "group_b": group_b,
        "kind": kind,
        "slot": slot,
        "tensors": len(compared),
        "bit_equal": sum(bool(each.bit_equal) for each in compared),
        **figures(_sum(changes) if len(changes) == len(compared) and changes else None),
    }


def _sum(changes: Iterable[Change]) -> Change:
    return reduce(add, changes, Change())


def by_layer(found: Comparison) -> Table:
    """Relative change of the weights (of the state, where no weight was compared) layer by layer, as bars."""
    owners = {row.number: row for row in found.parameters}
    kind = "weight" if any(each.job.kind == "weight" for each in found.tensors) else "state"
    layers: dict[str, list[Change]] = {}
    for each in found.tensors:
        if each.job.kind == kind and each.change is not None:
            layers.setdefault(_layer(owners[each.job.owner].label), []).append(each.change)
    sums = [(name, len(layers[name]), _sum(layers[name]).relative) for name in sorted(layers, key=rank)]
    scale = _Scale([relative for _, _, relative in sums if relative])
    what = "weights" if kind == "weight" else "state"
    rows = [
        {"layer": layer, "tensors": count, "relative": relative, "bar": scale.fraction(relative)}
        for layer, count, relative in sums
    ]
    return Table("layers", f"Relative change of the {what} by layer", LAYERS, rows, notes=tuple(scale.notes()))


def _layer(name: str) -> str:
    """ "h.0" of "h.0.attn.weight"; what lies in no numbered block: all but the last part."""
    block = BLOCK.match(name)
    return block[0] if block else name.rpartition(".")[0] or name


class _Scale:
    """Bars between the least and the largest change, logarithmic: changes of layers lie decades apart."""

    def __init__(self, values: list[float]) -> None:
        self._low, self._high = (min(values), max(values)) if values else (0.0, 0.0)

    def fraction(self, value: float | None) -> float | None:
        if not value:
            return value
        span = log10(self._high / self._low)
        share = log10(value / self._low) / span if span else 1.0
        return SHORTEST + (1 - SHORTEST) * share

    def notes(self) -> Iterator[str]:
        if self._low < self._high:
            yield f"bars are logarithmic, from {self._low:.1e} to {self._high:.1e}"
