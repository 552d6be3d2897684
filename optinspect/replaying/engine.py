"""The replay itself: one parameter after the other, each in slabs, every slab through all steps.

Every rule here is elementwise, so a slab moves as it would in the whole tensor; the memory is that of a slab and its
temporaries, whatever the checkpoint's size. Measured: single elements stepped alone are bit-equal to the same
elements stepped in a tensor of 4,096, in float32, float64, bfloat16 and float16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from optinspect.checkpoint import Checkpoint
from optinspect.errors import UsageError
from optinspect.replaying.gradients import Course, Described, Gradients, Part, Slab
from optinspect.replaying.movers import Mover, Opponent, Start, opponent_named, ours
from optinspect.replaying.plan import Parameter, Plan, plan_of
from optinspect.replaying.result import Final, ParameterRow, Replayed
from optinspect.replaying.schedules import continued
from optinspect.replaying.tally import Tally
from optinspect.torch_bridge import permuted, read_torch, shaped

if TYPE_CHECKING:
    import torch

SLAB = 1 << 20
"""Elements stepped at once: 4 MiB of float32, some 60 MiB with both implementations and their temporaries."""

Progress = Callable[[int, int], None]
"""Told what was done since it was last told, and what there is to do in all: elements × steps."""


def replay(
    checkpoint: Checkpoint,
    gradients: Gradients | None = None,
    steps: int | None = None,
    *,
    rule: str | None = None,
    against: str = "torch",
    scheduler: bool = False,
    keep: bool = False,
    progress: Progress | None = None,
) -> Replayed:
    """Step the checkpoint's parameters under the file's rule and beside it under what it is compared with.

    gradients  None: drawn from what the moments describe (Described)
    steps      None: all that are recorded, else 10
    rule       a step rule's name instead of the file's own; against: a name in movers.OPPONENTS
    scheduler  continue the checkpoint's own schedule; else recorded lrs count, else the lr stays
    keep       give the tensors after the last step: costs their memory

    Raises Undecidable, UsageError and UnreadableTensor with the parameter or group they are about.
    """
    source = gradients or Described()
    opponent = opponent_named(against)
    plan = plan_of(checkpoint, rule=rule)
    course = source.course(plan, steps)
    if course.count < 1:
        raise UsageError("--steps 0: expected one step at least")
    lrs = _lrs(checkpoint, plan, course, scheduler)
    run = _Run(plan, course, source, opponent, lrs, keep)
    rows = [run.parameter(parameter, progress) for parameter in plan.parameters]
    return Replayed(
        source=source.kind,
        rule=plan.rule,
        against=opponent.name,
        steps=run.tally.rows(course.start, lrs),
        parameters=tuple(rows),
        skipped=plan.skipped,
        notes=(*plan.notes, *course.notes),
        finals=run.finals,
    )


def _lrs(checkpoint: Checkpoint, plan: Plan, course: Course, scheduler: bool) -> Sequence[tuple[float, ...]]:
    if scheduler:
        return continued(checkpoint, plan.lrs, plan.steps, course.count)
    return course.lrs if course.lrs is not None else [plan.lrs] * course.count


class _Run:
    """What all parameters of one replay share."""

    def __init__(
        self,
        plan: Plan,
        course: Course,
        source: Gradients,
        opponent: Opponent,
        lrs: Sequence[tuple[float, ...]],
        keep: bool,
    ) -> None:
        self.groups = {group.number: group.hyperparameters for group in plan.groups}
        self.places = {group.number: place for place, group in enumerate(plan.groups)}
        self.course, self.source, self.opponent, self.lrs, self.keep = course, source, opponent, lrs, keep
        self.tally = Tally(course.count)
        self.total = course.count * sum(each.weight.numel for each in plan.parameters)
        self.finals: dict[int, Final] = {}

    def parameter(self, parameter: Parameter, progress: Progress | None) -> ParameterRow:
        tally = self.tally.parameter(parameter.settings, parameter.rule)
        kept = _Kept(parameter) if self.keep else None
        for slab in slabs(parameter.weight.numel):
            start = _start(parameter, slab)
            one = ours(_copied(start))
            other = self.opponent.start(_copied(start), self.groups[parameter.group])
            next_gradient = self.source.of(Part(parameter, slab, start.weight, start.state))
            for number in range(self.course.count):
                gradient = None if number in self.course.idle else next_gradient(number)
                lr = self.lrs[number][self.places[parameter.group]]
                self.tally.take(tally, number, one, other, gradient, lr)
                if progress is not None:
                    progress(slab.stop - slab.start, self.total)
            tally.moved(start.weight, one.weight)
            if kept is not None:
                kept.add(slab, one)
        if kept is not None:
            self.finals[parameter.index] = kept.final(len(tally.seen))
        return tally.row(parameter.index, parameter.name, parameter.weight.shape)


def slabs(elements: int) -> Iterator[Slab]:
    """One at least, so that an empty parameter counts its steps too."""
    for number, start in enumerate(range(0, max(elements, 1), SLAB)):
        yield Slab(number, start, min(start + SLAB, elements))


def _start(parameter: Parameter, slab: Slab) -> Start:
    """The slab before the first step, read from the file."""
    import torch  # noqa: PLC0415

    def read(tensor: object) -> torch.Tensor:
        return read_torch(permuted(tensor, parameter.order), slab.start, slab.stop)  # type: ignore[arg-type]

    state = {name: torch.tensor(value) for name, value in parameter.scalars.items()}
    state.update((name, read(tensor)) for name, tensor in parameter.slots.items())
    return Start(
        parameter.name,
        parameter.group,
        read(parameter.weight),
        state if parameter.slots or parameter.step else {},
        parameter.rule,
        parameter.settings,
    )


def _copied(start: Start) -> Start:
    state = {name: tensor.clone() for name, tensor in start.state.items()}
    return Start(start.label, start.group, start.weight.clone(), state, start.rule, start.settings)


class _Kept:
    """The slabs of one parameter, put together again."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter = parameter
        self._whole: dict[str, torch.Tensor] = {}

    def add(self, slab: Slab, mover: Mover) -> None:
        for name, tensor in (("", mover.weight), *mover.state.items()):
            if tensor.dim() == 0:
                self._whole[name] = tensor.clone()
                continue
            whole = self._whole.get(name)
            if whole is None:
                whole = self._whole[name] = tensor.new_empty(self._parameter.weight.numel)
            whole[slab.start : slab.stop] = tensor

    def final(self, taken: int) -> Final:
        shape, order = self._parameter.weight.shape, self._parameter.order
        told = {name: x if x.dim() == 0 else shaped(x, shape, order) for name, x in self._whole.items()}
        return Final(self._parameter.name, told.pop(""), told, taken)
