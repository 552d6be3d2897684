"""OI210 to OI216: do the optimizer's indices, their names and the model's tensors belong together?"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from optinspect.checkpoint import OptimizerState
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.layouts.base import join
from optinspect.naming import unoptimized
from optinspect.report import Severity
from optinspect.subjects import Subject

FOREIGN = 0.5
"""Where more than half of an optimizer's shapes do not fit, it belongs to another model."""
DISPLACED = 0.1
"""Share of names out of order that looks like an exchange; more is another order, which people may choose."""


@rule("OI210", Severity.ERROR, title="indices are not in torch's order", requires=("OI203", "OI206"))
def order(context: Context) -> Iterable[Complaint]:
    """The groups list 0 … n−1, but not in ascending order.

    Why a resume breaks: load_state_dict pairs by position, not by number: the state of each moved index is given to
    another parameter, silently where the shapes agree.
    Harmless when: never. torch's state_dict counts the parameters in the order of its groups.
    Repair: sort `params`, and put the groups back in the order in which the optimizer was made.
    Seen: edited and merged files; groups rebuilt from a set or a dict (pytorch#1489, pytorch-i3d#38).
    """
    for number, optimizer in context.optimizers:
        keys = [key for group in optimizer.groups for key in group.params]
        if keys == list(range(len(keys))) or set(keys) != set(range(len(keys))):
            continue
        place = next(place for place, key in enumerate(keys) if key != place)
        group = next(each for each in optimizer.groups if keys[place] in each.params)
        told = f"index {keys[place]} stands where torch writes {place}: states would go to other parameters"
        own = [key for key in group.params if isinstance(key, int)]
        if own == sorted(own):
            told += "; the groups themselves are out of order"
        yield Complaint(told, context.group_route(optimizer, group, "params"), spots=((number,),))


@rule("OI211", Severity.WARNING, title="names are recorded for a part only", requires=("OI203", "OI206"))
def names_partial(context: Context) -> Iterable[Complaint]:
    """`param_names` stands in some groups only, or has another number of names than its group has parameters.

    Why it matters: torch writes names for all groups or for none; what was edited by hand may be wrong elsewhere.
    load_state_dict ignores the names, then saves them again as if they were true.
    Harmless when: nobody relies on the names.
    Repair: build the optimizer from named_parameters(), load, and save again.
    Seen: groups added by add_param_group from parameters without names; edited files.
    """
    for number, optimizer in context.optimizers:
        wrong = [each for each in context.facts.checkpoint.problems if "param_names" in each.message]
        wrong = [each for each in wrong if each.route.startswith(join(optimizer.route, "param_groups"))]
        if wrong:
            yield Complaint(wrong[0].message, wrong[0].route, spots=((number, "names"),))
        elif 0 < sum(each.names is not None for each in optimizer.groups if each.params) < _filled(optimizer):
            bare = next(each for each in optimizer.groups if each.params and each.names is None)
            told = f"group {bare.number} has no param_names, while others have"
            yield Complaint(told, context.group_route(optimizer, bare), spots=((number, "names"),))


def _filled(optimizer: OptimizerState) -> int:
    return sum(bool(each.params) for each in optimizer.groups)


@rule("OI212", Severity.ERROR, title="recorded names contradict the model", requires=("OI203", "OI206", "OI210"))
def names_wrong(context: Context) -> Iterable[Complaint]:
    """A name in `param_names` is not in the model, is recorded twice, or names a tensor of another shape.

    Why it matters: what reads the names (and torch keeps them over a permuted load) pairs states with wrong weights.
    Harmless when: the model was renamed after the optimizer was made.
    Repair: rebuild the optimizer from named_parameters() in the order that was trained.
    Seen: torch itself writes the saved names over the live ones, even where they are now wrong (torch 2.13).
    """
    for number, naming in enumerate(context.facts.namings):
        short = {each.route for each in context.facts.checkpoint.problems if "param_names" in each.message}
        clashes = [each for each in naming.contradictions if not (short and each.message.startswith("param_names"))]
        if not clashes or not context.sound((number,)):
            continue
        subjects = {each.state.index: each for each in context.facts.of_optimizer[number]}
        yield from context.each([(subjects[each.index], None, each.message) for each in clashes])


@rule("OI213", Severity.WARNING, title="names are not in the model's order", requires=("OI210", "OI211", "OI212"))
def names_order(context: Context) -> Iterable[Complaint]:
    """A few recorded names stand in another order than the model has them, in places of the same shape.

    Why it matters: where two names were exchanged, every check passes and two parameters get each other's moments.
    Harmless when: the parameters were given in this order on purpose. The order of one file proves nothing; a second
    checkpoint does: `optinspect check --previous`.
    Repair: compare with the order in which the training script gives its parameters.
    Seen: edited names; torch keeps saved names over a load into another order.
    """
    for optimizer_number, optimizer in context.optimizers:
        for group in optimizer.groups:
            members = [each for each in context.facts.of_optimizer[optimizer_number] if each.group is group]
            if group.names is None or not all(isinstance(key, int) for key in group.params):
                continue
            places = [_place(context, each) for each in members]
            if None in places or len(places) < 4:
                continue
            known = [place for place in places if place is not None]
            moved = [each for each, a, b in zip(members, known, sorted(known), strict=True) if a != b]
            shapes = {place: each.shape for place, each in zip(known, members, strict=True)}
            same = all(shapes[a] == shapes[b] for a, b in zip(known, sorted(known), strict=True))
            if moved and same and len(known) - _ascending(known) <= max(2, DISPLACED * len(known)):
                names = " and ".join(each.label for each in moved[:3])
                told = f"{names} are not in the model's order: were they exchanged?"
                yield context.about(moved[0], told)


def _place(context: Context, subject: Subject) -> int | None:
    """Where the model has the parameter, if the file keeps its order and the name was recorded."""
    named = subject.named
    if named.evidence != "recorded" or named.model is None or named.entry is None:
        return None
    model = context.facts.checkpoint.models[named.model]
    if not model.ordered:
        return None
    return next((place for place, each in enumerate(model.entries) if each.name == named.entry.name), None)


def _ascending(values: Sequence[int]) -> int:
    """Length of the longest ascending subsequence."""
    tails: list[int] = []
    for value in values:
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
    return len(tails)


@rule(
    "OI214",
    Severity.ERROR,
    title="state and weight differ in shape",
    requires=("OI103", "OI203", "OI206", "OI210", "OI212"),
)
def shapes(context: Context) -> Iterable[Complaint]:
    """A parameter's state has another shape than the weight at its place.

    Why a resume breaks: loading succeeds; the first step raises "The size of tensor a must match the size of tensor b".
    With fused=True on CPU nothing is raised: memory beyond the tensor is read and written (measured, torch 2.13).
    Harmless when: never, where the optimizer keeps state in the parameter's shape.
    Repair: load the checkpoint into the model that it was saved from; after a change of the vocabulary pad the state.
    Seen: pytorch#40769, yolov5#1412, OpenNMT-py#2030, DALLE2#115; index permutations.
    """
    if not context.facts.checkpoint.models:
        raise Skip("no model in the file")
    found: list[tuple[Subject, str | None, str]] = []
    for subject in context.subjects:
        entry, shape = subject.named.entry, subject.state.shape
        if entry is not None and shape is not None and shape != entry.shape:
            told = f"state has shape {list(shape)}, the weight {list(entry.shape)}"
            found.append((subject, next(iter(subject.tensors), None), told))
    yield from context.each(found)


@rule("OI215", Severity.ERROR, title="state without a weight", requires=("OI203", "OI206", "OI210", "OI212", "OI214"))
def weights_missing(context: Context) -> Iterable[Complaint]:
    """The optimizer has more parameters of a shape than the model has tensors, or none of its shapes.

    Why a resume breaks: load_state_dict raises "doesn't match the size of optimizer's group", or the state is given to
    other parameters from there on.
    Harmless when: the optimizer steps a model whose weights are saved elsewhere.
    Repair: save the whole model; use the model class of the run that wrote the file.
    Seen: "loaded state dict contains a parameter group that doesn't match" in a dozen repositories (ray#28323).
    """
    checkpoint = context.facts.checkpoint
    if not checkpoint.models:
        raise Skip("no model in the file")
    taken = [each for each in checkpoint.models if each.role == "model"] or checkpoint.models
    supply = Counter(entry.shape for model in taken for entry in model.entries)
    demand = Counter(each.state.shape for each in context.facts.subjects if each.state.shape is not None)
    for number, optimizer in context.optimizers:
        subjects = [each for each in context.subjects if each.optimizer == number and each.state.shape is not None]
        lost = [each for each in subjects if each.named.name is None and _wanting(each.state.shape, demand, supply)]
        if not lost:
            continue
        if len(lost) > FOREIGN * len(subjects):
            told = f"{len(lost):,} of {len(subjects):,} states fit no weight: they belong to another model"
            alone = len(checkpoint.optimizers) == 1
            severity = Severity.ERROR if alone else Severity.WARNING
            yield Complaint(told, join(optimizer.route, "state"), None, ((number,),), severity)
        else:
            told = "no weight of shape {} is left for it in the model"
            yield from context.each([(each, None, told.format(list(each.state.shape or ()))) for each in lost])


def _wanting(shape: tuple[int, ...] | None, demand: Counter[tuple[int, ...]], supply: Counter[tuple[int, ...]]) -> bool:
    return shape is not None and demand[shape] > supply[shape]


@rule("OI216", Severity.NOTE, title="tensors of the model in no group", requires=("OI203", "OI206", "OI214", "OI215"))
def untrained(context: Context) -> Iterable[Complaint]:
    """Tensors of the model that look like parameters, but are in no group of the optimizer.

    Why it matters: they are not trained. A head that was added after the optimizer was made stays as it is for ever.
    Harmless when: they are frozen, or buffers that a name does not tell.
    Repair: optimizer.add_param_group({"params": [...]}), or nothing.
    Seen: HVPNeT#5, SiamCAR#18, mmf#104; embeddings that were resized (transformers PR#3532).
    """
    checkpoint = context.facts.checkpoint
    if not checkpoint.optimizers or not checkpoint.models:
        raise Skip("no model and optimizer side by side")
    left = [
        (number, entry)
        for number, entry, kind in unoptimized(checkpoint, context.facts.namings)
        if kind == "parameter?"
    ]
    if left and context.optimizers:
        names = ", ".join(entry.name for _, entry in left[:3]) + (", …" if len(left) > 3 else "")
        number, entry = left[0]
        told = f"{len(left):,} in no group (frozen, or forgotten): {names}"
        yield Complaint(told, join(checkpoint.models[number].route, entry.key), entry.name, (("tensor", entry.name),))


RULES: tuple[Rule, ...] = (order, names_partial, names_wrong, names_order, shapes, weights_missing, untrained)
