"""The format for people: what was read, what is in it, the tables, what stands out, what to run next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from rich.cells import cell_len

from optinspect.render.base import ASCII, Screen
from optinspect.render.beside import beside, without_gaps
from optinspect.render.escape import visible
from optinspect.render.layout import Laid, lay, wrap
from optinspect.render.places import whereabouts
from optinspect.render.quantities import size
from optinspect.report import Finding, Input, Line, Report, Severity, Table

TONES = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTE: "36", None: "0"}
RULE = 80
"""Cells of the line between two reports, where nothing says how wide the screen is."""
MOST_OF_A_RULE = 5
"""Findings of one rule that people are shown; the rest is counted."""
TYPOGRAPHY = str.maketrans(
    {"×": "x", "…": "...", "–": "-", "−": "-", "·": "-", "▲": "!", "→": "->", "≥": ">=", "≤": "<=", "√": "sqrt"}
    | {
        "÷": "/",
        "θ": "theta",
        "β": "beta",
        "Δ": "d",
        "μ": "mu",
        "τ": "tau",
        "ψ": "psi",
        "Π": "Pi",
        "←": "<-",
        "⋅": "*",
        "\u0302": "_hat",
    }
)
"""Our own characters beyond ASCII, for screens that do not have them."""


def render(report: Report, screen: Screen) -> str:
    blocks = [
        _block([*(() if report.tabled else _inputs(report.inputs, screen)), *_lines(report.headline, screen)]),
        *map(_block, _tables([each for each in report.tables if _is_told(each)], screen)),
        *(_ruled(render(each, screen), screen) for each in report.parts),
        _block(() if report.parts else _findings(report, screen)),
        _block(_footer(report, screen)),
    ]
    text = "\n".join(block for block in blocks if block)
    if screen.glyphs is not ASCII:
        return text
    return text.translate(TYPOGRAPHY).encode("ascii", "backslashreplace").decode("ascii")


def _is_told(table: Table) -> bool:
    return bool(table.rows or table.limited) and not table.machine


def _ruled(text: str, screen: Screen) -> str:
    """One of several reports, told apart from what is above it."""
    return screen.style(screen.glyphs.rule * (screen.width or RULE), "2") + f"\n{text}"


def _block(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _inputs(inputs: Iterable[Input], screen: Screen) -> Iterator[str]:
    """Each file on one line: path, then container, layout, size and byte order; below it, where that is too long.

    A path stays whole: it is there to be copied.
    """
    for each in inputs:
        kind = f"{each.container} of {len(each.files)} files" if len(each.files) > 1 else each.container
        facts = (kind, f"layout {each.layout}", size(each.bytes, screen.glyphs), f"{each.byteorder}-endian")
        role = "" if each.role == "checkpoint" else f" ({each.role})"
        path, told = visible(each.path, 1000), visible(", ".join(facts))
        if screen.width is None or cell_len(f"{path}{role}  {told}") <= screen.width:
            yield screen.style(path, "1") + f"{role}  {told}"
            continue
        yield screen.style(path, "1") + role
        yield from (f"  {part}" for part in wrap(told, screen.width - 2, ""))


def _lines(lines: tuple[Line, ...], screen: Screen) -> Iterator[str]:
    """Label and text side by side, long texts wrapped behind the labels; a repeated label is written once."""
    edge = max((len(line.label) for line in lines), default=0) + 4
    before = None
    for line in lines:
        label = "" if line.label == before else line.label
        before = line.label
        mark = f"{screen.glyphs.mark} " if line.severity in (Severity.ERROR, Severity.WARNING) else ""
        text = mark + visible(line.text, None)
        parts = wrap(text, max(20, screen.width - edge)) if screen.width else [text]
        for number, part in enumerate(parts):
            margin = f"  {label}" if number == 0 else ""
            yield screen.style(margin.ljust(edge), "2") + screen.style(part, TONES[line.severity])


def _tables(tables: list[Table], screen: Screen) -> Iterator[Iterable[str]]:
    """Each table; two that belong beside each other together, where they fit."""
    for table, following in zip_longest(tables, tables[1:]):
        if table.beside is not None and table is not tables[0]:
            continue  # told with the table before it
        if following is None or following.beside is None:
            yield _table(without_gaps(table), screen)
            continue
        together = beside(table, following, screen)
        alone = (_table(without_gaps(each), screen) for each in (table, following))
        yield from [together] if together else alone


def _table(table: Table, screen: Screen) -> Iterator[str]:
    laid = lay(table, screen) if table.rows else Laid([], [], [])
    yield screen.style(table.title, "1;4")
    yield from laid.lines
    for note in (*_common(laid), *table.notes, *_shown(table), *_hidden(laid, screen)):
        yield from (screen.style(part, "2") for part in wrap(visible(note, None), screen.width or len(note) * 10 + 1))


def _common(laid: Laid) -> Iterator[str]:
    if laid.common:
        yield "in every row: " + "; ".join(f"{title} {cell}" for title, cell in laid.common)


def _shown(table: Table) -> Iterator[str]:
    if table.total is not None and table.total > len(table.rows):
        yield f"{len(table.rows):,} of {table.total:,} rows shown"


def _hidden(laid: Laid, screen: Screen) -> Iterator[str]:
    if laid.hidden:
        titles = ", ".join(column.title for column in laid.hidden)
        yield f"hidden at {screen.width} columns: {titles} ({screen.whole})"


def _findings(report: Report, screen: Screen) -> Iterator[str]:
    place_of = whereabouts(report)
    if report.findings:
        yield screen.style("Findings", "1;4")
    seen: Counter[str] = Counter()
    for each in report.findings:
        seen[each.rule] += 1
        if seen[each.rule] <= MOST_OF_A_RULE:
            yield from _finding(each, place_of(each), screen)
    for rule, count in seen.items():
        if count > MOST_OF_A_RULE:
            yield f"{rule} {count - MOST_OF_A_RULE:,} more of these (--format json lists them)"


def _finding(finding: Finding, where: str, screen: Screen) -> Iterator[str]:
    place = visible(where, 1000)
    text = f"{finding.rule} {finding.severity.value}: {place}{': ' if place else ''}{visible(finding.message, 1000)}"
    for part in wrap(text, screen.width or 10_000):
        yield screen.style(part, TONES[finding.severity])
    if finding.repair:
        yield from wrap(f"  {visible(finding.repair, 1000)}", screen.width or 10_000)


def _footer(report: Report, screen: Screen) -> Iterator[str]:
    lines = report.footer
    if report.next_command:
        lines = (*lines, Line("next", report.next_command))
    return _lines(lines, screen)
