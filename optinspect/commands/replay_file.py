"""`optinspect replay CHECKPOINT`: its parameters stepped on, parameter by parameter."""

from __future__ import annotations

from contextlib import ExitStack

from optinspect.checkpoint import Checkpoint
from optinspect.commands import replay_tables, replay_words
from optinspect.commands.progress import Meter
from optinspect.commands.replay import Options
from optinspect.commands.wording import command_line
from optinspect.recordings import open_recording
from optinspect.replaying import Replayed, replay
from optinspect.replaying.gradients import Described, Gradients, Zero
from optinspect.replaying.recorded import Recorded
from optinspect.report import Line, Report


def build(path: str, options: Options) -> Report:
    with ExitStack() as stack:
        checkpoint = stack.enter_context(options.open(path, options.model_state))
        source = _source(options, stack)
        check_target(checkpoint, options)
        shown = stack.enter_context(Meter("replaying", shown=options.progress))
        replayed = replay(
            checkpoint,
            source,
            options.steps,
            rule=options.rule,
            against=options.against,
            scheduler=options.scheduler,
            keep=options.save is not None,
            progress=shown.tell,
        )
        told = saved(checkpoint, replayed, options)
        for tree in checkpoint.trees:
            tree.verify_unchanged()
        return report_of(replayed, checkpoint, path, options, told)


def _source(options: Options, stack: ExitStack) -> Gradients:
    if options.grads:
        return Recorded(stack.enter_context(open_recording(options.grads)))
    return Zero() if options.zero else Described(options.seed)


def check_target(checkpoint: Checkpoint, options: Options) -> None:
    """Refuse before the work what would be refused after it. Raises UsageError."""
    if options.save is not None:
        from optinspect.replaying import saving  # noqa: PLC0415

        saving.check_target(options.save, checkpoint, force=options.force)


def saved(checkpoint: Checkpoint, replayed: Replayed, options: Options) -> tuple[Line, ...]:
    if options.save is None:
        return ()
    from optinspect.replaying.saving import save  # noqa: PLC0415

    notes = save(options.save, checkpoint, replayed, scheduler=options.scheduler, force=options.force)
    return (Line("saved", options.save), *(Line("saved", note) for note in notes))


def report_of(
    replayed: Replayed, checkpoint: Checkpoint, path: str, options: Options, told: tuple[Line, ...]
) -> Report:
    tables = [replay_tables.steps(replayed), replay_tables.parameters(replayed)]
    return Report(
        command="replay",
        status=replay_words.status(replayed),
        inputs=checkpoint.inputs,
        summary=replay_tables.summary(replayed),
        tables=(
            *replay_tables.shortened(options.selection.apply(tables), options.most),
            replay_tables.skipped(replayed.skipped),
        ),
        headline=(*replay_words.sides(replayed), replay_words.gradients(replayed, options.seed)),
        footer=(*replay_words.notes(replayed), *told, *replay_words.result(replayed)),
        next_command=_next(replayed, path),
    )


def _next(replayed: Replayed, path: str) -> str | None:
    """The real gradients where these were drawn; what momentum does alone where they were real."""
    if replayed.source == "synthetic":
        return f"{command_line('optinspect', 'replay', path)} --grads FILE"
    return command_line("optinspect", "replay", path, "--zero") if replayed.source == "recorded" else None
