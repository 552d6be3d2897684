"""What is measured together, and how the work is cut: bundles ──plan──▶ parts ──tasks──▶ tasks of similar size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optinspect.blocks import BLOCK, in_storage_order
from optinspect.decoding import Array
from optinspect.tensors import TensorRef, obstacle
from optinspect.terms import AdamTerms

TASK = 1 << 22
"""Elements that one task reads: some milliseconds of work, so that an interrupt is answered at once."""
TASK_PARTS = 256
"""Small parts that share a task: handing over a task costs about as much as measuring ten of them."""

Slot = str | None
"""A slot's name; None is the weight itself."""


@dataclass(frozen=True)
class Bundle:
    """What is measured together. `key` is the caller's; `terms` where m and v are Adam-like, else None."""

    key: Any
    weight: TensorRef | None
    slots: Mapping[str, TensorRef]
    terms: AdamTerms | None = None


Extra = Callable[[Bundle, Mapping[Slot, Array]], Any]
"""Sees the blocks that are in step (by slot) in the same pass; its results are added with `+`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one bundle is read: `convoys` are tensors of one shape, read in step."""

    bundle: Bundle
    convoys: tuple[Mapping[Slot, TensorRef], ...]
    weights: bool
    joint_problem: str | None
    problems: Mapping[Slot, str]
    extra: Extra | None

    @property
    def steps(self) -> bool:
        """JointStatistics are to be taken."""
        return self.bundle.terms is not None and self.joint_problem is None

    def terms_for(self, blocks: Mapping[Slot, Array]) -> AdamTerms | None:
        """The bundle's terms where these blocks hold its m and v."""
        terms = self.bundle.terms
        if terms is None or self.joint_problem is not None or not (terms.m_slot in blocks and terms.v_slot in blocks):
            return None
        return terms if blocks[terms.m_slot].size == blocks[terms.v_slot].size else None


@dataclass(frozen=True, slots=True)
class Part:
    """Elements [start, stop) of a convoy; `number` counts the bundles."""

    number: int
    plan: Plan
    convoy: Mapping[Slot, TensorRef]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return (self.stop - self.start) * sum(tensor.dtype.itemsize for tensor in self.convoy.values())


def plan(bundle: Bundle, weights: bool, extra: Extra | None) -> Plan:
    joint_problem = _joint_obstacle(bundle)
    wanted: dict[Slot, TensorRef] = {}
    if bundle.weight is not None and (weights or extra or (bundle.terms is not None and joint_problem is None)):
        wanted[None] = bundle.weight
    wanted.update(bundle.slots)
    problems: dict[Slot, str] = {}
    shapes: dict[tuple[int, ...], dict[Slot, TensorRef]] = {}
    for slot, tensor in wanted.items():
        reason = obstacle(tensor)
        if reason is None:
            shapes.setdefault(tensor.shape, {})[slot] = tensor
        else:
            problems[slot] = reason
    convoys = tuple(_aligned(convoy) for convoy in shapes.values())
    return Plan(bundle, convoys, weights, joint_problem, problems, extra)


def _joint_obstacle(bundle: Bundle) -> str | None:
    if bundle.terms is None:
        return None
    m, v = bundle.slots.get(bundle.terms.m_slot), bundle.slots.get(bundle.terms.v_slot)
    if m is None or v is None:
        return f"no {bundle.terms.v_slot if m is not None else bundle.terms.m_slot}"
    if m.shape != v.shape:
        return f"{bundle.terms.m_slot} is {list(m.shape)}, {bundle.terms.v_slot} is {list(v.shape)}"
    if (m.dtype.kind == "complex") != (v.dtype.kind == "complex"):
        return f"{bundle.terms.m_slot} is {m.dtype.name}, {bundle.terms.v_slot} is {v.dtype.name}"
    return bundle.terms.obstacle()


def _aligned(convoy: dict[Slot, TensorRef]) -> dict[Slot, TensorRef]:
    """In storage order where all lie in the same order without gaps, else as they are (row-major logical order)."""
    first, *others = convoy.values()
    if first.is_contiguous or any(tensor.stride != first.stride for tensor in others):
        return convoy
    flat = {slot: in_storage_order(tensor) for slot, tensor in convoy.items()}
    return (
        {slot: tensor for slot, tensor in flat.items() if tensor is not None} if None not in flat.values() else convoy
    )


def tasks(plans: Iterable[Plan]) -> Iterator[list[Part]]:
    """Parts in order, gathered to tasks of about TASK elements."""
    task: list[Part] = []
    elements = 0
    for number, plan in enumerate(plans):
        for part in _parts(number, plan):
            task.append(part)
            elements += (part.stop - part.start) * len(part.convoy)
            if elements >= TASK or len(task) >= TASK_PARTS:
                yield task
                task, elements = [], 0
    if task:
        yield task


def _parts(number: int, plan: Plan) -> Iterator[Part]:
    if not plan.convoys:
        yield Part(number, plan, {}, 0, 0)
    for convoy in plan.convoys:
        numel = next(iter(convoy.values())).numel
        length = max(TASK // len(convoy) // BLOCK, 1) * BLOCK
        for start in range(0, max(numel, 1), length):
            yield Part(number, plan, convoy, start, min(start + length, numel))
