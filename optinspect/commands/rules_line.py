"""The command line of `optinspect rules`."""

from __future__ import annotations

from optinspect.commands import options as opt
from optinspect.commands.task import Task, output_of
from optinspect.report import Report


def rules(
    code: opt.Code = None,
    table: opt.OneTable = None,
    form: opt.Format = "table",
    json: opt.Json = False,
    file: opt.File = None,
    force: opt.Force = False,
    width: opt.Width = None,
    quiet: opt.Quiet = False,
) -> Task:
    """What `check` looks for: every rule in a line, or the manual page of one."""

    output = output_of(form, json, file, force, table, width, quiet=quiet)

    def build() -> Report:
        from optinspect.commands import rules as command  # noqa: PLC0415

        return command.build(code)

    return Task("rules", code or "rules", output, build)
