"""OI914 to OI916: the model in memory against the one in the file: names, shapes, dtypes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from optinspect.checkpoint import ModelEntry
from optinspect.layouts.base import last
from optinspect.layouts.names import without_prefix
from optinspect.live.case import Case
from optinspect.live.misfit import SHOWN, Misfit, Reaction, joined, listed, so_with
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.naming.recorded import plain
from optinspect.report import Severity

if TYPE_CHECKING:
    import torch

EXTRA = ("_extra_state",)
NO_MODEL = "the file has no model"


def live_tensors(case: Case) -> dict[str, torch.Tensor]:
    """What load_state_dict of the model asks for, by name without wrappers; without a Module its parameters."""
    module = case.members.module
    if module is None:
        members = (*case.members.parameters, *case.members.unstepped)
        return {name: each.tensor for each in members if each.evidence == "live" for name in each.names}
    held = {key: value for key, value in module.state_dict(keep_vars=True).items() if not key.endswith(EXTRA)}
    _, names = without_prefix(list(held))
    return dict(zip(names, held.values(), strict=True))


def file_entries(case: Case) -> Mapping[str, ModelEntry]:
    """The file's tensors under every name that they have, without what wrappers put into it."""
    found: dict[str, ModelEntry] = {}
    if case.members.module is None:  # names and parameters may be those of several models, each under its key
        for each in case.checkpoint.models:
            if each is not case.model and each.role == "model":
                prefix = f"{last(each.route)}." if each.route else ""
                found.update((prefix + name, entry) for name, entry in each.by_name.items())
    if case.model is not None:
        found.update((plain(name), entry) for name, entry in case.model.by_name.items())
        found.update(case.model.by_name)
    return found


def entry_of(name: str, entries: Mapping[str, ModelEntry]) -> ModelEntry | None:
    return entries.get(name) or entries.get(plain(name))


def _severity(case: Case) -> Severity:
    """Only what is to be loaded can fail to load."""
    return Severity.ERROR if case.whole else Severity.WARNING


@live_rule("OI914", Severity.ERROR, title="names of the model that only one side has")
def names(told: Told, case: Case) -> Iterator[Misfit]:
    """The model in memory has tensors that the file's has not, or the other way round.

    A warning where only the optimizer is loaded.
    Why a resume breaks: model.load_state_dict raises "Missing key(s)" or "Unexpected key(s)"; with strict=False the
    tensors keep what the constructor gave them, and train on from there.
    Harmless when: a head was exchanged on purpose.
    Repair: use the model class of the run; rename keys before loading.
    Seen: "Error(s) in loading state_dict": the most frequent error of all; prefixes of DDP and torch.compile are
    taken off here.
    """
    if case.model is None:
        if case.whole:
            routes = [each.route for each in case.checkpoint.models if each.role == "model" and each.route]
            message = f"which model of the file this is cannot be told ({joined(routes)})" if routes else NO_MODEL
            repair = f"model_key= one of {', '.join(routes[:4])}" if routes else "optinspect.load(…, load_model=False)"
            yield told(message, Reaction("none"), ("model",), repair=repair)
        return
    live, held = live_tensors(case), file_entries(case)
    if not live:
        return
    missing = [name for name in live if entry_of(name, held) is None]
    known = {plain(name) for name in live}
    whole = case.members.module is not None  # parameters alone say nothing of the file's buffers
    extra = [
        entry.name
        for entry in case.model.entries
        if not known & {plain(name) for name in (entry.name, *entry.aliases)} and (whole or not entry.is_buffer)
    ]
    if missing or extra:
        yield _apart(told, case, missing, extra)


def _apart(told: Told, case: Case, missing: list[str], extra: list[str]) -> Misfit:
    """One misfit for both directions: a renamed tensor is missing under one name and left over under another."""
    parts = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} not {side}"
        for names, side in ((missing, "in the file"), (extra, "in the model"))
        if names
    ]
    keys = "Missing" if missing else "Unexpected"
    raised = Reaction("load", f"RuntimeError: Error(s) in loading state_dict: {keys} key(s)")
    return told(
        ", ".join(parts),
        raised if case.whole else Reaction("none"),
        *(("model", name) for name in (*missing, *extra)),
        route=case.model.route if case.model else None,
        parameter=(missing or extra)[0],
        file=extra[:20],
        live=missing[:20],
        severity=_severity(case),
    )


@live_rule("OI915", Severity.ERROR, title="weights of another shape than the model's")
def shapes(told: Told, case: Case) -> Iterator[Misfit]:
    """A tensor of the model has another shape in the file. A warning where only the optimizer is loaded.

    Why a resume breaks: model.load_state_dict raises "size mismatch", with strict=False too.
    Harmless when: never.
    Repair: build the model with the configuration of the run (vocabulary, classes, width).
    Seen: "size mismatch for" in every framework; embeddings resized after saving.
    """
    held = file_entries(case)
    found: list[tuple[str, ModelEntry, list[int]]] = []
    for name, tensor in live_tensors(case).items():
        entry = entry_of(name, held)
        if entry is not None and entry.shape != tuple(tensor.shape):
            found.append((name, entry, list(tensor.shape)))
    raised = Reaction("load", "RuntimeError: Error(s) in loading state_dict: size mismatch")
    for alike in [found] if len(found) > SHOWN else [[each] for each in found]:
        name, entry, live = alike[0]
        misfit = told(
            f"`{name}` has shape {list(entry.shape)} in the file, {live} in the model{so_with([e[0] for e in alike])}",
            raised if case.whole else Reaction("none"),
            *(("model", each[0]) for each in alike),
            route=_route(case, entry),
            parameter=name,
            file=list(entry.shape),
            live=live,
            severity=_severity(case),
        )
        yield replace(misfit, also=tuple((_route(case, other), also) for also, other, _ in alike[1:]))


def _route(case: Case, entry: ModelEntry) -> str:
    return f"{case.model.route if case.model else ''}.{entry.key}".lstrip(".")


@live_rule("OI916", Severity.WARNING, title="weights of another dtype than the model's")
def dtypes(told: Told, case: Case) -> Iterator[Misfit]:
    """Tensors of the model have another dtype in the file: loading casts them.

    Why a resume breaks: float32 weights lose digits in a bfloat16 model; the run goes on from rounded weights.
    Harmless when: the precision was changed on purpose.
    Repair: make the model in the dtype of the run.
    Seen: model.half() or .to(bfloat16) before load_state_dict.
    """
    held = file_entries(case)
    found = []
    for name, tensor in live_tensors(case).items():
        entry = entry_of(name, held)
        dtype = entry.tensor.dtype if entry is not None else None
        live = str(tensor.dtype).removeprefix("torch.")
        if dtype is not None and dtype.name != live:
            found.append((name, dtype.name, live))
    if found:
        name, file, live = found[0]
        yield told(
            f"`{name}` is {file} in the file, {live} in the model{so_with([each[0] for each in found])}",
            Reaction("silent", "it casts"),
            *(("model", each[0]) for each in found),
            route=case.model.route if case.model else None,
            parameter=name,
            file=file,
            live=live,
        )


RULES: tuple[LiveRule, ...] = (names, shapes, dtypes)
