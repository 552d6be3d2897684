"""OI901 to OI903: the kind of optimizer, the number of its groups, the number of parameters in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optinspect.live.case import Case
from optinspect.live.leftover import LeftOver, left_over
from optinspect.live.members import Member
from optinspect.live.misfit import Misfit, Reaction, joined, listed
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.live.ties import UNTIED_HERE, ties
from optinspect.optimizers.base import same_setting
from optinspect.optimizers.rules.choice import rule_for
from optinspect.report import Severity

MAX_DIVIDED = 4
"""Groups that a message lists with what they hold."""

COUNT = Reaction("load", "ValueError: loaded state dict has a different number of parameter groups")
SIZE = Reaction(
    "load", "ValueError: loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
)


@live_rule(
    "OI901",
    Severity.ERROR,
    title="another kind of optimizer",
    repair="make the optimizer that the file was written by, or start this one anew with the model's weights alone",
)
def family(told: Told, case: Case) -> Iterator[Misfit]:
    """The file was written by another optimizer than the one in memory.

    Why a resume breaks: load_state_dict compares numbers of groups and parameters, nothing else. The settings of the
    other optimizer replace those of this one; the first step raises KeyError, or takes one rule's moments for
    another's: between Adam and AdamW nothing is raised, and the weight decay moves from the gradient to the weight.
    Harmless when: both take the same step, as Adam and AdamW without weight decay do: that is not complained of.
    Repair: make the optimizer that the file was written by, or load the model's weights alone.
    Seen: runs whose configuration changed from adam to adamw; torch does not look at the class.
    """
    held = case.file.families
    if case.description is None or not held or case.family in held or _same_step(case):
        return
    needed = case.defaults.keys() | {"lr"}
    lost = any(needed - case.keys_after(group.number) for group in case.file.groups)
    slots = {slot for state in case.file.parameters for slot in state.slots}
    lost = lost or bool(slots and case.description.always - slots)
    reaction = Reaction("either", "KeyError") if lost else Reaction("silent", "one rule's state under another rule")
    yield told(
        f"the optimizer is {case.family}, the file was written by {' or '.join(held)}",
        reaction,
        (),
        route=case.file.route,
        file=list(held),
        live=case.family,
    )


def _same_step(case: Case) -> bool:
    """Whether the file's settings make both take one step."""
    for number, group in enumerate(case.file.groups):
        settings = case.settings(number)
        live = {**group.hyperparameters, **(case.groups[number] if number < len(case.groups) else {})}
        wanted, held = rule_for(case.family, live), {rule_for(each, settings) for each in case.file.families}
        decay_free = same_setting(settings.get("weight_decay"), 0) and {case.family, *case.file.families} <= ADAMS
        if not decay_free and (wanted is None or wanted not in held):
            return False
    return bool(case.file.groups)


ADAMS = frozenset(("Adam", "AdamW"))


@live_rule("OI902", Severity.ERROR, title="another number of groups")
def count(told: Told, case: Case) -> Iterator[Misfit]:
    """The file has more parameter groups than the optimizer, or fewer.

    Why a resume breaks: load_state_dict raises "loaded state dict has a different number of parameter groups".
    Harmless when: never: which parameters had which settings is not the same in the two.
    Repair: make the groups as the run that wrote the file made them, those that add_param_group brought later too.
    Seen: pytorch#3852; parameter groups for weight decay that were added to a script later; frozen backbones.
    """
    here, there = case.members.sizes, case.file_sizes
    if len(here) == len(there):
        return
    without = any(each.message.startswith("an optimizer without param_groups") for each in case.checkpoint.problems)
    yield told(
        f"the optimizer has {_groups(here)}, the file {_groups(there)}{_contents(case)}",
        Reaction("load", "KeyError: 'param_groups'") if without else COUNT,
        (),
        route=f"{case.file.route}.param_groups".lstrip("."),
        file=list(there),
        live=list(here),
        repair=_as_in_file(case),
    )


def _groups(sizes: Sequence[int]) -> str:
    """ "2 groups (11 and 18 parameters)"."""
    if not sizes:
        return "no groups"
    shown = [str(size) for size in sizes[:8]] + (["…"] if len(sizes) > 8 else [])
    numbers = " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else shown[0]
    return f"{len(sizes)} group{'s' if len(sizes) > 1 else ''} ({numbers} parameters)"


def _contents(case: Case) -> str:
    """What only one side has, where the groups together do not have the same parameters."""
    if sum(case.members.sizes) == sum(case.file_sizes):
        return f", as many parameters in all{_divided(case)}"
    found = left_over(case, case.members.parameters, case.file.parameters)
    return f": {found}" if found else ""


def _divided(case: Case) -> str:
    """What each group holds, on the side that has more of them; nothing where that is not known."""
    here = len(case.members.sizes) > len(case.file_sizes)
    labels = [(each.group, each.name) for each in case.members.parameters] if here else _named(case)
    numbers = dict.fromkeys(number for number, _ in labels)
    if not labels or None in {name for _, name in labels} or len(numbers) > MAX_DIVIDED:
        return ""
    told = [f"group {at} has {listed([name or '' for number, name in labels if number == at])}" for at in numbers]
    return f"; {'here' if here else 'in the file'} {', '.join(told)}"


def _named(case: Case) -> list[tuple[int, str | None]]:
    """(group, name) of the file's parameters: recorded, or as the model beside them gives it."""
    rows = zip(case.file.parameters, case.naming.parameters, strict=True)
    return [(state.group, case.written.get(state.index, row.name)) for state, row in rows]


def _as_in_file(case: Case) -> str:
    """How the file's groups differ, for who has to build them."""
    keys = ("weight_decay", "lr")
    told = []
    for group in case.file.groups[:4]:
        names = [name for number, name in _named(case) if number == group.number and name is not None]
        held = ", ".join(f"{key} {group.hyperparameters[key]}" for key in keys if key in group.hyperparameters)
        told.append(
            f"group {group.number}: {len(group.params)} with {held or 'no settings'}"
            + (f" ({listed(names)})" if names else "")
        )
    return "make the groups as the file has them: " + "; ".join(told) + ("; …" if len(case.file.groups) > 4 else "")


@live_rule("OI903", Severity.ERROR, title="a group of another size")
def sizes(told: Told, case: Case) -> Iterator[Misfit]:
    """A group of the file has more or fewer parameters than the optimizer's group at its place.

    Why a resume breaks: load_state_dict raises "loaded state dict contains a parameter group that doesn't match the
    size of optimizer's group", and says neither which group nor which parameters.
    Harmless when: never.
    Repair: give the optimizer the parameters that the run gave it. Frozen ones count where they were given; tied ones
    count once. A model that has grown needs a group of its own for what is new, added after loading.
    Seen: "loaded state dict contains a parameter group that doesn't match" in a dozen repositories (ray#28323).
    """
    here, there = case.members.sizes, case.file_sizes
    if len(here) != len(there) or here == there:
        return
    if sorted(here) == sorted(there):
        wrong = [number for number, size in enumerate(here) if size != there[number]]
        swapped = f"groups {joined([str(number) for number in wrong])} have each other's sizes"
        yield told(
            f"{swapped}: {_groups(here)} in the optimizer, {_groups(there)} in the file",
            SIZE,
            (),
            route=case.group_route(wrong[0], "params"),
            file=list(there),
            live=list(here),
            repair="give the groups in the order in which the run gave them",
        )
        return
    for number, (size, held) in enumerate(zip(here, there, strict=True)):
        if size != held:
            yield _of_group(told, case, number, size, held)


def _of_group(told: Told, case: Case, number: int, size: int, held: int) -> Misfit:
    members = [each for each in case.members.parameters if each.group == number]
    found = left_over(case, members, [each for each in case.file.parameters if each.group == number])
    names = found.missing if found and found.missing else ()
    return told(
        f"group {number}: the optimizer has {size}, the file {held}" + (f": {found}" if found else ""),
        SIZE,
        (),
        route=case.group_route(number, "params"),
        parameter=names[0] if names else None,
        file=held,
        live=size,
        repair=_cause(case, members, found, held - size),
    )


def _cause(case: Case, members: Sequence[Member], found: LeftOver | None, more: int) -> str | None:
    """The usual reasons: weights tied, or frozen parameters given, on one side only."""
    tied = next(ties(case), None)
    if tied is not None:
        names, message = tied
        verb = "tie" if message == UNTIED_HERE else "untie"
        return f"{listed(names)} are {message}: {verb} them before the optimizer is made"
    frozen = [each for each in members if not each.tensor.requires_grad]
    if more < 0 and len(frozen) == -more:
        return f"leave out what is frozen, as the run did: {listed([each.label for each in frozen])}"
    outside = [each for each in case.members.unstepped if not each.tensor.requires_grad]
    if more > 0 and len(outside) == more:
        return f"give the frozen parameters to the optimizer too, as the run did: {listed([e.label for e in outside])}"
    if more < 0 and found is not None and found.missing and found.sure and not found.extra:
        return "load with the parameters that the file knows, then add the others with optimizer.add_param_group"
    return "give the optimizer the parameters that the run gave it"


RULES: tuple[LiveRule, ...] = (family, count, sizes)
