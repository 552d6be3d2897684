"""`show --tree --side-by-side`: a model's tensors and what the optimizer keeps for each, row beside row.

Both tables have the same number of rows for people: where one side has nothing, a row of it has no depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optinspect.checkpoint import ModelEntry, ModelState
from optinspect.commands.facts import Facts, Subject
from optinspect.commands.selection import Selection
from optinspect.commands.show_tables import whole
from optinspect.commands.show_tree import ITEMS, MOST, kind
from optinspect.commands.show_tree_choice import Extent
from optinspect.layouts.base import join
from optinspect.plain import BEYOND, plain
from optinspect.report import Column, Table, Unit
from optinspect.tensors import CompositeRef, TensorRef

MODEL = (
    Column("depth", "depth", Unit.COUNT, 9, machine=True),
    Column("route", "route", Unit.NAME, 9, machine=True),
    Column("entry", "model", Unit.TREE, 0),
    Column("name", "name", Unit.NAME, 9, machine=True),
    Column("aliases", "tied to", Unit.LIST, 4),
    Column("kind", "kind", Unit.TEXT, 9, machine=True),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("dtype", "dtype", Unit.TEXT, 4),
    Column("bytes", "bytes", Unit.BYTES, 5),
    Column("optimizer", "optimizer", Unit.COUNT, 9, machine=True),
    Column("index", "index", Unit.COUNT, 1),
    Column("evidence", "paired by", Unit.TEXT, 1),
)
STATE = (
    Column("depth", "depth", Unit.COUNT, 9, machine=True),
    Column("route", "route", Unit.NAME, 9, machine=True),
    Column("entry", "optimizer", Unit.TREE, 0),
    Column("optimizer", "optimizer", Unit.COUNT, 9, machine=True),
    Column("index", "index", Unit.COUNT, 9, machine=True),
    Column("name", "name", Unit.NAME, 1),
    Column("state", "state", Unit.TEXT, 1),
    Column("group", "group", Unit.COUNT, 2),
    Column("step", "step", Unit.STEP, 3),
    Column("type", "type", Unit.TEXT, 9, machine=True),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("dtype", "dtype", Unit.TEXT, 4),
    Column("bytes", "bytes", Unit.BYTES, 5),
    Column("value", "value", Unit.GLANCE, 2),
)
APART = ("index", "name")
"""Columns that say what lies beside each other anyway."""

Row = dict[str, Any]
Pair = tuple[Row, Row]
"""A row of each table."""


def tables(facts: Facts, selection: Selection, extent: Extent) -> tuple[Table, Table]:
    """The two trees. Reads no values; step counts are those that were read on opening."""
    pairs = list(_Pairing(facts, selection, extent).pairs())
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    if not extent.brief:
        left, right = ([row for row in rows if row["depth"] is not None] for rows in (left, right))
    every = all(row["state"] in (None, "present") for row in right)
    columns = tuple(replace(each, machine=True) if every and each.key == "state" else each for each in STATE)
    state = Table("state_tree", "Optimizer state", columns, right, beside=APART)
    return Table("model_tree", "Model", MODEL, left), state


@dataclass
class _Pairing:
    facts: Facts
    selection: Selection
    extent: Extent

    def pairs(self) -> Iterator[Pair]:
        """A section for each model; then what optimizers step that no section told."""
        self.stepping: dict[int, list[Subject]] = {}
        for subject in self.facts.subjects:
            if subject.named.entry is not None:
                self.stepping.setdefault(id(subject.named.entry.tensor), []).append(subject)
        told: set[int] = set()
        for model in self.facts.checkpoint.models:
            if model.role == "model":
                yield from self._section(model, told)
        for number in sorted({each.optimizer for each in self.facts.subjects} - told):
            yield _blank(MODEL), self._root(number)
            yield from self._nameless(number)

    def _section(self, model: ModelState, told: set[int]) -> Iterator[Pair]:
        """A model beside the optimizers that step it; where that is one, it ends with its parameters without a name."""
        entries = [each for each in model.entries if id(each.tensor) in self.stepping or self._wanted(each)]
        numbers = sorted({each.optimizer for entry in entries for each in self.stepping.get(id(entry.tensor), ())})
        sole = len(numbers) == 1 and not told.issuperset(numbers)
        size = sum(each.tensor.nbytes for each in entries)
        root = {"depth": 0, "route": model.route, "entry": model.route or "model", "bytes": size}
        yield _blank(MODEL) | root, self._root(numbers[0]) if sole else _blank(STATE)
        yield from self._limited([self._of_entry(model, entry, sole) for entry in entries], MODEL)
        if sole:
            yield from self._nameless(numbers[0])
            told.update(numbers)

    def _wanted(self, entry: ModelEntry) -> bool:
        return self.selection.group is None and self.selection.takes_name((entry.name, *entry.aliases))

    def _nameless(self, number: int) -> Iterator[Pair]:
        """The optimizer's parameters that no row of a model stands for."""
        own = [each for each in self.facts.subjects if each.optimizer == number and each.named.entry is None]
        yield from self._limited(
            [[(_blank(MODEL), row) for row in self._of_subject(each, True)] for each in own], STATE
        )

    def _limited(self, blocks: Sequence[list[Pair]], side: tuple[Column, ...]) -> Iterator[Pair]:
        """The first blocks, and on one side how many more there are."""
        some = MOST if self.extent.brief else len(blocks)
        most = some if self.extent.members is None else self.extent.members
        for block in blocks[:most]:
            yield from block
        if len(blocks) > most and self.extent.brief:
            note = {"depth": 1, "entry": f"{BEYOND} {len(blocks) - most:,} more"}
            model, state = _blank(MODEL), _blank(STATE)
            yield (model | note, state) if side is MODEL else (model, state | note)

    def _of_entry(self, model: ModelState, entry: ModelEntry, sole: bool) -> list[Pair]:
        subjects = self.stepping.get(id(entry.tensor), [])
        first = subjects[0] if subjects else None
        left = {
            "depth": 1,
            "route": join(model.route, entry.key),
            "entry": entry.name,
            "name": entry.name,
            "aliases": list(entry.aliases) or None,
            "kind": entry.kind,
            **_of_tensor(entry.tensor),
            "optimizer": first.optimizer if first else None,
            "index": first.state.index if first else None,
            "evidence": first.named.evidence if first else None,
        }
        right = [row for subject in subjects for row in self._of_subject(subject, sole)] or [_blank(STATE)]
        return [(_blank(MODEL) if number else left, row) for number, row in enumerate(right)]

    def _root(self, number: int) -> Row:
        optimizer = self.facts.checkpoint.optimizers[number]
        route = join(optimizer.route, "state")
        found = {"depth": 0, "route": route, "entry": route, "optimizer": number, "bytes": optimizer.nbytes}
        return _blank(STATE) | found | {"type": "dict"}

    def _of_subject(self, subject: Subject, sole: bool) -> Iterator[Row]:
        """A parameter's row, by its key alone below its optimizer's row, then one a slot."""
        state = subject.state
        route = join(join(self.facts.checkpoint.optimizers[subject.optimizer].route, "state"), state.key)
        same = _blank(STATE) | {"optimizer": subject.optimizer, "index": state.index}
        yield same | {
            "depth": 1,
            "route": route,
            "entry": str(state.key) if sole else route,
            "name": subject.named.name,
            "state": state.present,
            "group": state.group,
            "step": whole(state.step),
            "type": "dict" if state.slots else None,
            "bytes": state.nbytes if state.slots else None,
        }
        for slot, value in state.slots.items():
            held = isinstance(value, TensorRef | CompositeRef)
            found = _of_tensor(value) if held else {"value": plain(value, nodes=ITEMS)}
            yield same | {"depth": 2, "route": f"{route}.{slot}", "entry": slot, "type": kind(value), **found}


def _of_tensor(tensor: TensorRef | CompositeRef) -> Row:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.name if tensor.dtype else None,
        "bytes": tensor.nbytes,
    }


def _blank(columns: tuple[Column, ...]) -> Row:
    return dict.fromkeys(column.key for column in columns)
