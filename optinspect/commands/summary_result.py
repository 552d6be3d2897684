"""What `optinspect.summary` gives back: a report that prints itself in a terminal, in Rich and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optinspect.report import Report

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from optinspect.render.base import Screen

WHOLE = "rows(TABLE) and to_dict() have them"


@dataclass(frozen=True, repr=False)
class Summary:
    """A Report of live objects as they were when it was made; it holds none of them.

    print(summary) and a notebook show the tables; `report` has them as raw values, `to_dict` and `to_json` as
    `optinspect show --format json` writes them (docs/json.md).
    """

    report: Report
    shown: Report
    """What is printed: the report with its long tables folded."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Counts: parameters trainable, frozen, in no group, with a gradient …"""
        return self.report.summary

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table's rows by its key ("groups", "parameters", …). Raises UsageError for a key that there is not."""
        from optinspect.errors import UsageError  # noqa: PLC0415

        keys = {each.key: each for each in self.report.tables}
        if table not in keys:
            raise UsageError(f"no table {table!r} (there are {', '.join(keys)})")
        return [dict(row) for row in keys[table].rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for json.dumps: what is not finite is a text ("NaN", "Infinity")."""
        from optinspect.render.json import envelope  # noqa: PLC0415

        return envelope(self.report)

    def to_json(self) -> str:
        """One JSON object, ASCII only."""
        from optinspect.render.base import Screen  # noqa: PLC0415
        from optinspect.render.json import render  # noqa: PLC0415

        return render(self.report, Screen())

    def __str__(self) -> str:
        """The tables as wide as the terminal, without colour; as wide as they take where there is no terminal."""
        from optinspect.commands.emit import Output, screen  # noqa: PLC0415

        return self._text(replace(screen(Output()), colour=False))

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text  # noqa: PLC0415

        from optinspect.render.base import Screen  # noqa: PLC0415

        colour = console.color_system is not None and not console.no_color
        text = self._text(Screen(width=options.max_width, colour=colour, encoding=options.encoding))
        yield Text.from_ansi(text, no_wrap=True, overflow="ignore")

    def _text(self, screen: Screen) -> str:
        from optinspect.render.tables import render  # noqa: PLC0415

        return render(self.shown, replace(screen, whole=WHOLE)).rstrip("\n")

    def _repr_html_(self) -> str:
        from optinspect.render.notebook import fragment  # noqa: PLC0415

        return fragment(self.shown)
