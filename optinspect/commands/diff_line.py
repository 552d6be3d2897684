"""The command line of `optinspect diff`: its options, and what they ask for."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.emit import FOR_PEOPLE
from optinspect.commands.task import Task, output_of, selection_of
from optinspect.report import Report


def diff(  # noqa: PLR0913, PLR0917  one argument an option
    a: opt.PathA,
    b: opt.PathB,
    only: opt.Only = [],  # noqa: B006  Typer copies it
    rtol: opt.Rtol = None,
    atol: opt.Atol = None,
    chart: opt.Chart = False,
    trust_crc: opt.TrustCrc = False,
    filters: opt.Filter = [],  # noqa: B006  Typer copies it
    sort: opt.Sort = None,
    limit: opt.Limit = None,
    where: opt.Where = [],  # noqa: B006
    columns: opt.Columns = None,
    model_state_a: opt.ModelStateA = None,
    model_state_b: opt.ModelStateB = None,
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
    """What changed between two checkpoints, aligned by the names of their parameters.

    Exit status: 0 identical (within --rtol and --atol; exactly, without them), 1 different, 2 could not compare.
    """

    selection = selection_of(None, filters, where, sort, limit, columns, table)
    output = output_of(form, json, file, force, table, width, quiet=quiet)

    def build() -> Report:
        from optinspect.commands import diff as command  # noqa: PLC0415  reads nothing before it is needed

        return command.build(
            a,
            b,
            command.Options(
                only=command.parse_only(only),
                rtol=command.parse_tolerance("--rtol", rtol),
                atol=command.parse_tolerance("--atol", atol),
                chart=chart,
                trust_crc=trust_crc,
                selection=selection,
                brief=output.format in FOR_PEOPLE,
                model_state_a=model_state_a,
                model_state_b=model_state_b,
                model_key=model_key,
                optimizer_key=optimizer_key,
                max_memory=opt.parse_size(max_memory),
                use_transformers=use_transformers,
                progress=not quiet,
            ),
        )

    return Task("diff", f"{a} and {b}", output, build)
