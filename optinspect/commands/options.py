"""The options of the command line, each declared once; `cli.py` puts them together into commands."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from optinspect.errors import UsageError
from optinspect.render import RENDERERS
from optinspect.render.base import everything

FORMATS = ", ".join(each.name for each in RENDERERS if each.accepts is everything)
CHECK_FORMATS = ", ".join(each.name for each in RENDERERS)

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

Parameter = Annotated[str, typer.Argument(metavar="PARAM", help="A parameter's name, or its index.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="I,J,…", help="The element, from 0 on [default: the one that moves furthest]."),
]
Zero = Annotated[bool, typer.Option("--zero", help="The next step, if its gradient were 0.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="The next step, its gradient drawn from the moments.")]
ExplainRule = Annotated[
    str | None,
    typer.Option("--rule", metavar="RULE", help="Explain it by this rule, where the file does not tell its own."),
]
Seed = Annotated[str | None, typer.Option("--seed", metavar="N", help="Of what is drawn [default: 0].")]

Checkpoint = Annotated[
    str | None, typer.Argument(metavar="PATH", help="A checkpoint, file or directory; none: a demonstration.")
]
Steps = Annotated[
    str | None,
    typer.Option("--steps", metavar="N", help="How many [default: all that are recorded, else 10]."),
]
Rule = Annotated[
    str | None, typer.Option("--rule", metavar="NAME", help="A step rule, instead of the one the file tells.")
]
Against = Annotated[
    str,
    typer.Option("--against", metavar="NAME", help="torch, torch-foreach, torch-fused, or a step rule."),
]
Grads = Annotated[
    list[str],
    typer.Option("--grads", metavar="FILE|DIR", help="Recorded gradients. Repeatable: parts are joined by step."),
]
ReplaySynthetic = Annotated[
    bool, typer.Option("--synthetic", help="Gradients drawn from what the moments describe (the default).")
]
ReplayZero = Annotated[bool, typer.Option("--zero", help="Gradients of 0: what momentum and decay still do.")]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MOD:FUNC", help="Your code: returns a Module, or (Module, loss function)."),
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="MOD:NAME", help="Your code: batches, or a function that returns them.")
]
Scheduler = Annotated[bool, typer.Option("--scheduler", help="Continue the checkpoint's own lr schedule.")]
CheckGradients = Annotated[
    str | None,
    typer.Option("--check-gradients", metavar="K", help="Compare K gradients a parameter with differences."),
]
Save = Annotated[
    str | None, typer.Option("--save", metavar="OUT", help="Write the replayed checkpoint, never over its input.")
]

PathA = Annotated[str, typer.Argument(metavar="A", help="A checkpoint, the older one as a rule.")]
PathB = Annotated[str, typer.Argument(metavar="B", help="The checkpoint to compare it with.")]
Only = Annotated[
    list[str],
    typer.Option("--only", metavar="PART", help="Only weights, state, groups or other. Repeatable."),
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

To = Annotated[str | None, typer.Option("--to", metavar="B", help="Prove what happened from PATH to this later one.")]
Strict = Annotated[bool, typer.Option("--strict", help="With --to: exit with 2 where the files decide nothing.")]
Previous = Annotated[
    str | None, typer.Option("--previous", metavar="A", help="The save before it: names that the step between proves.")
]

Before = Annotated[
    str | None,
    typer.Option("--previous", metavar="P", help="An earlier checkpoint of the run: prove the steps between."),
]
Paths = Annotated[list[str], typer.Argument(metavar="PATH…", help="Checkpoints: files or directories.")]
Select = Annotated[
    list[str], typer.Option("--select", metavar="CODE", help="Only these rules: OI304, or all of OI3. Repeatable.")
]
Ignore = Annotated[
    list[str], typer.Option("--ignore", metavar="CODE", help="Leave these rules out; they are counted. Repeatable.")
]
FailOn = Annotated[
    str, typer.Option("--fail-on", metavar="LEVEL", help="Exit with 1 from here on: error, warning, note, never.")
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit with 0 whatever is found.")]
RuleStatistics = Annotated[bool, typer.Option("--statistics", help="Every rule with what it gave.")]
Code = Annotated[str | None, typer.Argument(metavar="[CODE]", help="A rule, as in a finding: OI304.")]
CheckFormat = Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help=f"One of {CHECK_FORMATS}.")]

Format = Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help=f"One of {FORMATS}.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
File = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the report to FILE, whole or not at all."),
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


COUNT = re.compile(r"\d{1,12}", re.ASCII)
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([kmgt]?)(?:i?b)?", re.ASCII)
SIZES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_count(option: str, text: str | None) -> int | None:
    """A whole number from 0 on. Raises UsageError."""
    if text is None:
        return None
    if not COUNT.fullmatch(text):
        raise UsageError(f"{option} {text}: expected a whole number from 0 on")
    return int(text)


def parse_size(text: str | None) -> int | None:
    """Bytes of "500000", "512MiB", "4G": powers of 1024. Raises UsageError."""
    match = SIZE.fullmatch(text.strip().lower()) if text is not None else None
    if text is None:
        return None
    if match is None or not float(match[1]):
        raise UsageError(f"--max-memory {text}: not a size (expected 512MiB, 4GiB, …)")
    return int(float(match[1]) * 1024 ** SIZES[match[2]])


class Texts:
    """Typer's own conversion of an option's words, for options that are all texts.

    Typer 0.29 converts with pydantic, whose import takes 0.1 s: a third of what `show --no-stats` takes in all. The
    options above are texts and switches, so there is nothing to convert; older Typers do without pydantic.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002  the signature is Typer's
        return () if value is None and param.multiple else value


def without_pydantic(group: Any) -> Any:
    """The command line `group`, its options read as the texts that they are."""
    top = typer.Context(group, **group.context_settings)
    contexts = (top, *(typer.Context(each, parent=top, **each.context_settings) for each in group.commands.values()))
    for context in contexts:
        for parameter in context.command.get_params(context):
            if hasattr(parameter, "_runtime_param"):
                parameter._runtime_param = Texts()
    return group
