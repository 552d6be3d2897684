"""OI210 to OI212, OI214 and OI215: do the optimizer's indices, their names and the model's tensors belong together?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

from optinspect.checkpoint import ModelState, OptimizerState
from optinspect.checks.base import Complaint, Context, Rule, Skip, Spot, rule
from optinspect.layouts.base import join
from optinspect.report import Severity
from optinspect.subjects import Subject

FOREIGN = 0.5
"""Where more than half of an optimizer's shapes do not fit, it belongs to another model."""


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


@rule("OI211", Severity.WARNING, title="names are recorded for a part only", requires=("OI203", "OI206", "OI210"))
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
        clashes = [each for each in naming.contradictions if each.source == "recorded"]
        clashes = [each for each in clashes if not (short and each.message.startswith("param_names"))]
        if not clashes or not context.sound((number,)):
            continue
        subjects = {each.state.index: each for each in context.facts.of_optimizer[number]}
        yield from context.each([(subjects[each.index], None, each.message) for each in clashes])


@rule(
    "OI214",
    Severity.ERROR,
    title="state and weight differ in shape",
    requires=("OI103", "OI203", "OI204", "OI206", "OI210", "OI212", "OI220", "OI703"),
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


@rule(
    "OI215",
    Severity.ERROR,
    title="state without a weight",
    requires=("OI203", "OI206", "OI210", "OI212", "OI214", "OI220", "OI703"),
)
def weights_missing(context: Context) -> Iterable[Complaint]:
    """The optimizer has more parameters of a shape than the model has tensors, or none of its shapes.

    Why a resume breaks: load_state_dict raises "doesn't match the size of optimizer's group", or the state is given to
    other parameters from there on.
    Harmless when: the optimizer steps a model whose weights are saved elsewhere. A tensor of that shape that lies
    outside of the model may be the weight (a criterion's, a temperature): then it is a note.
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
        if context.facts.namings[number].contradictions:
            continue  # OI212 has said that the names are wrong; nothing is known of the others then
        wanting = [each for each in subjects if _wanting(each.state.shape, demand, supply)]
        lost = [each for each in wanting if each.named.name is None]
        told_of = [each for each in wanting if each.named.name is not None and each.named.entry is None]
        lost += told_of if len(told_of) <= FOREIGN * len(subjects) else []  # else the model is saved elsewhere
        if not lost:
            continue
        if len(lost) > FOREIGN * len(subjects):
            told = f"{len(lost):,} of {len(subjects):,} states fit no weight: they belong to another model"
            alone = len(checkpoint.optimizers) == 1
            severity = Severity.ERROR if alone else Severity.WARNING
            yield Complaint(told, join(optimizer.route, "state"), None, ((number,),), severity)
        else:
            held = _outside(context, lost)
            gone = [each for each in lost if each.key not in held]
            yield from context.each([(each, None, _unmatched(each.state.shape or (), taken, demand)) for each in gone])
            for each in (one for one in lost if one.key in held):
                text = f"no weight of shape {list(each.state.shape or ())} is left for it in the model"
                yield context.about(each, f"{text}; {held[each.key]} may be it", severity=Severity.NOTE)


def _outside(context: Context, lost: Sequence[Subject]) -> dict[Spot, str]:
    """Those that a tensor outside of the models may be, one tensor each, with its route."""
    left = list(context.facts.checkpoint.outside)
    held: dict[Spot, str] = {}
    for each in lost:
        found = next(((route, shape) for route, shape in left if shape == each.state.shape), None)
        if found is not None:
            left.remove(found)
            held[each.key] = found[0]
    return held


def _unmatched(shape: tuple[int, ...], models: Sequence[ModelState], demand: Counter[tuple[int, ...]]) -> str:
    """What is said of a state without a weight; with the only weight left of as many elements, if there is one."""
    told = f"no weight of shape {list(shape)} is left for it in the model"
    entries = [entry for model in models for entry in model.entries if prod(entry.shape) == prod(shape)]
    spare = [entry for entry in entries if not demand[entry.shape]]
    return f"{told}; {spare[0].name} {list(spare[0].shape)} has as many elements" if len(spare) == 1 else told


def _wanting(shape: tuple[int, ...] | None, demand: Counter[tuple[int, ...]], supply: Counter[tuple[int, ...]]) -> bool:
    return shape is not None and demand[shape] > supply[shape]


ORDER: tuple[Rule, ...] = (order,)
RECORDED: tuple[Rule, ...] = (names_partial, names_wrong)
RULES: tuple[Rule, ...] = (shapes, weights_missing)
