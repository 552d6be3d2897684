"""OI910 to OI913: the groups' settings. load_state_dict takes the file's and forgets the script's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from optinspect.live.case import Case
from optinspect.live.misfit import Misfit, Reaction, joined
from optinspect.live.rule import LiveRule, Told, live_rule
from optinspect.optimizers.base import same_setting
from optinspect.report import Severity

NOT_SETTINGS = frozenset(("params", "param_names"))
SWITCHES = frozenset(("foreach", "fused", "capturable", "differentiable"))
"""Which implementation runs, not what it computes."""
ALGORITHM = ("amsgrad", "maximize", "nesterov", "centered", "decoupled_weight_decay")
"""Flags that make another optimizer of it."""


@live_rule("OI910", Severity.ERROR, title="a group lacks a setting that the optimizer reads")
def missing(told: Told, case: Case) -> Iterator[Misfit]:
    """A group of the file lacks a setting of the live optimizer that its class does not fill in on loading.

    Which keys a class fills in (foreach, fused, … that older versions did not write) is asked of its own __setstate__.
    A key that is the user's own (a name, an lr factor) is a warning: the group loses it.
    Why a resume breaks: load_state_dict takes the file's keys and no others: the next step raises KeyError: 'betas'.
    Harmless when: the script sets the key after loading.
    Repair: give the setting to load: optinspect.load(…, betas=(0.9, 0.999)).
    Seen: pytorch#146157, #143828; files of another version of an optimizer.
    """
    if len(case.groups) != len(case.file.groups):
        return
    found: dict[tuple[str, bool], list[int]] = {}
    for number, group in enumerate(case.groups):
        held = case.keys_after(number)
        for key in group.keys() - held - NOT_SETTINGS:
            found.setdefault((key, key in case.defaults), []).append(number)
    for (key, own), numbers in sorted(found.items()):
        silent = Reaction("silent", "the groups lose it")
        value = case.groups[numbers[0]][key]
        yield told(
            f"{key} is missing in {_groups(numbers)} of the file" + ("" if own else ": loading drops it here"),
            Reaction("step", f"KeyError: '{key}'") if own else silent,
            *((("group", number) for number in numbers) if own else (("key", key),)),
            route=case.group_route(numbers[0]),
            live=_plain(value),
            severity=Severity.ERROR if own else Severity.WARNING,
            repair=f"optinspect.load(…, {key}={_said(_plain(value))})" if key.isidentifier() else None,
        )


@live_rule("OI911", Severity.ERROR, title="settings that contradict the script")
def contradicting(told: Told, case: Case) -> Iterator[Misfit]:
    """The file turns another algorithm on or off (amsgrad, maximize, nesterov, centered), has the settings of two
    groups exchanged, or decays the weights of a group that the script keeps from decay.

    Why a resume breaks: the file's settings replace the script's without a word.
    Harmless when: the script was changed on purpose since.
    Repair: say which is meant: optinspect.load(…, maximize=False), or allow OI911 to take the file's.
    Seen: pytorch#156846; scripts that were given another order of groups, so that norms and biases decay.
    """
    if len(case.groups) != len(case.file.groups):
        return
    for key in ALGORITHM:
        yield from _flag(told, case, key)
    for key in ("weight_decay", "lr"):
        live, file = _sides(case, key)
        if key in case.overrides or not live or len(live) != len(case.groups):
            continue
        wrong = _exchanged(live, file) or (_decayed(live, file) if key == "weight_decay" else None)
        if wrong:
            groups = [number for number, (a, b) in enumerate(zip(live, file, strict=True)) if not same_setting(a, b)]
            yield told(
                f"{key} is {_row(file)} in the file, {_row(live)} here: {wrong}",
                Reaction("silent", "the file's count from then on"),
                *(("setting", key, number) for number in groups),
                route=case.group_route(groups[0], key),
                file=file,
                live=live,
                repair=f"give the groups in the file's order; optinspect.load(…, {key}=[…]) sets one for each group",
            )


def _flag(told: Told, case: Case, key: str) -> Iterator[Misfit]:
    if key in case.overrides or (key == "decoupled_weight_decay" and case.family == "AdamW"):
        return
    wrong = [
        number
        for number, group in enumerate(case.groups)
        if isinstance(group.get(key), bool)
        and isinstance(held := (case.filled(number) or case.file.groups[number].hyperparameters).get(key), bool)
        and held is not group[key]
    ]
    if wrong:
        live = case.groups[wrong[0]][key]
        lacks = key not in case.file.groups[wrong[0]].hyperparameters
        yield told(
            f"{key} is {'missing' if lacks else not live} in {_groups(wrong)} of the file"
            f"{f': loading makes it {not live}' if lacks else ''}, {live} here",
            Reaction("silent", "the file's counts from then on"),
            *(("setting", key, number) for number in wrong),
            route=case.group_route(wrong[0], key),
            file=not live,
            live=live,
            repair=f"optinspect.load(…, {key}={live}) keeps the script's",
        )


def _sides(case: Case, key: str) -> tuple[list[Any], list[Any]]:
    """Both sides' values of a key, by group; empty where not every group on both sides has a number."""
    live = [_plain(group.get(key)) for group in case.groups]
    file = [group.hyperparameters.get(key) for group in case.file.groups]
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (*live, *file))
    return (live, file) if numbers and len(live) == len(file) else ([], [])


def _exchanged(live: Sequence[float], file: Sequence[float]) -> str | None:
    if live == file or sorted(live) != sorted(file):
        return None
    return "the same values on other groups"


def _decayed(live: Sequence[float], file: Sequence[float]) -> str | None:
    """Decay where the script, which tells its groups apart by it, has none."""
    wrong = [number for number, (a, b) in enumerate(zip(live, file, strict=True)) if a == 0 != b]
    if not wrong or not any(live):
        return None
    return f"{_groups(wrong)} would decay, which the script keeps from it"


@live_rule("OI912", Severity.NOTE, title="settings of the file that replace the script's")
def replaced(told: Told, case: Case) -> Iterator[Misfit]:
    """lr, weight_decay, betas, … differ between the file and the script: after loading the file's count.

    Why it matters: a new lr in the script is without effect until it is set after loading.
    Harmless when: the script only gives the values with which the run began.
    Repair: optinspect.load(…, lr=1e-4) sets what the script wants after loading.
    Seen: pytorch#156846, pytorch/examples#816, ParlAI#3116, sb3#735.
    """
    for key in dict.fromkeys(key for group in case.groups for key in group):
        if key in NOT_SETTINGS or key in case.overrides or (key in ALGORITHM and key in case.defaults):
            continue
        changes: dict[str, list[int]] = {}
        for number, (group, held) in enumerate(zip(case.groups, case.file.groups, strict=False)):
            if key in group and key in held.hyperparameters:
                live, file = _plain(group[key]), held.hyperparameters[key]
                if not same_setting(live, file):
                    changes.setdefault(_change(group[key], file), []).append(number)
        for change, numbers in changes.items():
            first = numbers[0]
            yield told(
                f"{key} of {_groups(numbers)}: {change}",
                Reaction("none"),
                *(("setting", key, number) for number in numbers),
                route=case.group_route(first, key),
                file=case.file.groups[first].hyperparameters[key],
                live=_plain(case.groups[first][key]),
                repair=f"optinspect.load(…, {key}=…) sets another after loading",
            )


@live_rule(
    "OI913",
    Severity.ERROR,
    title="an implementation that cannot run here",
    repair="optinspect.load(…, capturable=False)",
)
def switches(told: Told, case: Case) -> Iterator[Misfit]:
    """capturable=True comes with the file, and the parameters are on a device that cannot capture graphs.

    Why a resume breaks: the first step raises AssertionError: If capturable=True, params and state_steps must be on
    supported devices. The flags fused, foreach and capturable travel with the file, whatever the script asked for.
    Harmless when: never.
    Repair: optinspect.load(…, capturable=False).
    Seen: pytorch#80809, tianshou#681, sb3#967; checkpoints of GPU runs that are looked at on a laptop.
    """
    for number in range(min(len(case.groups), len(case.file.groups))):
        after = case.settings(number)
        devices = {each["params"][0].device.type for each in case.groups[number : number + 1] if each["params"]}
        if after.get("capturable") is True and not after.get("fused") and devices & {"cpu", "mps"}:
            yield told(
                f"group {number}: capturable=True in the file, the parameters are on {', '.join(sorted(devices))}",
                Reaction("step", "AssertionError: If capturable=True"),
                ("group", number),
                route=case.group_route(number, "capturable"),
                file=True,
                live=case.groups[number].get("capturable"),
            )
            return


def _plain(value: Any) -> Any:
    """A one-element tensor as its number; a tuple of them likewise."""
    if hasattr(value, "numel"):
        return value.item() if value.numel() == 1 else value.tolist()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _change(live: Any, file: Any) -> str:
    """Both values; their types too where one is a tensor, all digits where fewer would make them look the same."""
    tensor, plain = hasattr(live, "numel"), _plain(live)
    before, after = _said(plain), _said(file)
    if tensor and not isinstance(plain, list):
        return f"the tensor {before} here becomes the {type(file).__name__} {after}"
    if before == after:
        before, after = f"{plain!r:.60}", f"{file!r:.60}"
    return f"{before} here becomes {after}"


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else f"{value!r}"[:60]


def _row(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return f"({shown}{', …' if len(values) > 8 else ''})"


def _groups(numbers: Sequence[int]) -> str:
    """ "group 1", "groups 0, 1 and 2"."""
    if len(numbers) == 1:
        return f"group {numbers[0]}"
    return "groups " + joined([str(number) for number in numbers])


RULES: tuple[LiveRule, ...] = (missing, contradicting, replaced, switches)
