"""The options of the command line, each declared once; `cli.py` puts them together into commands."""

from __future__ import annotations

from typing import Annotated

import typer

from optinspect.commands import completion as tab
from optinspect.commands.numbers import parse_count as parse_count  # noqa: PLC0414  command lines have it from here
from optinspect.commands.numbers import parse_size as parse_size  # noqa: PLC0414

FORMATS = ", ".join(tab.formats())
CHECK_FORMATS = ", ".join(tab.check_formats())

Path = Annotated[str, typer.Argument(metavar="PATH", help="A checkpoint: a file, or a directory.")]

NoStats = Annotated[bool, typer.Option("--no-stats", help="Structure only: read no tensor's values.")]
Weights = Annotated[bool, typer.Option("--weights", help="Statistics of the model's weights too.")]
Group = Annotated[str | None, typer.Option("--group", metavar="N", help="Only this parameter group.")]
Filter = Annotated[
    list[str],
    typer.Option("--filter", metavar="GLOB", help="Only names like this; !GLOB leaves them out. Repeatable."),
]
Sort = Annotated[
    str | None,
    typer.Option("--sort", metavar="COLUMN[:desc]", help="Order of the rows, by any column that --json has."),
]
Limit = Annotated[str | None, typer.Option("--limit", metavar="N", help="At most N rows of each table.")]
Where = Annotated[
    list[str], typer.Option("--where", metavar="COND", help="Only rows like this: 'update_ratio>1e-3'. Repeatable.")
]
Columns = Annotated[
    str | None, typer.Option("--columns", metavar="A,B,…", help="Only these columns, of those that --json has.")
]
Collapse = Annotated[
    bool | None,
    typer.Option("--collapse/--no-collapse", help="Repeated layers in one row  [default: where the screen is short]"),
]
Dead = Annotated[bool, typer.Option("--dead", help="Rows and channels whose moments are all 0.")]
Tree = Annotated[bool, typer.Option("--tree", help="The objects of the file, like a directory listing.")]
SideBySide = Annotated[
    bool,
    typer.Option("--side-by-side", help="With --tree: the model's tensors beside the optimizer's state of each."),
]
Depth = Annotated[str | None, typer.Option("--depth", metavar="N", help="With --tree: at most N levels.")]
ModelState = Annotated[
    str | None,
    typer.Option("--model-state", metavar="FILE", help="The model's state_dict, where it lies in a file of its own."),
]
ModelKey = Annotated[
    str | None,
    typer.Option("--model-key", metavar="ROUTE", help="Where the model is, if several places are possible."),
]
OptimizerKey = Annotated[
    str | None,
    typer.Option("--optimizer-key", metavar="ROUTE", help="Where the optimizer is, likewise."),
]
MaxMemory = Annotated[
    str | None,
    typer.Option("--max-memory", metavar="SIZE", help="Bytes the structure of a file may take  [default: 1GiB]"),
]
UseTransformers = Annotated[
    bool,
    typer.Option(
        "--use-transformers", help="Names from the model's class in your installed transformers (no weights)."
    ),
]

PathA = Annotated[str, typer.Argument(metavar="A", help="A checkpoint, the older one as a rule.")]
PathB = Annotated[str, typer.Argument(metavar="B", help="The checkpoint to compare it with.")]
Only = Annotated[
    list[str],
    typer.Option(
        "--only", metavar="PART", help="Only weights, state, groups or other. Repeatable.", autocompletion=tab.parts
    ),
]
Rtol = Annotated[
    str | None, typer.Option("--rtol", metavar="X", help="Equal: |a-b| <= atol + rtol max(|a|,|b|) [default: 0].")
]
Atol = Annotated[str | None, typer.Option("--atol", metavar="X", help="The absolute part of it [default: 0].")]
Chart = Annotated[bool, typer.Option("--chart", help="A chart of the relative change by layer.")]
TrustCrc = Annotated[
    bool,
    typer.Option("--trust-crc", help="Believe the files' own checksums instead of reading tensors that have the same."),
]
ModelStateA = Annotated[
    str | None, typer.Option("--model-state-a", metavar="FILE", help="The model of A, where it lies in another file.")
]
ModelStateB = Annotated[str | None, typer.Option("--model-state-b", metavar="FILE", help="The model of B, likewise.")]

Previous = Annotated[
    str | None, typer.Option("--previous", metavar="A", help="The save before it: names that the step between proves.")
]

Before = Annotated[
    str | None,
    typer.Option("--previous", metavar="P", help="An earlier checkpoint of the run: prove the steps between."),
]
BeforeModel = Annotated[
    str | None,
    typer.Option("--previous-model-state", metavar="FILE", help="Its model, where that lies in a file of its own."),
]
Paths = Annotated[list[str], typer.Argument(metavar="PATH", help="Checkpoints: files, directories, patterns.")]
CheckModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MOD:FUNC", help="Your function that makes the model: compare, and try the resume."
    ),
]
CheckOptimizer = Annotated[
    str | None,
    typer.Option("--optimizer", metavar="MOD:FUNC", help="With --model: makes the optimizer; is given the model."),
]
Latest = Annotated[
    str | None,
    typer.Option("--latest", metavar="DIR", help="The newest checkpoint in DIR that passes; with -q its path alone."),
]
Baseline = Annotated[
    str | None, typer.Option("--baseline", metavar="FILE", help="Known findings: they are counted, but do not fail.")
]
UpdateBaseline = Annotated[
    bool, typer.Option("--update-baseline", help="Write FILE of --baseline: what is found now is known.")
]
Summary = Annotated[
    str | None,
    typer.Option("--summary", metavar="FILE", help="Append the report to FILE as Markdown: $GITHUB_STEP_SUMMARY."),
]
Select = Annotated[
    list[str],
    typer.Option(
        "--select", metavar="CODE", help="Only these rules: OI304, or all of OI3. Repeatable.", autocompletion=tab.codes
    ),
]
Ignore = Annotated[
    list[str],
    typer.Option(
        "--ignore",
        metavar="CODE",
        help="Leave these rules out; they are counted. Repeatable.",
        autocompletion=tab.codes,
    ),
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="LEVEL",
        help="Exit with 1 from here on: error, warning, note, never  [default: error]",
        autocompletion=tab.levels,
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="A policy  [default: optinspect.yaml, found upward from here]"),
]
NoConfig = Annotated[bool, typer.Option("--no-config", help="Go by no policy.")]
WriteConfig = Annotated[
    bool,
    typer.Option("--write-config", help="Write the policy that PATH, a healthy one, passes: optinspect.yaml, or -o."),
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 whatever is found.")]
RuleStatistics = Annotated[bool, typer.Option("--statistics", help="Every rule with what it gave.")]
Code = Annotated[
    str | None, typer.Argument(metavar="[CODE]", help="A rule, as in a finding: OI304.", autocompletion=tab.codes)
]
CheckFormat = Annotated[
    str,
    typer.Option("--format", "-f", metavar="FORMAT", help=f"One of {CHECK_FORMATS}.", autocompletion=tab.check_formats),
]

Format = Annotated[
    str, typer.Option("--format", "-f", metavar="FORMAT", help=f"One of {FORMATS}.", autocompletion=tab.formats)
]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
File = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the report to FILE, whole or not at all; - is stdout."),
]
Force = Annotated[bool, typer.Option("--force", help="Let -o replace a file.")]
OneTable = Annotated[
    str | None,
    typer.Option("--table", metavar="NAME", help="Only this table; csv needs it."),
]
Width = Annotated[
    str | None,
    typer.Option("--width", metavar="N", help="Columns of a line; 0: as many as it takes."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors; the exit status tells.")]
