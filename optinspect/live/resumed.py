"""OI920 and OI921: what only trying shows. `load` and the step of `check --model` report them; no comparison does."""

from __future__ import annotations

from optinspect.live.case import Case
from optinspect.live.misfit import Misfit, Reaction, Spot
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.report import Severity


@live_rule("OI920", Severity.ERROR, title="the resume raises an error")
def raises(told: Told, case: Case) -> tuple[Misfit, ...]:
    """Everything fits, and load_state_dict or the first step raises an error all the same.

    Why a resume breaks: it does not begin; the message is torch's, or that of the optimizer's own code.
    Harmless when: never.
    Repair: look at the place that the message names; model and optimizer are as they were before.
    Seen: optimizers with a load_state_dict of their own; hooks on loading that expect other keys.
    """
    del told, case
    return ()


@live_rule("OI921", Severity.ERROR, title="the first step is not the one that the file leads to")
def differs(told: Told, case: Case) -> tuple[Misfit, ...]:
    """After loading, one step on drawn gradients moves a parameter, or its state, otherwise than the optimizer's rule
    does from the state in the file. The gradients are drawn with a seed; both sides get the same.

    Why a resume breaks: what stepped is not what was saved: loading changed the state, or the optimizer's class takes
    another step than its name says.
    Harmless when: the optimizer is a variant of its own under a known name.
    Repair: compare the state after loading with the file: optinspect diff on a save made right after loading.
    Seen: states cast on loading; flags that came with the file (Adam with decoupled_weight_decay=True, torch 2.7 on).
    """
    del told, case
    return ()


RULES: tuple[LiveRule, ...] = (raises, differs)


def failed(message: str, error: str, stage: str = "load", parameter: str | None = None) -> Misfit:
    """What OI920 says where it was tried."""
    return Told(raises)(message, Reaction("load" if stage == "load" else "step", error), parameter=parameter)


def different(message: str, parameter: str | None, route: str | None, spots: tuple[Spot, ...]) -> Misfit:
    """What OI921 says of one parameter, or of all."""
    return Told(differs)(message, Reaction("none"), *spots, parameter=parameter, route=route)
