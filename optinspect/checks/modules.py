"""OI216 to OI218, OI319: the model's tensors: in no group, of no module, too few of them, or that no data leads to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from optinspect.checkpoint import ModelEntry, ModelState
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.values import BYTES, wild
from optinspect.layouts.base import join
from optinspect.naming import unoptimized
from optinspect.report import Severity
from optinspect.tensors import TensorRef

FEW = 0.1
"""Share of the names that may be strangers (where more are, names were changed after torch had written them), and of
the parameters that may be too many (where more are, the model was saved in part)."""
WRAPPERS = ("_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_orig_mod", "module")
"""What state_dict() takes out of the names of its tensors, but leaves in those of the modules."""
MEAN, VARIANCE = "running_mean", "running_var"


@rule("OI217", Severity.WARNING, title="a tensor that no module wrote", requires=("OI105",))
def stranger(context: Context) -> Iterable[Complaint]:
    """The model's state_dict has a tensor whose module is not among those that torch noted beside the tensors
    (`_metadata`), and that no optimizer steps: it was put there afterwards.

    Why it matters: load_state_dict raises "Unexpected key(s) in state_dict"; with strict=False it is dropped in
    silence, and what was saved in it is not restored.
    Harmless when: the script takes the entry out before it loads the rest.
    Repair: delete the entry, or save it under a key of its own beside the model.
    Seen: state_dicts that a script edited or merged; heads left over from another model.
    """
    models = [each for each in context.facts.checkpoint.models if each.modules]
    if not models:
        raise Skip("the file has no model whose modules torch noted")
    known = (each for each in context.facts.subjects if each.state.present != "missing")  # else it may be any
    stepped = {id(each.named.entry.tensor) for each in known if each.named.entry}
    for model in models:
        strangers = list(_strangers(model))
        if len(strangers) > max(1, FEW * len(model.entries)):
            continue
        for entry in strangers:
            if id(entry.tensor) not in stepped:
                told = f"no module '{entry.key.rpartition('.')[0]}' wrote it: it was added to the state_dict"
                yield Complaint(told, join(model.route, entry.key), entry.name, (("tensor", entry.name),))


def _strangers(model: ModelState) -> Iterator[ModelEntry]:
    bare = {_unwrapped(path) for path in model.modules}
    for entry in model.entries:
        module = entry.key.rpartition(".")[0]
        if module not in model.modules and _unwrapped(module) not in bare:
            yield entry


def _unwrapped(path: str) -> str:
    return ".".join(part for part in path.split(".") if part not in WRAPPERS)


@rule(
    "OI218",
    Severity.ERROR,
    title="more parameters than the model has",
    requires=("OI203", "OI206", "OI210", "OI215"),
)
def too_many(context: Context) -> Iterable[Complaint]:
    """The groups list a few parameters more than the model has tensors, and these have no state.

    Why a resume breaks: load_state_dict raises "doesn't match the size of optimizer's group".
    Harmless when: the model that is resumed has them, and they are saved elsewhere: outside of the model in the same
    file, then it is a note.
    Repair: take the numbers that have no weight out of `params`; they must count 0, 1, 2, … over all groups.
    Seen: parameters that were added to a group and never to the saved model (Lightning#6891, kohya#378).
    """
    checkpoint = context.facts.checkpoint
    models = [each for each in checkpoint.models if each.role == "model"]
    supply = sum(_trainable(entry) for model in models for entry in model.entries)
    if not models:
        raise Skip("no model in the file")
    for number, optimizer in context.optimizers:
        listed = len(optimizer.parameters)
        idle = [each for each in optimizer.parameters if each.present == "missing"]
        if 0 < listed - supply <= min(len(idle), max(2, FEW * supply)):
            group = next(each for each in optimizer.groups if each.number == idle[-1].group)
            told = f"{listed:,} parameters are listed for {supply:,} tensors; {idle[-1].key!r:.40} has no state"
            route, held = context.group_route(optimizer, group, "params"), checkpoint.outside[: listed - supply]
            if len(held) == listed - supply:
                told += f" ({', '.join(each for each, _ in held)} of the file may be it)"
                yield Complaint(told, route, None, (), Severity.NOTE)
            else:
                yield Complaint(told, route, spots=((number,),))


def _trainable(entry: ModelEntry) -> bool:
    floating = not isinstance(entry.tensor, TensorRef) or entry.tensor.dtype.is_floating
    return floating and not entry.is_buffer


@rule("OI319", Severity.ERROR, title="running statistics that no data gives", requires=BYTES)
def statistics(context: Context) -> Iterable[Complaint]:
    """running_var of a normalisation layer is negative, or a running mean or variance holds NaN or Inf.

    Why a resume breaks: these are averages over all batches so far: NaN stays in them for ever, √ of a negative
    variance is NaN, and every evaluation is NaN from here on, though the loss in training mode looks well.
    Harmless when: the layer is never used in evaluation mode.
    Repair: take the save before this one; or reset_running_stats() and let some batches pass.
    Seen: one batch that overflowed in half precision; averages of several models' buffers; damaged tensors.
    """
    facts = context.facts
    for place, (number, entry) in enumerate(facts.loose):
        name, model = entry.key.rpartition(".")[2], facts.checkpoint.models[number]
        measured = facts.measured.get((None, place))
        seen = measured.weight if measured is not None else None
        if name not in (MEAN, VARIANCE) or seen is None or not seen.count:
            continue
        wrong = f"{wild(seen)} of {seen.count:,} elements" if wild(seen) else None
        if wrong is None and name == VARIANCE and (seen.min or 0) < 0:
            wrong = f"negative elements, the lowest {seen.min:.3g}"
        if wrong is not None:
            severity = None if model.role == "model" else Severity.WARNING
            yield Complaint(wrong, join(model.route, entry.key), entry.name, (("tensor", entry.name),), severity)


@rule(
    "OI216",
    Severity.NOTE,
    title="tensors of the model in no group",
    requires=("OI203", "OI206", "OI214", "OI215", "OI217"),
)
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
    left = [(number, entry) for number, entry in left if ("tensor", entry.name) not in context.condemned]
    if left and context.optimizers:
        names = ", ".join(entry.name for _, entry in left[:3]) + (", …" if len(left) > 3 else "")
        number, entry = left[0]
        told = f"{len(left):,} in no group (frozen, or forgotten): {names}"
        yield Complaint(told, join(checkpoint.models[number].route, entry.key), entry.name, (("tensor", entry.name),))


RULES: tuple[Rule, ...] = (statistics, too_many, stranger, untrained)
