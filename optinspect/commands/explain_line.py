"""The command line of `optinspect explain`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.emit import Output
from optinspect.commands.task import Task
from optinspect.report import Report


def explain(  # noqa: PLR0913, PLR0917  one argument an option
    path: opt.Path,
    parameter: opt.Parameter,
    at: opt.At = None,
    zero: opt.Zero = False,
    synthetic: opt.Synthetic = False,
    seed: opt.Seed = None,
    rule: opt.ExplainRule = None,
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

    output = Output("json" if json else form, file, force, table, opt.parse_count("--width", width), quiet)

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
