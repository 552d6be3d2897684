"""OI507 to OI511: hyperparameters that have no effect, or one out of all proportion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from optinspect.checkpoint import ParamGroup
from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.checks.states import slots_kept
from optinspect.checks.values import Found
from optinspect.optimizers.recognise import LABELS
from optinspect.report import Severity

ALIASES = {
    "weight_decay_rate": "weight_decay",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "l2": "weight_decay",
    "learning_rate": "lr",
    "lrate": "lr",
    "epsilon": "eps",
    "beta": "betas",
    "beta1": "betas",
    "beta2": "betas",
    "momentum": "betas",
}
"""What people write for the keys of torch; each counts where an optimizer has the right one, not the left."""
HALF_OF_ONE = {"float64": 2.0**-54, "float32": 2.0**-25, "bfloat16": 2.0**-9, "float16": 2.0**-12}
"""1 − x rounds to 1 below this, in the arithmetic of the weight's dtype."""
LARGEST_LR, LARGEST_DECAY = 10, 100
"""The largest in 250 healthy checkpoints: lr 1 (of optimizers that scale it themselves), weight_decay 0.1."""
EPS_IN_HALF = 2.0**-25
"""Below it a number is 0 in float16."""


@rule("OI507", Severity.WARNING, title="a setting that nobody reads", requires=("OI505",))
def misspelt(context: Context) -> Iterable[Complaint]:
    """A group has a key that torch does not know, and that looks like one that it does.

    Why it matters: torch keeps unknown keys without a word: weight_decay_rate=0.0 leaves weight_decay at its default.
    Harmless when: your own code reads the key.
    Repair: spell it as torch does, and look at what the default has done so far.
    Seen: mt-dnn PR#37 (`weight_decay_rate`), wekws#23, HeavyBall#71 (weight decay was always 0).
    """
    found = []
    for number, optimizer, group in context.groups:
        description = context.facts.descriptions.get((number, group.number))
        if description is None or description.source != "torch.optim":
            continue
        for key in group.hyperparameters:
            meant = _meant(key, description.defaults.keys())
            if meant is not None:
                found.append((number, optimizer, group, key, f"{key} is not read by {description.name}: {meant} is"))
    return context.alike(found)


def _meant(key: str, known: Iterable[str]) -> str | None:
    names = set(known)
    if key in names or key in LABELS:
        return None
    if ALIASES.get(key) in names:
        return ALIASES[key]
    return next((name for name in sorted(names) if len(name) > 4 and _close(key, name)), None)


def _close(a: str, b: str) -> bool:
    """One letter more, less or other, two neighbours exchanged, or only another way of joining words."""
    if a.replace("-", "_").lower() == b or a.replace("_", "").lower() == b.replace("_", ""):
        return True
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    x, y = a[start:], b[start:]
    return x[1:] == y[1:] or x[1:] == y or x == y[1:] or (x[:2] == y[:2][::-1] and x[2:] == y[2:])


@rule("OI508", Severity.WARNING, title="eps is 0 in the weights' dtype", requires=("OI503",))
def eps_underflows(context: Context) -> Iterable[Complaint]:
    """Weights are float16 and eps is so small that it rounds to 0 there (below 3e-8).

    Why it matters: 0/0 is NaN where a gradient is exactly 0, and the weight is lost with the first step (measured).
    Harmless when: the update is computed in float32 master weights.
    Repair: eps=1e-4 for pure float16, or float32 weights.
    Seen: pytorch#147437, glide-finetune#5, optax#1754.
    """
    found: Found = []
    for subject in context.subjects:
        value = subject.group.number_of("eps")
        description = context.facts.description(subject)
        torchs = description is not None and description.source == "torch.optim"
        half = subject.weight is not None and subject.weight.dtype.name == "float16"
        if torchs and half and value is not None and 0 < value < EPS_IN_HALF:
            found.append((subject, None, f"eps {value:g} is 0 in float16"))
    return context.each(found)


@rule("OI509", Severity.NOTE, title="weight decay without effect", requires=("OI501", "OI504"))
def decay_inert(context: Context) -> Iterable[Complaint]:
    """1 − lr·weight_decay rounds to 1 in the dtype of the weights: nothing decays.

    Why it matters: the run is configured with a decay that it does not have; at 2⁻⁹ and below in bfloat16.
    Harmless when: lr is near the end of its schedule, or float32 master weights exist elsewhere.
    Repair: keep float32 master weights, or do not count on the decay.
    Seen: OneTrainer#996.
    """
    found: Found = []
    for subject in context.subjects:
        families = context.facts.checkpoint.optimizers[subject.optimizer].families
        rate, decay = subject.group.number_of("lr"), subject.group.number_of("weight_decay")
        limit = HALF_OF_ONE.get(subject.weight.dtype.name) if subject.weight is not None else None
        if families == ("AdamW",) and rate and decay and limit is not None and 0 < rate * decay < limit:
            dtype = subject.weight.dtype.name if subject.weight is not None else ""
            found.append((subject, None, f"1 − lr·weight_decay with {rate * decay:.2g} is 1 in {dtype}"))
    if not context.subjects:
        raise Skip("no parameters to look at")
    yield from context.each(found)


@rule("OI510", Severity.WARNING, title="a setting out of all proportion", requires=("OI501", "OI503", "OI504"))
def absurd(context: Context) -> Iterable[Complaint]:
    """NaN or Inf in a setting, or a number that is allowed, but that no run survives.

    That is lr above 10 for an Adam, which moves every weight by about lr a step; eps above 1, beside which √v vanishes;
    a decay that takes the whole weight in one step (lr·weight_decay ≥ 1 where it is decoupled, else above 100).

    Why a resume breaks: the settings of the file replace those of the script: one step destroys the weights, or nothing
    moves any more.
    Harmless when: the group has no parameters that are stepped.
    Repair: set the value that the run was configured with; 1e8 is 1e-8 without its sign.
    Seen: edited files; exponents that lost their sign.
    """
    found = []
    for number, optimizer, group in context.groups:
        description = context.facts.descriptions.get((number, group.number))
        if description is not None and description.source == "torch.optim" and group.params:
            adam = description.v_slot is not None or description.name == "Adamax"
            decoupled = description.name == "AdamW" or group.hyperparameters.get("decoupled_weight_decay") is True
            wild = [(key, f"{value}") for key, value in _wild(group, description.defaults.keys() - JUDGED)]
            for key, told in (*wild, *_absurd(group, adam=adam, decoupled=decoupled)):
                found.append((number, optimizer, group, key, f"{key} is {told}"))
    return context.alike(found)


def _wild(group: ParamGroup, keys: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Settings that are no finite numbers."""
    for key in sorted(keys):
        value = group.number_of(key)
        if value is not None and not isfinite(value):
            yield key, value


JUDGED = frozenset({"lr", "betas", "eps", "weight_decay", "momentum", "alpha", "rho"})
"""Settings that other rules look at."""


def _absurd(group: ParamGroup, *, adam: bool, decoupled: bool) -> Iterator[tuple[str, str]]:
    rate, eps, decay = (group.number_of(key) or 0.0 for key in ("lr", "eps", "weight_decay"))
    if adam and rate > LARGEST_LR:
        yield "lr", f"{rate:g}: every step moves the weights by about as much"
    if eps > 1:
        yield "eps", f"{eps:g}: √v vanishes beside it"
    if decay > LARGEST_DECAY or (decoupled and rate <= LARGEST_LR and rate * decay >= 1):
        yield "weight_decay", f"{decay:g}: one step takes the weights away (lr is {rate:g})"


@rule("OI511", Severity.WARNING, title="a slot that the settings switch off", requires=("OI502", "OI505"))
def unused(context: Context) -> Iterable[Complaint]:
    """A group keeps a slot that its settings do not ask for: momentum buffers with momentum=0, RMSprop's grad_avg with
    centered=False, a maximum with amsgrad=False.

    Why a resume breaks: nothing is raised, but the run goes on by another rule than the one that filled the slot.
    Harmless when: the setting was changed on purpose; then the slot only takes space.
    Repair: set momentum, centered or amsgrad to what the run was configured with, or drop the slot.
    Seen: settings of one run put on the state of another: those of the file replace those of the script.
    """
    found = []
    kept = slots_kept(context.facts)
    for number, optimizer, group in context.groups:
        description, settings = context.facts.descriptions.get((number, group.number)), group.hyperparameters
        for each in description.asked if description is not None and description.source == "torch.optim" else ():
            scheduled = f"max_{each.key}" in settings  # OneCycle and Cyclic leave the bounds of what they move
            if each.on(settings) is False and (number, group.number, each.slot) in kept and not scheduled:
                told = f"{each.key}={settings[each.key]}, but {each.slot} is kept: its values will not be used"
                found.append((number, optimizer, group, each.key, told))
    return context.alike(found)


RULES: tuple[Rule, ...] = (misspelt, eps_underflows, decay_inert, absurd, unused)
