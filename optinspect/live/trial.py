"""The proof of a resume: load, take one step on drawn gradients, and take the same step by the built-in rule.

torch's side is what a resumed run would do: load_state_dict, then the optimizer's step, in the plain implementation
(foreach, fused, capturable and differentiable off). The rule's side never touches it: its state comes from the file
through our reader. Plain torch.optim and the rules are bit-equal on CPU (tests/test_rules_torch.py), so any
difference in one bit is one of state or settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from optinspect.errors import OptinspectError, Undecidable
from optinspect.live.case import Case, Pair
from optinspect.live.misfit import Misfit
from optinspect.live.resumed import different, failed
from optinspect.live.settings import SWITCHES
from optinspect.live.state_dicts import model_state_dict, optimizer_state_dict
from optinspect.optimizers.rules import StepRule, settings_of
from optinspect.optimizers.rules.choice import choose, spelling_of
from optinspect.optimizers.stepping import torch_step
from optinspect.replaying.comparison import Apart, apart
from optinspect.replaying.places import said
from optinspect.tensors import TensorRef
from optinspect.torch_bridge import to_torch

if TYPE_CHECKING:
    import torch

SEED = 0
DEVIATION = 1e-2
"""Of the gradients: the same whatever the state, so that each slot shows in the step."""


@dataclass(frozen=True, slots=True)
class Tried:
    """stepped: parameters that took a step; compared: of these, with a rule; reason: why no more were."""

    misfits: tuple[Misfit, ...] = ()
    stepped: int = 0
    compared: int = 0
    rule: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.misfits:
            return self.misfits[0].message
        if not self.compared:
            return f"one step taken by {_parameters(self.stepped)}; not compared: {self.reason}"
        left = f"; {self.stepped - self.compared:,} not compared: {self.reason}" if self.stepped > self.compared else ""
        return f"one step from the file's state: {_parameters(self.compared)} bit-equal with the {self.rule} rule{left}"


def _parameters(count: int) -> str:
    return f"{count:,} parameter{'s' if count != 1 else ''}"


@dataclass(frozen=True)
class _Taken:
    """A parameter before the step, and the gradient that it is given."""

    pair: Pair
    weight: torch.Tensor
    gradient: torch.Tensor


def tried(case: Case) -> Tried:
    """Load into the case's objects and step them: they are changed. Raises UnreadableTensor, Undecidable."""
    if (empty := case.members.without_memory) is not None:
        raise Undecidable(f"`{empty}` is on the meta device, where no step is taken")
    state = optimizer_state_dict(case)
    weights = model_state_dict(case)
    try:
        if case.members.module is not None and weights:
            case.members.module.load_state_dict(weights, strict=False)
        case.members.optimizer.load_state_dict(state)
    except Exception as problem:
        return Tried((failed(f"loading raised {said(problem)}", type(problem).__name__),))
    for number, group in enumerate(case.groups):
        group.update(dict.fromkeys(SWITCHES & group.keys(), False))
        group.update({key: value for key, value in case.settings(number).items() if key in case.overrides})
    taken = list(_prepared(case))
    try:
        _step(case)
    except Exception as problem:
        return Tried((failed(f"the first step raised {said(problem)}", type(problem).__name__, "step"),), len(taken))
    return _compared(case, taken)


def _prepared(case: Case) -> Iterator[_Taken]:
    """A gradient for whatever has state, or for all where nothing has; none for the others, as in the run."""
    import torch  # noqa: PLC0415

    any_state = any(pair.state.present != "missing" for pair in case.pairs)
    for pair in case.pairs:
        tensor = pair.member.tensor
        tensor.grad = None
        if not tensor.requires_grad or (any_state and pair.state.present == "missing"):
            continue
        text = f"{SEED}\0{pair.member.label}".encode("utf-8", "surrogatepass")
        source = torch.Generator().manual_seed(int.from_bytes(blake2b(text, digest_size=7).digest(), "little"))
        wide = torch.complex64 if tensor.is_complex() else torch.float32
        drawn = torch.randn(tuple(tensor.shape), generator=source, dtype=wide) * DEVIATION
        gradient = drawn.to(dtype=tensor.dtype, device=tensor.device)
        taken = _Taken(pair, tensor.detach().clone(), gradient.clone())
        tensor.grad = gradient.to_sparse() if case.family == "SparseAdam" else gradient
        yield taken


def _step(case: Case) -> None:
    if case.family == "LBFGS":
        case.members.optimizer.step(lambda: 0.0)
    else:
        case.members.optimizer.step()


def _compared(case: Case, taken: list[_Taken]) -> Tried:
    rules: dict[str, None] = {}
    misfits: list[Misfit] = []
    reason, compared = None, 0
    for each in taken:
        try:
            rule = _rule(case, each.pair)
            misfits += _difference(case, each, rule)
        except OptinspectError as problem:
            reason = problem.message
            continue
        rules[rule.title] = None
        compared += 1
    if len(misfits) > 1:
        first, rest = misfits[0], misfits[1:]
        more = f"{first.message}; so it is with {len(misfits):,} of {compared:,} parameters"
        misfits = [different(more, first.parameter, first.route, tuple(s for m in (first, *rest) for s in m.spots))]
    return Tried(tuple(misfits), len(taken), compared, " + ".join(rules) or None, reason or "no parameter was stepped")


def _rule(case: Case, pair: Pair) -> StepRule:
    """Raises Undecidable where the file's optimizer has none."""
    group = case.file.groups[pair.state.group]
    held = {name for state in case.file.parameters for name, value in state.slots.items() if value is not None}
    families = [case.family] if case.family in case.file.families else case.file.families
    choice = choose(families, group.hyperparameters, held)
    if choice.rule is None:
        raise Undecidable(choice.reason)
    return choice.rule


def _difference(case: Case, taken: _Taken, rule: StepRule) -> Iterator[Misfit]:
    """The weight, and every slot, after the rule's step against what the optimizer has made of them."""
    pair, number = taken.pair, taken.pair.member.group or 0
    group = case.groups[number]
    if any(hasattr(beta, "numel") for beta in group.get("betas") or ()):
        raise Undecidable("its betas are tensors, with which the rules do not compute to the bit")
    settings = settings_of(case.settings(number), group=number, required=rule.required)
    if hasattr(group["lr"], "squeeze"):
        from dataclasses import replace  # noqa: PLC0415

        settings = replace(settings, lr=group["lr"].detach().squeeze())
    weight, state = taken.weight, _state(pair, taken.weight)
    import torch  # noqa: PLC0415

    with torch.no_grad():
        torch_step(rule, weight, taken.gradient, state, settings, label=pair.member.label)
    live: Mapping[str, Any] = case.members.optimizer.state.get(pair.member.tensor, {})
    sides: list[tuple[str, Any, Any]] = [("weight", weight, pair.member.tensor.detach())]
    sides += [(slot, value, live.get(slot)) for slot, value in state.items() if slot != "step"]
    for what, ours, theirs in sides:
        distance = _distance(ours, theirs)
        if distance is None or not distance.bit_equal:
            far = f"by up to {distance.max_abs:.3g} ({distance.max_ulps:,} ulps)" if distance else "in shape or dtype"
            message = f"`{pair.member.label}`: after one step its {what} differs from the {rule.title} rule {far}"
            route = case.state_route(pair.state, None if what == "weight" else what)
            yield different(message, pair.member.name, route, (("index", pair.member.index),))
            return


def _distance(ours: Any, theirs: Any) -> Apart | None:
    if not hasattr(ours, "dtype"):
        return Apart()
    if not hasattr(theirs, "dtype") or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return None
    return apart(ours.cpu(), theirs.detach().cpu())


def _state(pair: Pair, weight: torch.Tensor) -> dict[str, Any]:
    """The file's own state, read by us, as the rules name its slots."""
    import torch  # noqa: PLC0415

    spelling = spelling_of(pair.state.slots)
    state: dict[str, Any] = {}
    for slot, value in spelling.canonical(pair.state.slots).items():
        if value is not None:
            held = to_torch(value) if isinstance(value, TensorRef) else torch.tensor(value)
            state[slot] = held.to(weight.device) if held.dim() else held
    if pair.state.step is not None:
        state["step"] = torch.tensor(float(pair.state.step))
    return state
