"""OI201 to OI206 and OI219: what a file must hold so that training can go on from it at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.layouts.base import join
from optinspect.layouts.recognition import MODEL_NAMES, OPTIMIZER_NAMES
from optinspect.report import Severity

BARE = ("module",)
"""Layouts that hold a model by design: that no optimizer lies beside it is no surprise."""


@rule("OI201", Severity.ERROR, title="no optimizer state in the file")
def optimizer_missing(context: Context) -> Iterable[Complaint]:
    """The file holds no optimizer's state_dict, or something else under its name.

    Why a resume breaks: the weights load, but Adam's moments and step counts start again from nothing; the first
    hundred updates are far too large or too small.
    Harmless when: the file was meant for inference, or another file holds the optimizer.
    Repair: save optimizer.state_dict() beside the model; give the file that has it.
    Seen: `last.pt` stripped after training (ultralytics#802), the scheduler saved under the optimizer's key.
    """
    checkpoint = context.facts.checkpoint
    _whole(context)
    if checkpoint.optimizers:
        return
    problem = next((each for each in checkpoint.problems if each.kind == "structure"), None)
    note = next((each for each in checkpoint.notes if "holds no optimizer" in each), None)
    if problem is not None and OPTIMIZER_NAMES.match(problem.route):
        yield Complaint(f"'{problem.route}': {problem.message}", problem.route)
    elif note is not None:
        yield Complaint(note, note.partition("'")[2].partition("'")[0])
    elif any(each.layout in BARE for each in checkpoint.inputs):
        yield Complaint("a whole pickled model, with no optimizer beside it", severity=Severity.NOTE)
    elif not checkpoint.models:
        yield Complaint("neither a model nor an optimizer is in the file")
    else:
        yield Complaint("model weights only: momentum and step counts would start again")


def _whole(context: Context) -> None:
    if any(problem.kind == "truncated" for problem in context.facts.checkpoint.problems):
        raise Skip("OI101 names the cause")


@rule("OI202", Severity.WARNING, title="no model weights in the file")
def model_missing(context: Context) -> Iterable[Complaint]:
    """A training checkpoint with optimizer, scheduler or random state, but without the weights that they belong to.

    Why a resume breaks: the optimizer continues on weights of another moment, or on fresh ones.
    Harmless when: the weights are saved in another file; then give it with --model-state.
    Repair: save model.state_dict() in the same file, at the same step.
    Seen: keys that were filtered before saving; adapters whose base is kept elsewhere.
    """
    checkpoint = context.facts.checkpoint
    _whole(context)
    if not checkpoint.optimizers:
        raise Skip("no optimizer in the file")
    companions = [*checkpoint.schedulers, *checkpoint.scalers, *checkpoint.rng]
    empty = next((key for key, value in checkpoint.other.items() if key in MODEL_NAMES and value in (None, {})), None)
    if not checkpoint.models and empty is not None:
        yield Complaint(f"'{empty}' is {'None' if checkpoint.other[empty] is None else 'empty'}", empty, spots=())
    elif not checkpoint.models and companions:
        routes = ", ".join(each.route for each in companions[:4])
        yield Complaint(f"an optimizer with {routes}, but no model's state_dict", spots=())
    elif checkpoint.models and all(each.role == "ema" for each in checkpoint.models):
        told = "an average of the weights, but not the weights that the optimizer steps"
        yield Complaint(told, checkpoint.models[0].route, None, (), Severity.NOTE)


@rule("OI203", Severity.ERROR, title="a parameter is listed twice")
def listed_twice(context: Context) -> Iterable[Complaint]:
    """The same index stands twice in `params`, within a group or in two of them.

    Why a resume breaks: torch pairs indices with parameters by position: the state of one parameter is given to two,
    and another's is lost.
    Harmless when: never; torch writes each index once.
    Repair: restore `params` from a save that was not edited: they count 0, 1, 2, … over all groups.
    Seen: merged or edited state_dicts; a parameter in two groups of old torch (pytorch#40967).
    """
    for number, optimizer in context.optimizers:
        counts = Counter(key for group in optimizer.groups for key in group.params)
        for key in [key for key, count in counts.items() if count > 1][:3]:
            where = [group for group in optimizer.groups if key in group.params]
            names = " and ".join(f"{each.number}" for each in where)
            again = f"{counts[key]} times in group" if len(where) == 1 else "in groups"
            yield Complaint(
                f"index {key!r:.40} is listed {again} {names}",
                context.group_route(optimizer, where[-1], "params"),
                spots=((number,),),
            )


UNSAID = ("fastai",)
"""Layouts whose files do not say which group has which parameters."""


@rule("OI206", Severity.ERROR, title="parameter groups are missing or empty")
def groups_missing(context: Context) -> Iterable[Complaint]:
    """The optimizer has no `param_groups`, an empty list of them, or a group that lost its parameters.

    Why a resume breaks: load_state_dict raises KeyError or "a different number of parameter groups".
    Harmless when: a group is empty because nothing fell into it (all tensors of one kind); then it is only noted.
    Repair: restore the groups: their `params` count over the parameters in the order they were given.
    Seen: FSDP flat parameters, which are all of one dimension, so that a group stays empty; edited files.
    """
    for number, optimizer in context.optimizers:
        route = join(optimizer.route, "param_groups")
        if not optimizer.groups:
            yield Complaint("there are no parameter groups", route, spots=((number,),))
        for group in optimizer.groups:
            if not group.params and optimizer.orphans:
                lost = len(optimizer.orphans)
                told = f"group {group.number} lists no parameters, while {lost:,} states belong to no group"
                yield Complaint(told, context.group_route(optimizer, group), spots=((number,),))
            elif not group.params and context.facts.checkpoint.inputs[optimizer.input].layout not in UNSAID:
                told = f"group {group.number} has no parameters"
                spots = ((number, "group", group.number),)
                yield Complaint(told, context.group_route(optimizer, group), None, spots, Severity.NOTE)


@rule("OI205", Severity.ERROR, title="state under text keys", repair="turn the keys of `state` back into integers")
def text_keys(context: Context) -> Iterable[Complaint]:
    """The keys of `state` are texts ("0", "1", …) where the groups list numbers.

    Why a resume breaks: load_state_dict finds no state for any parameter and says nothing: training starts with empty
    moments, and the texts are carried along in every later save.
    Harmless when: never.
    Repair: `sd["state"] = {int(k): v for k, v in sd["state"].items()}`.
    Seen: state_dicts that went through JSON or a key-value store (gaussian-splatting#897, Soup#962).
    """
    for number, optimizer in context.optimizers:
        texts = [key for key in optimizer.orphans if isinstance(key, str) and key.lstrip("-").isdigit()]
        listed = {str(key) for group in optimizer.groups for key in group.params}
        lost = [key for key in texts if key in listed]
        if lost:
            told = f"{len(lost):,} states have text keys, first {lost[0]!r}: the groups list numbers"
            yield Complaint(told, join(optimizer.route, "state"), spots=((number,),))


@rule("OI204", Severity.WARNING, title="state of no parameter", requires=("OI203", "OI205", "OI206"))
def orphans(context: Context) -> Iterable[Complaint]:
    """`state` has entries for indices that no group lists. An error where these lie between others: a group lost them,
    and every state after them would go to another parameter.

    Why it matters: torch keeps them and saves them again for ever; where the index is taken later, a new parameter
    starts with a stranger's moments.
    Harmless when: they are leftovers of a group that was removed on purpose.
    Repair: delete the keys of `state` that are in no group's `params`.
    Seen: parameters pruned or replaced while training (gaussian_splatting#32).
    """
    for number, optimizer in context.optimizers:
        if optimizer.orphans:
            first = optimizer.orphans[0]
            told = f"{len(optimizer.orphans):,} states belong to no group, first {first!r:.60}"
            route, listed = join(join(optimizer.route, "state"), first), [p.key for p in optimizer.parameters]
            if isinstance(first, int) and first < max((key for key in listed if isinstance(key, int)), default=0):
                told += ": it is missing between those that the groups list"
                yield Complaint(told, route, None, ((number,),), Severity.ERROR)
            else:
                yield Complaint(told, route, spots=((number, "orphans"),))


@rule("OI219", Severity.ERROR, title="a directory lacks a part")
def parts_missing(context: Context) -> Iterable[Complaint]:
    """A directory of transformers' Trainer has an optimizer.pt, but no scheduler.pt (an error), no trainer_state.json
    (an error) or no random state (a note).

    Why a resume breaks: Trainer loads optimizer.pt only if scheduler.pt is there too, and says nothing otherwise:
    training begins with empty moments (transformers 5.23). Without trainer_state.json it raises; without rng_state.pth
    the order of the data and dropout are others.
    Harmless when: another program resumes, and finds its schedule and its step elsewhere.
    Repair: copy the whole directory again; do not leave files out to save space.
    Seen: transformers#5220, NeMo-Speech#369; uploads and clean-up scripts with a list of files.
    """
    checkpoint = context.facts.checkpoint
    trainers = [each for each in checkpoint.inputs if each.layout == "trainer"]
    if not trainers or not checkpoint.optimizers:
        raise Skip("no directory of a Trainer with an optimizer")
    if not checkpoint.schedulers:
        yield Complaint("scheduler.pt is missing: Trainer will leave optimizer.pt aside", spots=(("scheduler",),))
    if not any(route.startswith("trainer_state") for route in (*checkpoint.counters, *checkpoint.other)):
        yield Complaint("trainer_state.json is missing: Trainer raises FileNotFoundError", spots=())
    if not checkpoint.rng:
        yield Complaint("rng_state.pth is missing: dropout and data order will differ", None, None, (), Severity.NOTE)


RULES: tuple[Rule, ...] = (
    optimizer_missing,
    model_missing,
    parts_missing,
    listed_twice,
    groups_missing,
    text_keys,
    orphans,
)
