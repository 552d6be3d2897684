"""The command line of `optinspect show`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.collapse_choice import beyond
from optinspect.commands.show_tree_choice import trees_of
from optinspect.commands.task import Task, output_of, selection_of
from optinspect.report import Report


def show(  # noqa: PLR0913, PLR0917  one argument an option
    paths: opt.Paths,
    no_stats: opt.NoStats = False,
    weights: opt.Weights = False,
    group: opt.Group = None,
    filters: opt.Filter = [],  # noqa: B006  Typer copies it
    sort: opt.Sort = None,
    limit: opt.Limit = None,
    where: opt.Where = [],  # noqa: B006
    columns: opt.Columns = None,
    collapse: opt.Collapse = None,
    dead: opt.Dead = False,
    tree: opt.Tree = False,
    side_by_side: opt.SideBySide = False,
    depth: opt.Depth = None,
    previous: opt.Previous = None,
    model_state: opt.ModelState = None,
    model_key: opt.ModelKey = None,
    optimizer_key: opt.OptimizerKey = None,
    max_memory: opt.MaxMemory = None,
    use_transformers: opt.UseTransformers = False,
    table: opt.OneTable = None,
    form: opt.Format = "table",
    json: opt.Json = False,
    file: opt.File = None,
    force: opt.Force = False,
    width: opt.Width = None,
    quiet: opt.Quiet = False,
) -> Task:
    """What a checkpoint holds: groups, parameters by name, the state of each, and its statistics."""

    selection = selection_of(group, filters, where, sort, limit, columns, table)
    output = output_of(form, json, file, force, table, width, quiet=quiet)
    folded_beyond = beyond(collapse, output, selection)
    trees = trees_of(tree, side_by_side, depth, selection, output, collapse)

    def build() -> Report:
        from optinspect.commands.show import Options  # noqa: PLC0415  reads nothing before it is needed
        from optinspect.commands.show_several import build  # noqa: PLC0415

        return build(
            paths,
            Options(
                statistics=not no_stats,
                weights=weights,
                selection=selection,
                collapse=folded_beyond,
                dead=dead,
                model_state=model_state,
                model_key=model_key,
                optimizer_key=optimizer_key,
                max_memory=opt.parse_size(max_memory),
                use_transformers=use_transformers,
                progress=not quiet,
                previous=previous,
                trees=trees,
            ),
        )

    return Task("show", paths[0], output, build)
