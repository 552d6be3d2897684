"""The command line of `optinspect check`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.emit import Output
from optinspect.commands.task import Task
from optinspect.report import Report


def check(  # noqa: PLR0913, PLR0917  one argument an option
    paths: opt.Paths,
    select: opt.Select = [],  # noqa: B006  Typer copies it
    ignore: opt.Ignore = [],  # noqa: B006
    fail_on: opt.FailOn = "error",
    exit_zero: opt.ExitZero = False,
    statistics: opt.RuleStatistics = False,
    previous: opt.Before = None,
    model_state: opt.ModelState = None,
    model_key: opt.ModelKey = None,
    optimizer_key: opt.OptimizerKey = None,
    max_memory: opt.MaxMemory = None,
    table: opt.OneTable = None,
    form: opt.CheckFormat = "table",
    json: opt.Json = False,
    file: opt.File = None,
    force: opt.Force = False,
    width: opt.Width = None,
    quiet: opt.Quiet = False,
) -> Task:
    """Will training resume from this exactly as it would have gone on? If not: what is wrong, where, and the repair.

    Exit status: 0 nothing at or above --fail-on, 1 findings, 2 could not answer.
    """

    output = Output("json" if json else form, file, force, table, opt.parse_count("--width", width), quiet)

    def build() -> Report:
        from optinspect.commands import check as command  # noqa: PLC0415  reads nothing before it is needed
        from optinspect.commands.check_choice import Choice, parse  # noqa: PLC0415

        choice = Choice(parse("--select", select), parse("--ignore", ignore))
        return command.build(
            paths,
            command.Options(
                choice=choice,
                fail_on=command.level(fail_on),
                exit_zero=exit_zero,
                statistics=statistics,
                previous=previous,
                model_state=model_state,
                model_key=model_key,
                optimizer_key=optimizer_key,
                max_memory=opt.parse_size(max_memory),
                progress=not quiet,
            ),
        )

    return Task("check", paths[0], output, build)
