"""The command line of `optinspect check`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.task import Task, output_of
from optinspect.report import Report


def check(  # noqa: PLR0913, PLR0917  one argument an option
    paths: opt.Paths = [],  # noqa: B006  Typer copies it
    select: opt.Select = [],  # noqa: B006  Typer copies it
    ignore: opt.Ignore = [],  # noqa: B006
    fail_on: opt.FailOn = None,
    exit_zero: opt.ExitZero = False,
    statistics: opt.RuleStatistics = False,
    previous: opt.Before = None,
    previous_model_state: opt.BeforeModel = None,
    model: opt.CheckModel = None,
    optimizer: opt.CheckOptimizer = None,
    latest: opt.Latest = None,
    baseline: opt.Baseline = None,
    update_baseline: opt.UpdateBaseline = False,
    config: opt.Config = None,
    no_config: opt.NoConfig = False,
    write_config: opt.WriteConfig = False,
    model_state: opt.ModelState = None,
    model_key: opt.ModelKey = None,
    optimizer_key: opt.OptimizerKey = None,
    max_memory: opt.MaxMemory = None,
    use_transformers: opt.UseTransformers = False,
    table: opt.OneTable = None,
    form: opt.CheckFormat = "table",
    json: opt.Json = False,
    file: opt.File = None,
    force: opt.Force = False,
    width: opt.Width = None,
    summary: opt.Summary = None,
    quiet: opt.Quiet = False,
) -> Task:
    """Will training resume from this exactly as it would have gone on? If not: what is wrong, where, and the repair.

    Exit status: 0 nothing at or above --fail-on, 1 findings, 2 could not answer.
    """

    report_to = None if write_config else file
    output = output_of(form, json, report_to, force, table, width, quiet=quiet, summary=summary)

    def build() -> Report:
        from optinspect.commands import check as command  # noqa: PLC0415  reads nothing before it is needed
        from optinspect.commands import check_policy  # noqa: PLC0415
        from optinspect.commands.check_choice import Choice, parse  # noqa: PLC0415

        choice = Choice(parse("--select", select), parse("--ignore", ignore))
        options = command.Options(
            choice=choice,
            exit_zero=exit_zero,
            statistics=statistics,
            previous=previous,
            previous_model_state=previous_model_state,
            model=model,
            optimizer=optimizer,
            latest=latest,
            baseline=baseline,
            update_baseline=update_baseline,
            model_state=model_state,
            model_key=model_key,
            optimizer_key=optimizer_key,
            max_memory=opt.parse_size(max_memory),
            use_transformers=use_transformers,
            progress=not quiet,
        )
        if write_config:
            from optinspect.commands import check_write  # noqa: PLC0415  it loads PyYAML

            return check_write.build(paths, options, file, force=force, asked=(config, fail_on))
        asked = check_policy.wanted(config, no_config)
        return command.build(paths, check_policy.under(asked, options, fail_on and command.level(fail_on)))

    return Task("check", (paths or [latest or "check"])[0], output, build)
