"""OI907 to OI909: whether the file has the state that the optimizer needs, for every parameter and for no other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optinspect.live.case import Case, Pair
from optinspect.live.misfit import Misfit, Reaction, joined, listed
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.live.states import Complaint, tell
from optinspect.optimizers import Optimizer
from optinspect.report import Severity
from optinspect.tensors import CompositeRef, TensorRef

TORCH = "torch.optim"
ASKED = (("RMSprop", "centered", "grad_avg"), ("RMSprop", "momentum", "momentum_buffer"))
"""Class of torch's, a setting, the slot that it asks for once the parameter has state. SGD begins without a buffer."""


@live_rule("OI907", Severity.ERROR, title="a slot is missing that the optimizer needs")
def slots(told: Told, case: Case) -> Iterator[Misfit]:
    """A parameter's state lacks a slot that this optimizer always keeps, or one that a setting asks for (amsgrad, and
    centered and momentum of RMSprop); or it holds something else there than a tensor.

    Why a resume breaks: load_state_dict takes what is there; the first step raises KeyError: 'exp_avg_sq'.
    Harmless when: never. (A slot that is None counts as missing.)
    Repair: take another save; an amsgrad that the run did not have is dropped with optinspect.load(…, amsgrad=False).
    Seen: files that were thinned out to save space; amsgrad switched on in the script of a resumed run.
    """
    known = case.description
    if known is None:
        return
    found: list[Complaint] = []
    for pair in case.pairs:
        if pair.state.present == "missing" or not pair.state.slots:
            continue
        needed = _needed(known, case.settings(pair.state.group), pair)
        for slot in (*needed, *(pair.state.slots.keys() & known.slots.keys() - needed.keys())):
            what = _instead(known, pair, slot)
            if what is not None and (slot in needed or pair.state.slots[slot] is not None):
                why = f" and {needed[slot]} needs it" if needed.get(slot) else ""
                found.append((pair, slot, f"{slot} is {what} in the file{why}"))
                break
    kinds = {message.partition(" in the file")[0].rpartition(" ")[2] for *_, message in found}
    key = "AssertionError" if known.factors is not None else f"KeyError: '{found[0][1]}'" if found else ""
    raised = key if kinds == {"missing"} else "an error at what stands there"
    reaction = Reaction("step" if kinds <= {"missing", "None"} else "either", raised)
    yield from tell(told, case, found, reaction, lambda pair, _: (sorted(pair.state.slots), sorted(known.always)))


def _needed(known: Optimizer, settings: Mapping[str, Any], pair: Pair) -> dict[str, str]:
    """Slots that a parameter with state has → the setting that asks for it, or ""."""
    asked = {
        slot: key for name, key, slot in ASKED if (known.name, known.source) == (name, TORCH) and settings.get(key)
    }
    if known.max_slot is not None and settings.get("amsgrad") is True:
        asked[known.max_slot] = "amsgrad"
    always = sorted(known.always)
    if known.factors is not None and known.source == TORCH:
        always += known.factors if pair.member.tensor.dim() > 1 else ("variance",)
    return dict.fromkeys(always, "") | {slot: f"{key}={settings[key]}" for slot, key in asked.items()}


def _instead(known: Optimizer, pair: Pair, slot: str) -> str | None:
    """What stands where `slot` should; None where it is right.

    Also as a part of it ("Q.0"), or as a part of a longer name where the optimizer names its slots so. Only torch's own
    classes are known well enough to say that each is a tensor, or a number.
    """
    held, value = pair.state.slots, pair.state.slots.get(slot)
    parts = any(name.startswith(f"{slot}.") for name in held)
    shaped, torchs = known.kind(slot) == "parameter", known.source == TORCH
    if value is None:
        if parts or (known.patterns and any(slot in name for name in held)):
            return "a list or dict" if torchs and shaped else None
        return "None" if slot in held else "missing"
    wanted = TensorRef | CompositeRef if shaped else TensorRef | CompositeRef | int | float
    right = isinstance(value, wanted) or not torchs or not (shaped or slot == "step")
    return None if right else f"of type {type(value).__name__}"


@live_rule("OI908", Severity.ERROR, title="no state for a parameter that is trained")
def absent(told: Told, case: Case) -> Iterator[Misfit]:
    """The file has no state for a parameter that takes gradients, while others have theirs.

    A whole module without state is a note: it may be one that the run had not used yet. So is a file without any state
    whose counters stand at 0. A parameter that is
    frozen here needs none.
    Why a resume breaks: the parameter begins with zero moments and step 0 while the others go on: its first updates
    are as large as those of a new run.
    Harmless when: it had no gradient in the run so far.
    Repair: take another save; keys of `state` must be the numbers that `params` lists, as numbers.
    Seen: state_dicts that went through JSON (text keys); files edited to drop a head; lost shards.
    """
    trained = [pair for pair in case.pairs if pair.member.tensor.requires_grad and _keeps(case, pair)]
    bare = [pair for pair in trained if pair.state.present == "missing"]
    if not bare:
        return
    silent = Reaction("silent", "it begins with zero moments")
    if len(bare) == len(trained):
        yield from _none(told, case, bare)
        return
    modules = {_module(pair) for pair in case.pairs if pair.state.present != "missing"}
    lone = [(pair, None, "has no state in the file") for pair in bare if _module(pair) in modules]
    yield from tell(told, case, lone, silent, lambda *_: (None, None))
    rest = [pair for pair in bare if _module(pair) not in modules]
    if rest:
        names = listed([pair.member.label for pair in rest])
        verb = "has" if len(rest) == 1 else "have"
        yield told(
            f"{names} {verb} no state in the file: right where the run never gave a gradient",
            silent,
            *(("index", pair.member.index) for pair in rest),
            route=case.state_route(rest[0].state),
            parameter=rest[0].member.name,
            live=len(rest),
            severity=Severity.NOTE,
        )


def _keeps(case: Case, pair: Pair) -> bool:
    """Whether a step leaves state; SGD's does with momentum alone, and LBFGS has all of it at its first parameter."""
    known = case.description
    held = case.file.groups[pair.state.group].hyperparameters
    return known is None or bool(known.always) or bool(held.get("momentum"))


def _none(told: Told, case: Case, bare: Sequence[Pair]) -> Iterator[Misfit]:
    """No state at all: a file saved before the first step, or one whose states nobody lists."""
    begun = any(count > 0 for count in case.checkpoint.counters.values())
    lost = bool(case.file.orphans)
    message = "the file has no state for any parameter" + (
        f"; its {len(case.file.orphans):,} states are under keys that no group lists" if lost else ""
    )
    without = any(each.message.startswith("an optimizer without state") for each in case.checkpoint.problems)
    silent = Reaction("silent", "every parameter begins with zero moments")
    yield told(
        message,
        Reaction("load", "KeyError: 'state'") if without else silent,
        (),
        route=case.state_route(bare[0].state).rpartition("[")[0] or None,
        file=0,
        live=len(bare),
        severity=Severity.ERROR if begun or lost or without else Severity.NOTE,
    )


def _module(pair: Pair) -> str:
    """The module that a parameter is of; without a name each is alone."""
    name = pair.member.name
    return name.rpartition(".")[0] if name is not None else f"\0{pair.member.index}"


@live_rule("OI909", Severity.ERROR, title="state of no parameter", repair="find out what was left out of the groups")
def orphans(told: Told, case: Case) -> Iterator[Misfit]:
    """The file has states under keys that none of its groups lists.

    Why a resume breaks: load_state_dict puts them into the optimizer as they are; no parameter has them, and every
    later save carries them on. The parameter that they belonged to begins anew.
    Harmless when: they are remains of parameters that were removed on purpose.
    Repair: find out which parameters were left out of the groups when the file was written or edited.
    Seen: files merged by hand.
    """
    if case.file.orphans:
        keys, many = joined([str(key) for key in case.file.orphans]), len(case.file.orphans) > 1
        yield told(
            f"state {keys} belongs to no parameter" if not many else f"states {keys} belong to no parameter",
            Reaction("silent", "they stay in the optimizer's state"),
            ("orphans",),
            route=f"{case.file.route}.state".lstrip("."),
            file=len(case.file.orphans),
            live=0,
        )


RULES: tuple[LiveRule, ...] = (slots, absent, orphans)
