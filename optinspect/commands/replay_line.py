"""The command line of `optinspect replay`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands import step_options as own
from optinspect.commands.selection import Selection
from optinspect.commands.task import Task, output_of
from optinspect.report import Report


def replay(  # noqa: PLR0913, PLR0917  one argument an option
    path: own.Checkpoint = None,
    to: own.To = None,
    steps: own.Steps = None,
    grads: own.Grads = [],  # noqa: B006  Typer copies it
    synthetic: own.ReplaySynthetic = False,
    zero: own.ReplayZero = False,
    model: own.Model = None,
    data: own.Data = None,
    rule: own.Rule = None,
    against: own.Against = "torch",
    scheduler: own.Scheduler = False,
    check_gradients: own.CheckGradients = None,
    save: own.Save = None,
    seed: own.Seed = None,
    sort: opt.Sort = None,
    limit: opt.Limit = None,
    strict: own.Strict = False,
    model_state: opt.ModelState = None,
    model_state_a: opt.ModelStateA = None,
    model_state_b: opt.ModelStateB = None,
    model_key: opt.ModelKey = None,
    optimizer_key: opt.OptimizerKey = None,
    max_memory: opt.MaxMemory = None,
    table: opt.OneTable = None,
    form: opt.Format = "table",
    json: opt.Json = False,
    file: opt.File = None,
    force: opt.Force = False,
    width: opt.Width = None,
    quiet: opt.Quiet = False,
) -> Task:
    """Run steps from a checkpoint under its own rule and under another, and compare the two.

    With --to: what the optimizer did up to that later checkpoint, proved from the two files. Exit status 1: refuted.

    Without a file: a small language model trained step by step, explained. Exit status 1: the two differ.
    """

    output = output_of(form, json, file, force, table, width, quiet=quiet)

    def build() -> Report:
        from optinspect.commands import replay as command  # noqa: PLC0415

        options = command.Options(
            steps=opt.parse_count("--steps", steps),
            rule=rule,
            against=against,
            grads=tuple(grads),
            zero=zero,
            synthetic=synthetic,
            model=model,
            data=data,
            scheduler=scheduler,
            seed=opt.parse_count("--seed", seed) or 0,
            check_gradients=opt.parse_count("--check-gradients", check_gradients),
            save=save,
            force=force,
            selection=Selection(None, (), sort, opt.parse_count("--limit", limit)),
            most=10 if output.format == "table" and limit is None else None,
            model_state=model_state,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=opt.parse_size(max_memory),
            progress=not quiet,
            to=to,
            strict=strict,
            model_states=(model_state_a or model_state, model_state_b),
        )
        return command.build(path, options)

    return Task("replay", path or "replay", output, build)
