"""`optinspect replay [CHECKPOINT] --model pkg.mod:factory --data pkg.mod:batches`: the user's model trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import Any

from optinspect.checkpoint import Checkpoint
from optinspect.commands import replay_file, replay_gradients, replay_tables, replay_words
from optinspect.commands.progress import Meter
from optinspect.commands.replay import Options
from optinspect.errors import UsageError
from optinspect.replaying import Replayed
from optinspect.replaying.gradients import DEFAULT_STEPS
from optinspect.replaying.movers import opponent_named
from optinspect.replaying.numeric_gradients import Coordinate
from optinspect.replaying.plan import Plan, plan_of
from optinspect.replaying.resumed import DEFAULTS, fresh, resume
from optinspect.replaying.schedules import continued
from optinspect.replaying.training import Live, Trained, Training, train
from optinspect.replaying.user_code import live_batches, live_model
from optinspect.report import Line, Report


def build(path: str | None, options: Options) -> Report:
    import torch  # noqa: PLC0415

    torch.manual_seed(options.seed)
    live, batches = live_model(options.model or ""), live_batches(options.data or "")
    with ExitStack() as stack:
        checkpoint = stack.enter_context(options.open(path, options.model_state)) if path is not None else None
        if checkpoint is not None:
            replay_file.check_target(checkpoint, options)
        plan = plan_of(checkpoint, rule=options.rule) if checkpoint is not None else None
        parameters = resume(live.module, checkpoint, plan) if checkpoint and plan else fresh(live.module)
        checked, batches = _checked(live, batches, options)
        meter = stack.enter_context(Meter("training", shown=options.progress))
        replayed = train(
            Training(
                live=live,
                parameters=parameters,
                batches=batches,
                lrs=_lrs(checkpoint, plan, options),
                opponent=opponent_named(options.against),
                kind="model",
                start=plan.steps if plan else 0,
                keep=options.save is not None,
                progress=meter.tell,
            )
        )
        told = replay_file.saved(checkpoint, replayed, options) if checkpoint is not None else ()
        return _report(checkpoint, _with_notes(replayed, plan), parameters, checked, options, told)


def _lrs(checkpoint: Checkpoint | None, plan: Plan | None, options: Options) -> Sequence[tuple[float, ...]]:
    steps = DEFAULT_STEPS if options.steps is None else options.steps
    if checkpoint is None or plan is None:
        return [(float(DEFAULTS["lr"]),)] * steps
    return continued(checkpoint, plan.lrs, plan.steps, steps) if options.scheduler else [plan.lrs] * steps


def _checked(live: Live, batches: Iterator[Any], options: Options) -> tuple[tuple[Coordinate, ...], Iterator[Any]]:
    """Gradients on the first batch, which is trained on all the same."""
    if options.check_gradients is None:
        return (), batches
    first = next(batches, None)
    if first is None:
        raise UsageError(f"--data {options.data}: no batches")
    return replay_gradients.checked(live, first, options.check_gradients, options.seed), chain([first], batches)


def _with_notes(replayed: Replayed, plan: Plan | None) -> Replayed:
    return replace(replayed, skipped=plan.skipped, notes=plan.notes) if plan else replayed


def _report(
    checkpoint: Checkpoint | None,
    replayed: Replayed,
    parameters: Sequence[Trained],
    checked: tuple[Coordinate, ...],
    options: Options,
    told: tuple[Line, ...],
) -> Report:
    tables = [replay_tables.steps(replayed), replay_tables.parameters(replayed)]
    tables += [replay_gradients.table(checked)] if checked else []
    model = f"{options.model}: {len(parameters)} parameters stepped, data {options.data}"
    return Report(
        command="replay",
        status=max(replay_words.status(replayed), replay_gradients.status(checked)),
        inputs=checkpoint.inputs if checkpoint else (),
        summary=replay_tables.summary(replayed) | replay_gradients.summary(checked),
        tables=(
            *replay_tables.shortened(options.selection.apply(tables), options.most),
            replay_tables.skipped(replayed.skipped),
        ),
        headline=(
            *replay_words.sides(replayed),
            replay_words.gradients(replayed, options.seed),
            Line("model", model),
        ),
        footer=(
            *replay_words.notes(replayed),
            *told,
            *replay_words.result(replayed),
            *replay_gradients.lines(checked),
        ),
    )
