"""One pass over every parameter's bundle: the weight and its slots, read block by block in step, by several threads.

    bundles ──plan──▶ tasks of about a million elements ──threads──▶ partial results ──in order──▶ Measured

Large parameters are split over tasks, small ones share one. Partial results are added in the order of the elements, so
the figures do not depend on the number of threads. Memory is bounded: a few blocks a thread, whatever the file's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optinspect.bundles import Bundle, Extra, Plan, Slot, plan, tasks
from optinspect.statistics import JointStatistics, Statistics
from optinspect.workers import Partial, default_threads, in_order, summed

__all__ = ["Bundle", "Extra", "Measured", "Slot", "measure"]


@dataclass(frozen=True)
class Measured:
    """What one bundle gave.

    statistics  by slot, in the bundle's order; a slot that could not be read is in `problems` instead
    weight      of θ; None unless asked for
    joint       of m and v (and θ); None where `terms` are, or where `joint_problem` says why
    problems    slot (None: the weight) → why its values could not be read
    extra       what `measure(extra=…)` added up
    """

    key: Any
    bundle: Bundle
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    weight: Statistics | None = None
    joint: JointStatistics | None = None
    joint_problem: str | None = None
    problems: Mapping[Slot, str] = field(default_factory=dict)
    extra: Any = None

    @property
    def effective_step(self) -> float | None:
        """lr·rms(m̂/(√v̂+eps))."""
        terms = self.bundle.terms
        return None if self.joint is None or terms is None else self.joint.effective_step(terms.lr)

    @property
    def update_ratio(self) -> float | None:
        """effective_step / rms(θ)."""
        terms = self.bundle.terms
        return None if self.joint is None or terms is None else self.joint.update_ratio(terms.lr)


def measure(
    bundles: Iterable[Bundle],
    *,
    weights: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    extra: Extra | None = None,
) -> Iterator[Measured]:
    """Measure every bundle; results come in the order of `bundles`, as soon as they are complete.

    weights   give the statistics of θ too; without it θ is read only where `terms` need its rms
    threads   None: one a core, at most 4
    progress  called in this thread with the number of bytes just read
    extra     see Extra; it makes every weight be read

    A tensor that cannot be read is a problem of its bundle. Raises FileChanged when the file is being rewritten.
    """
    plans = (plan(bundle, weights, extra) for bundle in bundles)
    for done, total in summed(in_order(tasks(plans), threads or default_threads()), progress):
        yield _measured(done, total)


def _measured(plan: Plan, total: Partial) -> Measured:
    problems = {**plan.problems, **total.problems}
    statistics = {slot: found for slot, found in total.statistics.items() if slot not in problems}
    weight = statistics.pop(None, None)
    bundle, terms, joint_problem = plan.bundle, plan.bundle.terms, plan.joint_problem
    if terms is not None and joint_problem is None:
        joint_problem = next(
            (f"{slot}: {problems[slot]}" for slot in (terms.m_slot, terms.v_slot) if slot in problems), None
        )
    joint = replace(total.joint, weight_count=0, weight_norm=0.0) if None in problems else total.joint
    return Measured(
        bundle.key,
        bundle,
        {slot: statistics[slot] for slot in bundle.slots if slot in statistics},
        weight,
        joint if terms is not None and joint_problem is None else None,
        joint_problem,
        problems,
        total.extra,
    )
