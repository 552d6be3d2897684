"""OI1xx: the file itself. Are the bytes there, and are they those that were written?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from optinspect import damage
from optinspect.checkpoint import Problem
from optinspect.checks.base import Complaint, Context, Rule, Skip, Spot, rule
from optinspect.damage import KINDS
from optinspect.layouts.base import join
from optinspect.subjects import Subject
from optinspect.tensors import CompositeRef, TensorRef

_TRUNCATED, _MISSING, _GEOMETRY, _INTEGRITY, _STRUCTURE, _REFUSED = (
    KINDS[name] for name in ("truncated", "missing", "geometry", "integrity", "structure", "refused")
)


def _of_kind(context: Context, kind: str) -> Iterator[Complaint]:
    found = [problem for problem in damage.problems(context.facts.checkpoint) if problem.kind == kind]
    known = damage.owners(context.facts.checkpoint, context.facts.subjects) if found else {}
    told: dict[str, list[tuple[Problem, Subject | None]]] = {}
    for problem in found:
        told.setdefault(problem.message, []).append((problem, damage.owner(problem, known)))
    for message, places in told.items():
        yield from _alike(message, places)


def _alike(message: str, places: list[tuple[Problem, Subject | None]]) -> Iterator[Complaint]:
    """Equal problems of many tensors are one finding."""
    if len(places) <= 3:
        yield from (_complaint(message, [place]) for place in places)
    else:
        yield _complaint(f"{message} (and so for {len(places) - 1:,} more tensors)", places)


def _complaint(message: str, places: list[tuple[Problem, Subject | None]]) -> Complaint:
    problem, whose = places[0]
    spots: tuple[Spot, ...] = tuple({one.key for _, one in places if one is not None}) or (("route", problem.route),)
    return Complaint(message, problem.route or None, whose.named.name if whose else None, spots)


@rule(_TRUNCATED.rule, _TRUNCATED.severity, title=_TRUNCATED.title, repair=_TRUNCATED.repair)
def truncated(context: Context) -> Iterable[Complaint]:
    """The file, or a record in it, ends before all of its bytes have come.

    Why it matters: torch.load refuses the file, or fails at the first tensor that is not whole.
    Harmless when: never.
    Repair: take the save before this one. What is whole can be seen with `optinspect show`.
    Seen: jobs that were killed while saving, full disks, copies that broke off (mmdetection#4835, returnn#1444).
    """
    return _of_kind(context, "truncated")


@rule(_MISSING.rule, _MISSING.severity, title=_MISSING.title, repair=_MISSING.repair)
def missing(context: Context) -> Iterable[Complaint]:
    """A tensor is described, but its bytes are not in the file: a record is absent, or it was saved from `meta`.

    Why it matters: a meta tensor loads without an error and without values; the next step works on nothing.
    Harmless when: never for optimizer state; a meta buffer that the model fills by itself may be.
    Repair: move the state to a real device before saving.
    Seen: models that were built under torch.device("meta") and saved too early (Lightning PR#19067).
    """
    return _of_kind(context, "missing")


@rule(_GEOMETRY.rule, _GEOMETRY.severity, title=_GEOMETRY.title)
def geometry(context: Context) -> Iterable[Complaint]:
    """Shape, stride and offset of a tensor reach beyond the storage that it lies in.

    Why it matters: torch refuses the file, or reads memory that is not the tensor's.
    Harmless when: never; torch does not write such a file.
    Repair: take another save; distrust the file's origin.
    Seen: edited and hostile files; flipped bits in data.pkl.
    """
    return _of_kind(context, "geometry")


@rule(_INTEGRITY.rule, _INTEGRITY.severity, title=_INTEGRITY.title, repair=_INTEGRITY.repair, requires=("OI101",))
def integrity(context: Context) -> Iterable[Complaint]:
    """A record's CRC-32 is not the one that torch wrote beside it, or its compressed data is damaged.

    Why it matters: torch.load never compares checksums: of 1,000 single flipped bits 985 load without a word, and
    training goes on from a wrong number.
    Harmless when: never. Files of torch before 1.6 have no checksums: then this rule is skipped.
    Repair: copy the file again from where it was written; if it is wrong there too, take the save before this one.
    Seen: pytorch#126952 (the reader's check is switched off on purpose, pytorch PR#28858).
    """
    found = context.facts.integrity
    yield from _of_kind(context, "integrity")
    for subject, slot, reason in damage.unreadable(context.facts.subjects, context.facts.measured):
        yield context.about(subject, reason, slot)
    users = _users(context, {(each.input, each.record) for each in found.broken})
    for each in found.broken:
        places = users.get((each.input, each.record), [])
        route, parameter, _ = places[0] if places else (each.record, None, ())
        also = f"; it holds {', '.join(place[0] for place in places[1:4])} too" if len(places) > 1 else ""
        yield Complaint(each.message + also, route, parameter, tuple(place[2] for place in places) or (("record",),))
    if not found.broken and not found.records:
        raise Skip("the file has no checksums: its integrity cannot be verified")


def _users(context: Context, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], list[tuple[str, str | None, Spot]]]:
    """(input, record) → the tensors that lie in it: route, parameter, spot."""
    users: dict[tuple[int, str], list[tuple[str, str | None, Spot]]] = {}
    for number, tensor, route, name, spot in _tensors(context) if wanted else ():
        for part in tensor.parts.values() if isinstance(tensor, CompositeRef) else (tensor,):
            key = number, part.storage.key
            if key in wanted:
                users.setdefault(key, []).append((route, name, spot))
    return users


def _tensors(context: Context) -> Iterator[tuple[int, TensorRef | CompositeRef, str, str | None, Spot]]:
    checkpoint = context.facts.checkpoint
    steps = {id(each.named.entry.tensor): each for each in context.facts.subjects if each.named.entry}
    for model in checkpoint.models:
        for entry in model.entries:
            whose = steps.get(id(entry.tensor))
            spot: Spot = whose.key if whose else ("tensor", entry.name)
            yield model.input, entry.tensor, join(model.route, entry.key), entry.name, spot
    for subject in context.facts.subjects:
        number = checkpoint.optimizers[subject.optimizer].input
        for slot, value in subject.state.slots.items():
            if isinstance(value, TensorRef | CompositeRef):
                yield number, value, context.state_route(subject, slot), subject.named.name, subject.key


@rule(_REFUSED.rule, _REFUSED.severity, title=_REFUSED.title, repair=_REFUSED.repair)
def refused(context: Context) -> Iterable[Complaint]:
    """The archive is arranged in a way that torch's reader does not take, though every byte may be there.

    Why it matters: torch.load stops with an error that names neither the record nor the reason.
    Harmless when: only other programs are to read the file.
    Repair: read it here (`optinspect show`), then write it again with torch.save; do not unzip and zip by hand.
    Seen: archives that were unpacked and packed again by a file manager, which puts records in other folders.
    """
    return _of_kind(context, "refused")


@rule(
    _STRUCTURE.rule,
    _STRUCTURE.severity,
    title=_STRUCTURE.title,
    requires=("OI101", "OI203", "OI205", "OI206", "OI207", "OI211"),
)
def structure(context: Context) -> Iterable[Complaint]:
    """Something in the file is not as torch writes it, and no other rule has said what it is.

    Why it matters: it was written or edited by something else, which may have changed more than what is seen here.
    Harmless when: the program that wrote it also reads it.
    Repair: look at the route that is named with `optinspect show`.
    Seen: state dictionaries that were merged, filtered or converted by a script.
    """
    for each in _of_kind(context, "structure"):
        if not _told(each.route or "", context.routes) and not _condemned(context, each.route or ""):
            yield each


def _condemned(context: Context, route: str) -> bool:
    """Whether it lies in an optimizer of which a rule has said already what is wrong with it as a whole."""
    optimizers = enumerate(context.facts.checkpoint.optimizers)
    return any(one.route and route.startswith(one.route) and not context.sound((n,)) for n, one in optimizers)


def _told(route: str, routes: Iterable[str]) -> bool:
    """Whether another finding lies at the route, above it or below it."""
    return bool(route) and any(other.startswith(route) or route.startswith(other) for other in routes if other)


FIRST: tuple[Rule, ...] = (truncated, missing, geometry, integrity, refused)
LAST: tuple[Rule, ...] = (structure,)
