"""The command line of `optinspect explain`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands import step_options as own
from optinspect.commands.task import Task, output_of
from optinspect.report import Report


def explain(  # noqa: PLR0913, PLR0917  one argument an option
    path: opt.Path,
    parameter: own.Parameter,
    at: own.At = None,
    zero: own.Zero = False,
    synthetic: own.Synthetic = False,
    seed: own.Seed = None,
    rule: own.ExplainRule = None,
    model_state: opt.ModelState = None,
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
    """The last step of one parameter as a person would work it out, with the numbers of one element."""

    output = output_of(form, json, file, force, table, width, quiet=quiet)

    def build() -> Report:
        from optinspect.commands import explain as command  # noqa: PLC0415

        return command.build(
            path,
            parameter,
            command.Options(
                at=command.parse_at(at),
                source=command.source_of(zero, synthetic),
                seed=opt.parse_count("--seed", seed) or 0,
                rule=rule,
                model_state=model_state,
                model_key=model_key,
                optimizer_key=optimizer_key,
                max_memory=opt.parse_size(max_memory),
                progress=not quiet,
            ),
        )

    return Task("explain", path, output, build)
