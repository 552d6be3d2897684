"""How a value of each unit is written for people. Rounding never lies at the edges: "0" is zero, "100%" is all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from optinspect import ranges
from optinspect.render.base import Glyphs
from optinspect.render.escape import visible
from optinspect.render.histogram import sparkline
from optinspect.report import Runs, Span, Unit

Formatter = Callable[[Any, Glyphs], str]

BAR = 40
"""Cells of the longest bar."""
GLANCE = 56
"""Characters that Unit.GLANCE takes."""
RUNS = 28
"""Characters of numbers written as ranges."""
IEC = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def cell(value: Any, unit: Unit, glyphs: Glyphs) -> str:
    """One value on one line; None is a dash."""
    return glyphs.dash if value is None else FORMATTERS[unit](value, glyphs)


def text(value: Any, _: Glyphs) -> str:
    return visible(str(value))


def name(value: Any, _: Glyphs) -> str:
    """A key may be empty: then it is not seen, but it is one."""
    return visible(str(value)) or '""'


def count(value: Any, glyphs: Glyphs) -> str:
    return f"{value:,}" if isinstance(value, int) else anything(value, glyphs)


def real(value: Any, glyphs: Glyphs) -> str:
    """Scientific, three decimals: moments lie between 1e-13 and 1e-5."""
    if not isinstance(value, int | float):
        return anything(value, glyphs)
    number = float(value)
    return f"{number:.3e}" if number and isfinite(number) else f"{number:.0f}".replace("-0", "0")


def rough(value: Any, glyphs: Glyphs) -> str:
    """Scientific, one decimal."""
    if not isinstance(value, int | float):
        return anything(value, glyphs)
    number = float(value)
    return f"{number:.1e}" if number and isfinite(number) else f"{number:.0f}".replace("-0", "0")


def setting(value: Any, glyphs: Glyphs) -> str:
    """A hyperparameter: the shortest decimal that is exactly the stored number."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0") if isfinite(value) else str(value)
    return anything(value, glyphs)


def percent(value: Any, glyphs: Glyphs) -> str:
    """A fraction 0…1. Only zero is 0% and only all is 100%."""
    if not isinstance(value, int | float) or not isfinite(value):
        return anything(value, glyphs)
    if value in (0, 1):
        return f"{value:.0%}"
    return {"0.0%": "<0.1%", "100.0%": ">99.9%"}.get(rounded := f"{value:.1%}", rounded)


def cosine(value: Any, glyphs: Glyphs) -> str:
    """Four decimals. Only 1 is 1: what would round to it is told by its distance."""
    if not isinstance(value, int | float) or not isfinite(value):
        return anything(value, glyphs)
    if abs(value) == 1 or value == 0:
        return f"{value:.0f}".replace("-0", "0")
    if round(abs(value), 4) == 1:
        return f"{'-' * (value < 0)}(1-{1 - abs(value):.1e})"
    return f"{value:.4f}"


def bar(value: Any, glyphs: Glyphs) -> str:
    """As long as the fraction is large; nothing for 0, at least one cell for the rest."""
    if not isinstance(value, int | float) or not isfinite(value):
        return anything(value, glyphs)
    return glyphs.bars[-1] * (max(1, round(min(value, 1) * BAR)) if value > 0 else 0)


def size(value: Any, glyphs: Glyphs) -> str:
    """Bytes in IEC units, two decimals from KiB on."""
    if not isinstance(value, int):
        return anything(value, glyphs)
    amount, unit = float(value), IEC[0]
    for unit in IEC:
        if round(amount, 2) < 1024 or unit == IEC[-1]:
            break
        amount /= 1024
    return f"{value:,} B" if unit == IEC[0] else f"{amount:.2f} {unit}"


def shape(value: Any, glyphs: Glyphs) -> str:
    return glyphs.times.join(map(str, value)) if value else "scalar"


def step(value: Any, glyphs: Glyphs) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"{int(value):,}"
    return f"{value:,}" if isinstance(value, int) else setting(value, glyphs)


def listing(value: Any, glyphs: Glyphs) -> str:
    """A sequence, comma separated, each item as a name; what is numbered through as one: al.{0..99}."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return anything(value, glyphs)
    return ", ".join(setting(item, glyphs) for item in ranges.listed(value)) or glyphs.dash


def runs(value: Any, _: Glyphs) -> str:
    """Numbers as ranges; of very many the first, and the last."""
    pieces = ranges.pieces(value)
    text = ",".join(pieces)
    if len(text) <= RUNS:
        return text
    last = f",…,{value[-1][1]}"
    while len(pieces) > 1 and len(text) > RUNS - len(last):
        pieces.pop()
        text = ",".join(pieces)
    return text + last


def anything(value: Any, glyphs: Glyphs) -> str:
    """Any plain value on one line, cut to a bearable length."""
    if isinstance(value, Span):
        return f"{anything(_end(value.low), glyphs)} to {anything(_end(value.high), glyphs)}"
    if isinstance(value, float):
        return setting(value, glyphs)
    if isinstance(value, Mapping):
        return visible(", ".join(f"{key}={_item(item, glyphs)}" for key, item in value.items())) or glyphs.dash
    if isinstance(value, list | tuple):
        return visible(", ".join(_item(item, glyphs) for item in value)) or "[]"
    return visible(str(value))


def glance(value: Any, glyphs: Glyphs) -> str:
    """The beginning of a value: of a text that is cut, how long it is; of a number, ten digits and its exponent."""
    if isinstance(value, str):
        return visible(value, GLANCE)
    if isinstance(value, float):
        return setting(float(f"{value:.10g}"), glyphs)
    if isinstance(value, list):
        value = [float(f"{item:.10g}") if isinstance(item, float) else item for item in value]
    shown = anything(value, glyphs)
    return shown if len(shown) <= GLANCE else f"{shown[: GLANCE - 1]}…"


def _item(value: Any, glyphs: Glyphs) -> str:
    """A value inside another: brackets keep the nesting readable."""
    if isinstance(value, Mapping):
        return f"{{{anything(value, glyphs)}}}"
    return f"[{anything(value, glyphs)}]" if isinstance(value, list | tuple) else anything(value, glyphs)


def _end(value: Any) -> Any:
    """One end of a span: six digits tell where it lies, the rows that are folded have them all."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _spanning(form: Formatter) -> Formatter:
    """As `form`, and what folded rows hold: both ends of a span, runs of numbers."""

    def written(value: Any, glyphs: Glyphs) -> str:
        if isinstance(value, Runs):
            return runs(value.pairs, glyphs)
        if isinstance(value, Span):
            return f"{form(_end(value.low), glyphs)} to {form(_end(value.high), glyphs)}"
        return form(value, glyphs)

    return written


_FORMS: Mapping[Unit, Formatter] = {
    Unit.TEXT: text,
    Unit.NAME: name,
    Unit.COUNT: count,
    Unit.BYTES: size,
    Unit.REAL: real,
    Unit.SETTING: setting,
    Unit.ROUGH: rough,
    Unit.RATIO: real,
    Unit.PERCENT: percent,
    Unit.SHAPE: shape,
    Unit.LIST: listing,
    Unit.STEP: step,
    Unit.RANGES: runs,
    Unit.HISTOGRAM: sparkline,
    Unit.COSINE: cosine,
    Unit.BAR: bar,
    Unit.ANY: anything,
    Unit.GLANCE: glance,
    Unit.TREE: name,
}
FORMATTERS: Mapping[Unit, Formatter] = {unit: _spanning(form) for unit, form in _FORMS.items()}
"""Every unit has one way of being written."""

LEFT = frozenset(
    {Unit.TEXT, Unit.NAME, Unit.LIST, Unit.ANY, Unit.HISTOGRAM, Unit.BAR, Unit.SHAPE, Unit.GLANCE, Unit.TREE}
)
"""Units set flush left; the others are numbers, set flush right."""

WRAPS = frozenset({Unit.TEXT, Unit.NAME, Unit.LIST, Unit.ANY, Unit.TREE})
"""Units whose cells may take several lines; a number never breaks."""
