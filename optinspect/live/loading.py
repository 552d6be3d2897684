"""`optinspect.load(optimizer, path, model)`: resume safely, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.containers.wording import line
from optinspect.errors import Mismatch, Undecidable
from optinspect.live.case import Case
from optinspect.live.file_rules import file_misfits
from optinspect.live.members import Members
from optinspect.live.misfit import Misfit
from optinspect.live.overrides import apply, check_overrides
from optinspect.live.registry import misfits
from optinspect.live.restore import unchanged_on_error
from optinspect.live.resumed import failed
from optinspect.naming import name_parameters
from optinspect.report import Severity


@dataclass(frozen=True)
class Loaded:
    """What `load` did.

    path        the file
    step        completed steps, where the file has one count for most parameters; None without
    names       of the optimizer's parameters, in its order
    states      how many of them got a state
    model       whether the model was loaded too
    overridden  settings that were set after loading, as given
    notes       what differs and was accepted: one line each
    misfits     the same as objects
    """

    path: str
    step: int | None
    names: tuple[str, ...]
    states: int
    model: bool
    overridden: Mapping[str, Any]
    misfits: tuple[Misfit, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"{each.severity.value}: {each}" for each in self.misfits)

    def __str__(self) -> str:
        what = "optimizer and model" if self.model else "optimizer"
        step = f" at step {self.step:,}" if self.step is not None else ""
        told = f"{self.path}: {what} loaded{step}, {self.states:,} of {len(self.names):,} parameters with state"
        return "\n  ".join((told, *self.notes))


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller of `load` asked for, beside the objects. allow: codes, or how they begin, that do not refuse."""

    overrides: Mapping[str, Any]
    allow: tuple[str, ...] = ()
    load_model: bool = False
    by_name: bool = False
    check: bool = True


def load_into(members: Members, checkpoint: Checkpoint, path: str, wish: Wish) -> Loaded:
    """Compare, then load all of it; nothing has changed when something is raised.

    Raises Mismatch with every reason, Undecidable for a file without an optimizer, UsageError for an override that
    no group has, UnreadableTensor for values that cannot be read.
    """
    case = case_of(members, checkpoint, wish)
    check_overrides(case)
    found = misfits(case)
    refused = _refused(found, wish)
    if not refused and wish.check:
        of_file = file_misfits(case)
        found = (*found, *of_file)
        refused = _refused(of_file, wish)
    if refused:
        raise Mismatch(path, refused, hint=_hint(refused))
    _load(case, path, wish)
    return _loaded(case, path, wish, found)


def case_of(members: Members, checkpoint: Checkpoint, wish: Wish) -> Case:
    """Raises Undecidable unless there is one optimizer in the file."""
    routes = [each.route or "the top" for each in checkpoint.optimizers]
    path = checkpoint.inputs[0].path
    if not routes:
        raise Undecidable(line(path, "no optimizer in this file"), hint="optinspect show says what is in it")
    if len(routes) > 1:
        listed = ", ".join(routes[:4])
        found = f"{len(routes)} optimizers (expected one)"
        raise Undecidable(line(path, found), hint=f"optimizer_key= one of {listed}")
    naming = name_parameters(checkpoint)[0]
    keyed_by_name = bool(checkpoint.optimizers[0].parameters) and all(
        isinstance(each.key, str) and not each.key.isdigit() for each in checkpoint.optimizers[0].parameters
    )
    return Case(
        members=members,
        checkpoint=checkpoint,
        number=0,
        naming=naming,
        overrides=wish.overrides,
        whole=wish.load_model,
        by_name=wish.by_name or (keyed_by_name and bool(members.order)),
    )


def _refused(found: Iterable[Misfit], wish: Wish) -> list[Misfit]:
    return [
        each for each in found if each.severity is Severity.ERROR and not each.code.startswith(wish.allow or ("-",))
    ]


def _hint(refused: Sequence[Misfit]) -> str | None:
    told = refused[0].repair
    codes = ", ".join(f'"{code}"' for code in dict.fromkeys(each.code for each in refused))
    return f"{told or 'optinspect rules ' + refused[0].code}; to load all the same: allow=({codes},)"


def _load(case: Case, path: str, wish: Wish) -> None:
    """Everything is read before anything is changed; the model, which is written in place, comes last."""
    from optinspect.live.state_dicts import model_state_dict, optimizer_state_dict  # noqa: PLC0415

    state = optimizer_state_dict(case)
    weights = model_state_dict(case) if wish.load_model else None
    for tree in case.checkpoint.trees:
        tree.verify_unchanged()
    module = case.members.module if wish.load_model else None
    with unchanged_on_error(case.members.optimizer, module):
        try:
            case.members.optimizer.load_state_dict(state)
            apply(case)
            if module is not None and weights is not None:
                module.load_state_dict(weights, strict=not "OI914".startswith(wish.allow or ("-",)))
        except Exception as problem:
            told = f"loading raised {type(problem).__name__}: {str(problem)[:300]}"
            raise Mismatch(path, [failed(told, type(problem).__name__)]) from problem


def _loaded(case: Case, path: str, wish: Wish, found: Sequence[Misfit]) -> Loaded:
    steps = Counter(case.file.steps).most_common(1)
    return Loaded(
        path=path,
        step=int(steps[0][0]) if steps and steps[0][0] == steps[0][0] else None,
        names=tuple(each.label for each in case.members.parameters),
        states=sum(pair.state.present != "missing" for pair in case.pairs),
        model=wish.load_model,
        overridden=dict(wish.overrides),
        misfits=tuple(found),
    )
