"""What `diff` says in words: the verdict above the tables, and below them what was covered and on what it rests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from optinspect.checkpoint import Checkpoint
from optinspect.commands.wording import bytes_of, counted, some
from optinspect.comparison import PARTS, Comparison, Parameter
from optinspect.report import Line, Severity

WORDS = {
    "added": "added",
    "removed": "removed",
    "moved": "moved to another group",
    "renumbered": "renumbered",
    "frozen": "frozen (their state vanished)",
    "unfrozen": "unfrozen (state appeared)",
    "slots": "with other state slots",
    "shape": "of another shape",
    "dtype": "of another dtype",
    "state dtype": "with state of another dtype",
    "tied": "tied otherwise",
}
"""What of a parameter's changes is said in the headline."""


def headline(found: Comparison) -> tuple[Line, ...]:
    severity = None if found.identical else Severity.NOTE
    return (
        Line("verdict", found.verdict, severity),
        *_steps(found),
        *_changes(found),
        *_groups(found),
        *_extent(found),
    )


def _steps(found: Comparison) -> Iterator[Line]:
    if found.steps_a is None and found.steps_b is None:
        return
    one, two = ("none" if step is None else f"{step:,g}" for step in (found.steps_a, found.steps_b))
    if found.between is not None:
        yield Line("steps", f"{one} in a, {two} in b: {_signed(found.between)}")
    else:
        yield Line("steps", f"{one} in a, {two} in b; not the same number of steps for every parameter", Severity.NOTE)


def _signed(between: float) -> str:
    return "the same" if not between else f"{abs(between):,g} {'later' if between > 0 else 'earlier'}"


def _changes(found: Comparison) -> Iterator[Line]:
    for change, words in WORDS.items():
        having = [row for row in found.parameters if change in row.changes]
        if having:
            yield Line("parameters", f"{counted(len(having), 'parameter')} {words}: {_some(having)}")


def _some(rows: list[Parameter]) -> str:
    return some(row.label for row in rows)


def _groups(found: Comparison) -> Iterator[Line]:
    parts: dict[str, dict[int, list[int]]] = {"a": {}, "b": {}}
    for pair in found.groups:
        if pair.a is not None and pair.b is not None and pair.members:
            parts["a"].setdefault(pair.a[1], []).append(pair.b[1])
            parts["b"].setdefault(pair.b[1], []).append(pair.a[1])
    for group, others in parts["a"].items():
        if len(others) > 1:
            yield Line("groups", f"group {group} of a is split into {_listed(others)} of b")
        elif others[0] != group and len(parts["b"][others[0]]) == 1:
            yield Line("groups", f"group {group} of a is group {others[0]} of b")
    for group, others in parts["b"].items():
        if len(others) > 1:
            yield Line("groups", f"groups {_listed(others)} of a are one, {group} of b")


def _listed(numbers: list[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


def _extent(found: Comparison) -> Iterator[Line]:
    if not found.tensors:
        return
    equal = sum(bool(each.bit_equal) for each in found.tensors)
    kinds = Counter(each.job.kind for each in found.tensors if not each.within)
    if not kinds:
        yield Line(
            "values",
            f"all {counted(len(found.tensors), 'tensor')} equal"
            + ("" if equal == len(found.tensors) else " within the tolerance"),
        )
        return
    told = " and ".join(f"{counted(count, kind + ' tensor')}" for kind, count in sorted(kinds.items(), reverse=True))
    yield Line("values", f"{told} differ; {equal:,} of {len(found.tensors):,} are bit-equal")


def footer(a: Checkpoint, b: Checkpoint, found: Comparison) -> tuple[Line, ...]:
    return (*_alignment(found), *_notes(a, b, found), _covered(found), _safety(a, b))


def _alignment(found: Comparison) -> Iterator[Line]:
    by = Counter(pair.by for pair in found.pairs if pair.by is not None)
    if by["index"]:
        told = f"{counted(by['index'], 'parameter')} aligned by index: at least one side has no names for them"
        yield Line("aligned", told, Severity.WARNING)
    if by["content"]:
        yield Line(
            "aligned",
            f"{counted(by['content'], 'parameter')} aligned by equal state, where a name rests on an order alone",
        )
    guessed = [
        pair
        for pair in found.pairs
        if pair.by == "name" and pair.a and pair.b and "order" in (pair.a.named.evidence, pair.b.named.evidence)
    ]
    if guessed:
        yield Line(
            "aligned",
            f"{counted(len(guessed), 'name rests', 'names rest')} on an order of parameters, which is no proof",
        )


def _notes(a: Checkpoint, b: Checkpoint, found: Comparison) -> Iterator[Line]:
    for side, checkpoint in (("a", a), ("b", b)):
        for note in checkpoint.notes:
            yield Line("note", f"{side}: {note}")
    dtypes = Counter(
        tuple(sorted((each.job.a.dtype.name, each.job.b.dtype.name)))
        for each in found.tensors
        if each.change is not None and each.job.a.dtype and each.job.b.dtype and each.job.a.dtype != each.job.b.dtype
    )
    for names, count in dtypes.items():
        wide = (
            "float32"
            if set(names) <= {"float32", "bfloat16", "float16"} or all("float8" in n for n in names)
            else "float64"
        )
        yield Line("note", f"{counted(count, 'tensor')} of {names[0]} against {names[1]} compared in {wide}")
    uncompared = [each for each in found.tensors if each.problem is not None]
    if uncompared:
        yield Line(
            "note",
            f"{counted(len(uncompared), 'tensor')} could not be compared (see the table of tensors)",
            Severity.WARNING,
        )
    if not found.wanted.tolerance.exact:
        told = (
            f"|a − b| ≤ {found.wanted.tolerance.atol:g} + {found.wanted.tolerance.rtol:g}·max(|a|, |b|) counts as equal"
        )
        yield Line("tolerance", told)


def _covered(found: Comparison) -> Line:
    read = [each for each in found.tensors if each.change is not None]
    size = bytes_of(sum(each.job.a.nbytes + each.job.b.nbytes for each in read))
    told = f"{len(read):,} of {counted(len(found.tensors), 'tensor')} that both have, every element ({size})"
    trusted = sum(each.trusted for each in found.tensors)
    if trusted:
        told += f"; {trusted:,} taken for equal by their recorded checksums, unread"
    left = [part for part in PARTS if part not in found.wanted.parts]
    if "other" in found.wanted.parts and not found.wanted.others:
        left.append("other values")
    if len(found.parameters) < found.total:
        told += f"; {len(found.parameters):,} of {found.total:,} parameters chosen"
    return Line("covered", told + (f"; not compared: {', '.join(left)}" if left else ""))


def _safety(a: Checkpoint, b: Checkpoint) -> Line:
    kept = len(set(a.opaque) | set(b.opaque))
    told = "nothing from the files was executed"
    return Line(
        "safety", told + (f"; {counted(kept, 'unknown name was', 'unknown names were')} kept inert" if kept else "")
    )
