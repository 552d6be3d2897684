"""The options of `explain` and `replay` alone; those that other commands have too are in `options.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from optinspect.commands import completion as tab

Parameter = Annotated[str, typer.Argument(metavar="PARAM", help="A parameter's name, or its index.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="I,J,…", help="The element, from 0 on [default: the one that moves furthest]."),
]
Zero = Annotated[bool, typer.Option("--zero", help="The next step, if its gradient were 0.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="The next step, its gradient drawn from the moments.")]
ExplainRule = Annotated[
    str | None,
    typer.Option(
        "--rule",
        metavar="RULE",
        help="Explain it by this rule, where the file does not tell its own.",
        autocompletion=tab.step_rules,
    ),
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
    str | None,
    typer.Option(
        "--rule", metavar="NAME", help="A step rule, instead of the one the file tells.", autocompletion=tab.step_rules
    ),
]
Against = Annotated[
    str,
    typer.Option(
        "--against",
        metavar="NAME",
        help="torch, torch-foreach, torch-fused, or a step rule.",
        autocompletion=tab.other_sides,
    ),
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
To = Annotated[str | None, typer.Option("--to", metavar="B", help="Prove what happened from PATH to this later one.")]
Strict = Annotated[bool, typer.Option("--strict", help="With --to: exit with 2 where the files decide nothing.")]
