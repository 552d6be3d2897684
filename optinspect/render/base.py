"""What every renderer is given and declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from optinspect.report import Report


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters beyond ASCII that a screen may not have."""

    times: str
    dash: str
    """A cell without a value."""
    rule: str
    mark: str
    """Before a line that stands out."""
    blank: str
    """A histogram cell that counts nothing."""
    bars: str
    """Histogram cells, lowest first."""
    branches: tuple[str, str, str] = ("├─ ", "└─ ", "│  ")
    """Of a tree: an entry, the last entry, what passes by a deeper one."""


UNICODE = Glyphs(times="×", dash="–", rule="─", mark="▲", blank=" ", bars="▁▂▃▄▅▆▇█")
ASCII = Glyphs(times="x", dash="-", rule="-", mark="!", blank=" ", bars=".:-=+*%@", branches=("|- ", "`- ", "|  "))


@dataclass(frozen=True)
class Screen:
    """What is written to: its width in cells (None: as wide as it takes), colour, character encoding."""

    width: int | None = None
    colour: bool = False
    encoding: str = "utf-8"
    whole: str = "--width 0 or --format json shows them"
    """How to see the columns that do not fit; said to whoever typed a command, unless something else is."""

    @cached_property
    def glyphs(self) -> Glyphs:
        try:
            "".join((UNICODE.times, UNICODE.dash, UNICODE.rule, UNICODE.mark, UNICODE.bars)).encode(self.encoding)
        except (UnicodeError, LookupError):
            return ASCII
        return UNICODE

    def style(self, text: str, code: str) -> str:
        """`text` in the SGR style `code` ("1" bold, "2" dim, "31" red), where there is colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


@dataclass(frozen=True, slots=True)
class Renderer:
    """An output format. `only` names the one command whose reports it can write; `single` formats hold one table."""

    name: str
    render: Callable[[Report, Screen], str]
    only: str | None = None
    single: bool = False

    def suits(self, command: str) -> bool:
        return self.only in (None, command)
