"""The statistics table of `show`: a row for every state tensor, and for every weight with --weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any

from optinspect.commands.facts import Facts, Subject
from optinspect.commands.show_tables import numbered
from optinspect.report import Column, Table, Unit
from optinspect.tensors import TensorRef

if TYPE_CHECKING:
    from optinspect.statistics import Statistics

COLUMNS = (
    Column("optimizer", "optimizer", Unit.COUNT, 0),
    Column("index", "index", Unit.COUNT, 0),
    Column("name", "name", Unit.NAME, 0),
    Column("kind", "kind", Unit.TEXT, 8, machine=True),
    Column("slot", "slot", Unit.TEXT, 0),
    Column("dtype", "dtype", Unit.TEXT, 7),
    Column("shape", "shape", Unit.SHAPE, 8),
    Column("count", "count", Unit.COUNT, 9),
    Column("rms", "rms", Unit.REAL, 0),
    Column("log2_histogram", "|x| by magnitude", Unit.HISTOGRAM, 1),
    Column("histogram_sample", "sample", Unit.COUNT, 9, machine=True),
    Column("mean", "mean", Unit.REAL, 3),
    Column("std", "std", Unit.REAL, 5),
    Column("norm", "L2 norm", Unit.REAL, 6),
    Column("min", "min", Unit.REAL, 5),
    Column("max", "max", Unit.REAL, 5),
    Column("abs_max", "|max|", Unit.REAL, 3),
    Column("p5", "p5 ×÷1.41", Unit.ROUGH, 7),
    Column("p50", "p50 ×÷1.41", Unit.ROUGH, 7),
    Column("p95", "p95 ×÷1.41", Unit.ROUGH, 7),
    Column("zeros", "zeros", Unit.COUNT, 9, machine=True),
    Column("zero_fraction", "zeros", Unit.PERCENT, 2),
    Column("nans", "NaN", Unit.COUNT, 1),
    Column("infs", "Inf", Unit.COUNT, 1),
    Column("problem", "not read because", Unit.TEXT, 0),
)
FIGURES = (
    *("count", "mean", "std", "rms", "norm", "min", "max", "abs_max", "zeros", "nans", "infs"),
    *("log2_histogram", "histogram_sample", "p5", "p50", "p95", "zero_fraction"),
)


def table(facts: Facts) -> Table:
    """Raises nothing: a tensor that could not be read has a row that says why."""
    rows = [row for subject in facts.subjects for row in _of_subject(facts, subject)]
    rows += _of_loose(facts)
    return Table("statistics", "Statistics", _columns(facts, rows), rows)


def _columns(facts: Facts, rows: list[dict[str, Any]]) -> tuple[Column, ...]:
    """People are shown NaN and Inf counts only where there are some; the footer says when there are none."""
    idle = {key for key in ("nans", "infs") if not any(row[key] for row in rows)}
    columns = numbered(COLUMNS, len(facts.checkpoint.optimizers) > 1)
    return tuple(replace(column, machine=True) if column.key in idle else column for column in columns)


def _of_subject(facts: Facts, subject: Subject) -> Iterator[dict[str, Any]]:
    measured = facts.measured.get(subject.key) if facts.measured else None
    if measured is None:
        return
    base = {"optimizer": subject.optimizer, "index": subject.state.index, "name": subject.named.name}
    for slot, tensor in subject.tensors.items():
        yield _row(
            {**base, "kind": "state", "slot": slot}, tensor, measured.statistics.get(slot), measured.problems.get(slot)
        )
    if facts.weights and subject.weight is not None:
        yield _row(
            {**base, "kind": "weight", "slot": "weight"}, subject.weight, measured.weight, measured.problems.get(None)
        )


def _of_loose(facts: Facts) -> Iterator[dict[str, Any]]:
    for position, entry in enumerate(facts.loose):
        measured = facts.measured.get((None, position)) if facts.measured else None
        if measured is not None and isinstance(entry.tensor, TensorRef):
            base = {"optimizer": None, "index": None, "name": entry.name, "kind": "weight", "slot": "weight"}
            yield _row(base, entry.tensor, measured.weight, measured.problems.get(None))


def _row(
    base: Mapping[str, Any], tensor: TensorRef, statistics: Statistics | None, problem: str | None
) -> dict[str, Any]:
    told = {"dtype": tensor.dtype.name, "shape": list(tensor.shape), "problem": problem}
    return {**base, **told, **figures(statistics)}


def figures(statistics: Statistics | None) -> dict[str, Any]:
    """The cells of a row that statistics fill."""
    from optinspect.quantiles import quantiles  # noqa: PLC0415  as late as what it is of

    if statistics is None:
        return dict.fromkeys(FIGURES)
    share = statistics.zeros / statistics.count if statistics.count else None
    return {**statistics.figures(), **quantiles(statistics), "zero_fraction": share}


def summed(rows: Iterable[Mapping[str, Any]]) -> Statistics | None:
    """The statistics of several rows together; None where one of them has none."""
    from optinspect.statistics import Statistics  # noqa: PLC0415

    total = Statistics()
    for row in rows:
        if row["count"] is None:
            return None
        finite = row["count"] - row["nans"] - row["infs"]
        total += Statistics(
            count=row["count"],
            mean=row["mean"],
            deviation=(row["std"] or 0.0) * sqrt(finite),
            norm=row["norm"],
            min=row["min"],
            max=row["max"],
            zeros=row["zeros"],
            nans=row["nans"],
            infs=row["infs"],
            log2_histogram=row["log2_histogram"],
            histogram_sample=row["histogram_sample"],
        )
    return total
