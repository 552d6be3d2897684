"""`optinspect replay` without a file: a small language model trained by two implementations of AdamW, explained."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any

from optinspect.commands import replay_gradients, replay_tables, replay_words
from optinspect.commands.replay import Options
from optinspect.commands.wording import counted
from optinspect.replaying.bigram import BATCH, TEXT, WIDTH, Change, Demonstration, batches, demonstrate, model
from optinspect.replaying.gradients import DEFAULT_STEPS
from optinspect.replaying.numeric_gradients import Coordinate
from optinspect.report import Column, Line, Report, Table, Unit

CHANGES = (
    Column("step", "step", Unit.STEP, 0),
    Column("characters", "characters of the batch", Unit.TEXT, 1),
    Column("rows_with_gradient", "rows with a gradient", Unit.COUNT, 0),
    Column("rows_moved", "rows moved", Unit.COUNT, 0),
    Column("embedding_update_norm", "embedding moved by", Unit.REAL, 1),
    Column("head_update_norm", "lm_head moved by", Unit.REAL, 1),
)

VISIBLE = str.maketrans({" ": "␣", "\n": "↵"})


def build(options: Options) -> Report:
    steps = DEFAULT_STEPS if options.steps is None else options.steps
    shown = demonstrate(steps, seed=options.seed, against=options.against)
    tables = [replay_tables.steps(shown.replayed), _changes(shown), replay_tables.parameters(shown.replayed)]
    checked: tuple[Coordinate, ...] = ()
    if options.check_gradients is not None:
        live, batch = model(options.seed), next(batches(options.seed))
        checked = replay_gradients.checked(live, batch, options.check_gradients, options.seed)
        tables.append(replay_gradients.table(checked))
    return Report(
        command="replay",
        status=max(replay_words.status(shown.replayed), replay_gradients.status(checked)),
        inputs=(),
        summary=replay_tables.summary(shown.replayed) | replay_gradients.summary(checked),
        tables=options.selection.apply(tables),
        headline=tuple(_headline(shown)),
        footer=(*_explained(shown), *replay_words.result(shown.replayed), *replay_gradients.lines(checked)),
        next_command="optinspect replay CHECKPOINT",
    )


def _headline(shown: Demonstration) -> Iterator[Line]:
    steps = counted(len(shown.replayed.steps), "step")
    yield Line(
        "what", f"a bigram language model (it sees one character and guesses the next) trained twice for {steps}"
    )
    yield from replay_words.sides(shown.replayed)
    yield Line("text", f"{len(TEXT)} characters, {shown.characters} different ones; {BATCH} neighbouring pairs a step")
    table = f"token_embedding_table.weight {shown.characters}×{WIDTH}: a row for what is known about each character"
    yield Line("model", table)
    head = f"lm_head.weight {shown.characters}×{WIDTH} and lm_head.bias {shown.characters}"
    yield Line("model", f"{head}: from that row to a score for each character that may follow")


def _changes(shown: Demonstration) -> Table:
    return Table("changes", "What each step changed", CHANGES, [_change(each) for each in shown.changes])


def _change(change: Change) -> dict[str, Any]:
    return {
        "step": change.step,
        "characters": change.characters.translate(VISIBLE),
        "rows_with_gradient": change.rows_with_gradient,
        "rows_moved": change.rows_moved,
        "embedding_update_norm": change.embedding_norm,
        "head_update_norm": change.head_norm,
    }


def _explained(shown: Demonstration) -> Iterator[Line]:
    losses = [row.loss for row in shown.replayed.steps if row.loss is not None]
    blind = f"guessing among {shown.characters} gives {log(shown.characters):.2f}"
    course = f"here {losses[0]:.2f} at first, {losses[-1]:.2f} at last"
    yield Line("loss", f"how surprised the model is by the next character: {blind}, {course}")
    yield Line("gradient", "L2 norm over all parameters: how steeply the loss goes up, and in the tables which way")
    yield Line(
        "update",
        "L2 norm of what AdamW makes of it: the gradient's running mean (exp_avg) divided by the root of its running "
        "square (exp_avg_sq), so that an element moves by about lr however large its gradient is",
    )
    first = shown.changes[0]
    yield Line(
        "rows",
        f"in the embedding only the characters of the batch have a gradient: {first.rows_with_gradient} rows of "
        f"{first.rows} at step 1. The others move too: weight decay shrinks every row a little, and momentum carries "
        "on those that had a gradient before",
    )
    yield Line("1 − β^t", "bias correction: both averages start at 0 and are divided by this until they have filled")
    yield Line("difference", "between the two implementations; an ulp is the gap from one float to the next")
