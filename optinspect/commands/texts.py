"""The command line's words as they are: Typer's own conversion of them is left out."""

from __future__ import annotations

from typing import Any

import typer


class Texts:
    """Typer's own conversion of an option's words, for options that are all texts.

    Typer 0.29 converts with pydantic, whose import takes 0.1 s: a third of what `show --no-stats` takes in all. The
    options of `options.py` are texts and switches, so there is nothing to convert; older Typers do without pydantic.
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
