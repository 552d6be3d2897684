"""The very gradients of a run, as a Recorder wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optinspect.errors import Undecidable
from optinspect.recordings import Key, Recording
from optinspect.replaying.gradients import Course, NextGradient, Part
from optinspect.replaying.plan import Parameter, Plan
from optinspect.replaying.result import SourceKind
from optinspect.tensors import TensorRef
from optinspect.torch_bridge import permuted, read_torch

if TYPE_CHECKING:
    import torch


class Recorded:
    """Gradients out of a Recording, which stays open meanwhile."""

    kind: SourceKind = "recorded"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._start = 0

    def course(self, plan: Plan, steps: int | None) -> Course:
        recording = self._recording
        self._start = next((t for t in (plan.steps, *plan.counters) if t in recording.steps), plan.steps)
        if steps is None:
            steps = _run_from(recording.steps, self._start)
        recording.need(self._start, max(steps, 1))
        keys = {parameter.index: self._key(parameter) for parameter in plan.parameters}
        _check(plan, recording, keys)
        count = range(self._start, self._start + steps)
        lrs = [recording.lrs(t) for t in count]
        known = None if None in lrs else [row for row in lrs if row is not None]
        for row in known or ():
            if len(row) != len(plan.groups):
                raise Undecidable(
                    f"recorded gradients: {len(row)} lrs a step (expected {len(plan.groups)}, one a group)"
                )
        idle = frozenset(number for number, t in enumerate(count) if plan.scaled and not self._finite(keys, t))
        return Course(self._start, steps, known, idle, tuple(_notes(plan, recording, keys, idle, self._start)))

    def of(self, part: Part) -> NextGradient:
        parameter, slab, key = part.parameter, part.slab, self._key(part.parameter)

        def read(step: int) -> torch.Tensor | None:
            found = None if key is None else self._recording.used(key, self._start + step)
            if found is None:
                return None
            _check_dtype(parameter, found)
            return read_torch(permuted(found, parameter.order), slab.start, slab.stop)

        return read

    def _key(self, parameter: Parameter) -> Key | None:
        names = (parameter.name, *parameter.aliases)
        found = (self._recording.key_of(name, parameter.index) for name in names)
        return next((key for key in found if key is not None), None)

    def _finite(self, keys: Mapping[int, Key | None], step: int) -> bool:
        """Whether every gradient of a step is; read in blocks."""
        used = (self._recording.used(key, step) for key in keys.values() if key is not None)
        return all(_all_finite(gradient) for gradient in used if gradient is not None)


def _all_finite(tensor: TensorRef, block: int = 1 << 20) -> bool:
    import torch  # noqa: PLC0415

    return all(
        bool(torch.isfinite(read_torch(tensor, start, min(start + block, tensor.numel))).all())
        for start in range(0, tensor.numel, block)
    )


def _run_from(steps: tuple[int, ...], start: int) -> int:
    """How many steps follow each other from `start` on."""
    known, count = set(steps), 0
    while start + count in known:
        count += 1
    return count


def _check(plan: Plan, recording: Recording, keys: Mapping[int, Key | None]) -> None:
    for parameter in plan.parameters:
        key = keys[parameter.index]
        if key is not None and recording.shapes[key] != parameter.weight.shape:
            shapes = f"shape {list(recording.shapes[key])} (expected {list(parameter.weight.shape)}, its weight's)"
            raise Undecidable(f"{parameter.name}: its recorded gradient has {shapes}")
    if not any(key is not None for key in keys.values()):
        raise Undecidable(
            f"recorded gradients: of {recording.keys[0] if recording.keys else 'nothing'!s:.60} … "
            f"(expected names as {plan.parameters[0].name:.60})"
        )


def _check_dtype(parameter: Parameter, gradient: TensorRef) -> None:
    if gradient.dtype != parameter.weight.dtype:
        raise Undecidable(
            f"{parameter.name}: its recorded gradient is {gradient.dtype.name} "
            f"(expected {parameter.weight.dtype.name}, its weight's)"
        )


def _notes(
    plan: Plan, recording: Recording, keys: Mapping[int, Key | None], idle: frozenset[int], start: int
) -> list[str]:
    notes = []
    unused = [str(key) for key in recording.keys if key not in keys.values()]
    if unused:
        notes.append(
            f"recorded gradients of {len(unused)} names that nothing here is stepped by: {', '.join(unused[:3])}"
        )
    without = [parameter.name for parameter in plan.parameters if keys[parameter.index] is None]
    if without:
        notes.append(f"no gradient was recorded for {len(without)} parameters, which stay: {', '.join(without[:3])}")
    if idle:
        told = ", ".join(str(start + number) for number in sorted(idle)[:5])
        notes.append(f"gradients that are not finite at {told}: skipped, as the run's GradScaler skips such a step")
    return notes
