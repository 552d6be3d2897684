"""OI917 to OI919: ties between weights, frozen parameters, and whether optimizer and model belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from optinspect.live.case import Case
from optinspect.live.members import Members
from optinspect.live.misfit import SHOWN, Misfit, Reaction, joined, listed, so_with
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.live.ties import ties
from optinspect.report import Severity


@live_rule("OI917", Severity.WARNING, title="weights tied on one side only")
def tied(told: Told, case: Case) -> Iterator[Misfit]:
    """Two names are one tensor in the file and two in memory, or the other way round.

    Why a resume breaks: a tied weight is one parameter with one state. Untied, the second has none and both move
    apart; tied, one of the two saved tensors is dropped.
    Harmless when: the weights were tied or untied on purpose. A format that cannot keep ties (safetensors) shows none:
    there nothing is complained of.
    Repair: call the model's tie_weights() before the optimizer is made.
    Seen: Automodel#2571, transformers#38870, torchtitan#3764.
    """
    route = case.model.route if case.model else None
    by_message: dict[str, list[list[str]]] = {}
    for names, message in ties(case):
        by_message.setdefault(message, []).append(names)
    for message, every in by_message.items():
        for alike in [every] if len(every) > SHOWN else [[each] for each in every]:
            also = so_with([names[0] for names in alike])
            misfit = told(
                f"{listed(alike[0])}: {message}{also}",
                Reaction("silent"),
                *(("tied", names[0]) for names in alike),
                route=route,
                parameter=alike[0][0],
            )
            yield replace(misfit, also=tuple((route, names[0]) for names in alike[1:]))


@live_rule("OI918", Severity.WARNING, title="state of a parameter that is frozen here")
def frozen(told: Told, case: Case) -> Iterator[Misfit]:
    """The file has state for a parameter that does not require a gradient in memory: it was trained in the run.

    Why a resume breaks: the parameter gets no gradient, so it stays as it is while its state waits.
    Harmless when: it was frozen on purpose since.
    Repair: set requires_grad before the optimizer is made.
    Seen: Lightning#21901, composer#1002, unsloth#3108.
    """
    held = [pair for pair in case.pairs if pair.state.present != "missing" and pair.state.step != 0]  # 0: Adagrad's own
    found = [pair for pair in held if not pair.member.tensor.requires_grad]
    if found:
        verbs = ("is", "has") if len(found) == 1 else ("are", "have")
        yield told(
            f"{listed([pair.member.label for pair in found])} {verbs[0]} frozen here, but {verbs[1]} state in the file",
            Reaction("silent"),
            *(("index", pair.member.index) for pair in found),
            route=case.state_route(found[0].state),
            parameter=found[0].member.name,
            file=len(found),
            live=0,
        )


@live_rule("OI919", Severity.WARNING, title="optimizer and model that do not belong together")
def strangers(told: Told, case: Case) -> Iterator[Misfit]:
    """The optimizer steps parameters that the model does not have, or a trainable parameter is in no group (a note).

    An error where the optimizer has not one of the model's parameters, and they are no copies in a wider dtype.

    Why a resume breaks: the optimizer was made before the parameters were replaced (to(device), pruning, resizing,
    wrapping): it steps tensors that the model does not use any more.
    Harmless when: one optimizer steps several models, or float32 copies of the weights.
    Repair: make the optimizer after the model is complete and on its device.
    Seen: pytorch#149205, fasterai#92, transformers PR#3532.
    """
    members = case.members
    alien = _of_another_model(members)
    if members.strangers:
        labels = [f"parameter {each.index} {list(each.tensor.shape)}" for each in members.strangers]
        yield told(
            f"the model does not have {joined(labels)} of the optimizer",
            Reaction("silent"),
            ("strangers",),
            live=len(labels),
            severity=Severity.ERROR if alien else None,
        )
    if alien:
        return  # then none of the model's is in a group
    loose = [each.label for each in members.unstepped if each.tensor.requires_grad]
    if loose:
        verb = "takes" if len(loose) == 1 else "take"
        yield told(
            f"{listed(loose)} {verb} gradients, but no group has them",
            Reaction("silent"),
            ("loose",),
            parameter=loose[0],
            live=loose[:20],
            severity=Severity.NOTE,
        )


def _of_another_model(members: Members) -> bool:
    """Whether no step of the optimizer moves the model: it has none of its parameters, nor float32 copies of them."""
    steps = {each.tensor.dtype for each in members.parameters}
    return (
        bool(members.strangers)
        and len(members.strangers) == len(members.parameters)
        and steps <= {each.tensor.dtype for each in members.unstepped}
    )


RULES: tuple[LiveRule, ...] = (tied, frozen, strangers)
