"""OI001 to OI008: is the checkpoint what a policy says it must be? Without a policy they are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from optinspect.checkpoint import Checkpoint
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.expected import UNSAID, Expected
from optinspect.checks.expected_settings import about, learning_rate, weight_decay
from optinspect.checks.values import BYTES, Found
from optinspect.layouts.base import join
from optinspect.report import Severity
from optinspect.routes import same_route
from optinspect.tensors import AnyTensor, TensorRef


@rule("OI001", Severity.ERROR, title="another optimizer than expected", requires=("OI101", "OI201"))
def family(context: Context) -> Iterable[Complaint]:
    """The optimizer's state is not of a class that the policy allows, or a route that it names holds no optimizer.

    Why a resume breaks: the state of another class lacks slots that the step reads, or flags such as
    decoupled_weight_decay arrive with it and turn one rule into the other without a word.
    Harmless when: the run changed its optimizer on purpose; then change `expect.family`.
    Repair: take the checkpoint of the right run. Where a file does not tell Adam from AdamW, either name passes.
    Seen: AdamW's flag in a file makes torch's Adam decouple its decay (measured, torch 2.13); DALLE2#115.
    """
    held = ", ".join(repr(each.route) for each in context.facts.checkpoint.optimizers) or "none"
    routed = [each for each in context.facts.terms.expected if each.optimizer is not None]
    for each in routed:
        if not any(same_route(each.optimizer or "", one.route) for one in context.facts.checkpoint.optimizers):
            yield Complaint(f"no optimizer at {each.optimizer!r} (found: {held})", spots=(("route", each.optimizer),))
    for each, number, optimizer in about(context, lambda one: bool(one.families or one.optimizer)):
        if each.families and not set(each.families) & set(optimizer.families):
            found = " or ".join(optimizer.families) or "none that is known"
            told = f"the class is {found} ({' or '.join(each.families)} expected)"
            yield Complaint(told, optimizer.route, spots=((number, "family"),))


@rule("OI002", Severity.ERROR, title="another number of groups than expected", requires=("OI201", "OI206"))
def groups(context: Context) -> Iterable[Complaint]:
    """The optimizer has more or fewer parameter groups than the policy says.

    Why a resume breaks: load_state_dict raises "loaded state dict has a different number of parameter groups".
    Harmless when: groups were added on purpose (a layer unfrozen); then change `expect.groups`.
    Repair: build the optimizer with as many groups as the file has, or take the checkpoint of the right run.
    Seen: groups added while fine-tuning (dsve-loc#13), groups cut differently by another version (transformers
    PR#35927).
    """
    for each, number, optimizer in about(context, lambda one: one.groups is not None):
        if each.groups is not None and len(optimizer.groups) != each.groups:
            held = len(optimizer.groups)
            told = f"{held:,} group{'' if held == 1 else 's'} ({each.groups:,} expected)"
            yield Complaint(told, join(optimizer.route, "param_groups"), spots=((number, "groups"),))


@rule(
    "OI005", Severity.ERROR, title="fewer steps than expected", requires=("OI201", "OI207", "OI401", "OI402", "OI403")
)
def steps(context: Context) -> Iterable[Complaint]:
    """Most parameters of the optimizer have taken fewer steps than the policy asks for.

    Why it matters: an old save, or one of a run that started again, was put in the place of the latest.
    Harmless when: the run is younger than the policy; then change `expect.min_step`.
    Repair: take the later save.
    Seen: KempnerForge#114 (a cold optimizer beside trained weights); jobs that restart at step 0 and overwrite.
    """
    counted = 0
    for each, number, optimizer in about(context, lambda one: one.min_step is not None):
        step = context.facts.steps[number]
        if step is None or each.min_step is None:
            continue
        counted += 1
        if step < each.min_step:
            told = f"step {step:g} (at least {each.min_step:g} expected)"
            yield Complaint(told, join(optimizer.route, "state"), spots=((number, "step"),))
    if not counted:
        raise Skip("the optimizer keeps no step count")


def dtype_name(tensor: AnyTensor) -> str:
    """A tensor made of tensors goes by the dtype that it stands for, else by its kind ("OptimState8bit")."""
    if isinstance(tensor, TensorRef):
        return tensor.dtype.name
    return tensor.dtype.name if tensor.dtype is not None else tensor.kind


@rule("OI006", Severity.ERROR, title="another dtype of the moments than expected", requires=("OI201", *BYTES, "OI207"))
def moments(context: Context) -> Iterable[Complaint]:
    """A tensor of the optimizer's state has a dtype that the policy does not allow. Step counts are not looked at.

    Why a resume breaks: moments that were cast lost digits (squares become 0 in float16), and the file does not say so.
    Harmless when: the precision was changed on purpose; then change `expect.moments`.
    Repair: take the save before the cast; save the optimizer's own state_dict, not a copy cast with the model.
    Seen: fairscale#50, speculators#899, torchtitan#4615 (the other way round, at twice the memory).
    """
    judged = list(about(context, lambda one: bool(one.moments)))
    for each, number, _ in judged:
        found: Found = []
        for subject in context.subjects:
            for slot, tensor in subject.state.tensors if subject.optimizer == number else ():
                allowed = next((names for glob, names in each.moments if fnmatchcase(slot, glob)), None)
                if allowed is not None and dtype_name(tensor) not in allowed:
                    found.append((subject, slot, f"{slot} is {dtype_name(tensor)} ({' or '.join(allowed)} expected)"))
        yield from context.each(found)
    for each in dict.fromkeys(one for one, _, _ in judged):
        yield from _idle_slots(context, each, [number for one, number, _ in judged if one is each])


def _idle_slots(context: Context, each: Expected, numbers: Sequence[int]) -> Iterable[Complaint]:
    """Globs that no slot of these optimizers is called by: misspelt, for nothing is judged by them."""
    subjects = [subject for subject in context.subjects if subject.optimizer in numbers]
    held = {slot for subject in subjects for slot, _ in subject.state.tensors}
    idle = [glob for glob, _ in each.moments if not any(fnmatchcase(slot, glob) for slot in held)]
    if held and idle:
        told = f"no slot of the state is called {idle[0]!r} (there are {', '.join(map(repr, sorted(held)[:4]))})"
        route = context.facts.checkpoint.optimizers[numbers[0]].route
        yield Complaint(told, route, None, ((numbers[0], "glob", "moments"),), Severity.WARNING)


KEPT: tuple[tuple[str, Callable[[Checkpoint], bool]], ...] = (
    ("scheduler", lambda checkpoint: bool(checkpoint.schedulers)),
    ("scaler", lambda checkpoint: bool(checkpoint.scalers)),
    ("rng", lambda checkpoint: bool(checkpoint.rng)),
    ("ema", lambda checkpoint: bool(checkpoint.averaged)),
    ("counters", lambda checkpoint: bool(checkpoint.counters)),
)
"""What may lie beside an optimizer, and whether it does."""


@rule("OI007", Severity.ERROR, title="an expected companion is missing", requires=("OI101", "OI201"))
def companions(context: Context) -> Iterable[Complaint]:
    """The scheduler, GradScaler, random state, averaged weights or counter that the policy asks for is not in the file.

    Why a resume breaks: it starts again from its first state: a schedule with a new warm-up, a loss scale of 65536,
    other random numbers, an average of nothing.
    Harmless when: it is saved in another file; then take it out of `expect.companions`.
    Repair: save its state_dict beside the optimizer's.
    Seen: transformers#34053 (scaler), Lightning#12812 (scheduler), yolov5#310 (average), speculators#1026 (rng).
    """
    wanted = [kind for each in context.facts.terms.expected for kind in each.companions]
    if not wanted:
        raise Skip(UNSAID)
    missing = [kind for kind, there in KEPT if kind in wanted and not there(context.facts.checkpoint)]
    if missing:
        yield Complaint(f"no {' and no '.join(missing)} in the file", spots=(("companions",),))


@rule("OI008", Severity.ERROR, title="the policy's names do not fit", requires=("OI201", "OI203", "OI206", "OI210"))
def names(context: Context) -> Iterable[Complaint]:
    """The list of names in the policy has another length than the optimizer has parameters, or a name in it that the
    model does not have, has in another shape, or that the file itself gives to another parameter.

    Why it matters: a wrong list puts every finding at the wrong parameter. It is not used at all.
    Harmless when: the list is of another version of the model; then write it anew.
    Repair: print the names in the order in which the training script gives the parameters to the optimizer.
    Seen: LESS#4 (names in module order, groups in another).
    """
    if not context.facts.terms.told:
        raise Skip(UNSAID)
    facts = context.facts
    routes = [each.optimizer for each in facts.terms.told]
    for route in routes:
        fitting = [one for one in facts.checkpoint.optimizers if route is None or same_route(route, one.route)]
        if len(fitting) != 1:
            what = "for one optimizer" if route is None else f"for {route!r}"
            held = ", ".join(repr(one.route) for one in facts.checkpoint.optimizers)
            yield Complaint(f"names are told {what} (found: {held})", spots=(("told", route),))
    for number, naming in enumerate(facts.namings):
        clashes = [each for each in naming.contradictions if each.source == "told"]
        by_index = {each.state.index: each for each in facts.of_optimizer[number]}
        whole = [each for each in clashes if not each.recorded]
        for each in whole:
            yield Complaint(each.message, facts.checkpoint.optimizers[number].route, spots=((number, "told"),))
        found: Found = [(by_index[each.index], None, each.message) for each in clashes if each.recorded]
        yield from context.each(found)


RULES: tuple[Rule, ...] = (family, groups, learning_rate, weight_decay, steps, moments, companions, names)
