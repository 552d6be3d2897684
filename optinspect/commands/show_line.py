"""The command line of `optinspect show`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.emit import Output
from optinspect.commands.selection import Selection
from optinspect.commands.task import Task
from optinspect.report import Report


def show(  # noqa: PLR0913, PLR0917  one argument an option
    path: opt.Path,
    no_stats: opt.NoStats = False,
    weights: opt.Weights = False,
    group: opt.Group = None,
    filters: opt.Filter = [],  # noqa: B006  Typer copies it
    sort: opt.Sort = None,
    limit: opt.Limit = None,
    previous: opt.Previous = None,
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
    """What a checkpoint holds: groups, parameters by name, the state of each, and its statistics."""

    selection = Selection(opt.parse_count("--group", group), tuple(filters), sort, opt.parse_count("--limit", limit))
    output = Output("json" if json else form, file, force, table, opt.parse_count("--width", width), quiet)

    def build() -> Report:
        from optinspect.commands.show import Options, build  # noqa: PLC0415  reads nothing before it is needed

        return build(
            path,
            Options(
                statistics=not no_stats,
                weights=weights,
                selection=selection,
                model_state=model_state,
                model_key=model_key,
                optimizer_key=optimizer_key,
                max_memory=opt.parse_size(max_memory),
                progress=not quiet,
                previous=previous,
            ),
        )

    return Task("show", path, output, build)
