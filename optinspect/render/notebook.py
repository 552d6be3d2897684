"""A report as a fragment of HTML, for `_repr_html_`: real tables, in the page's own colours, nothing from outside.

The fragment lives in other people's pages, light or dark: text and background are the page's (`inherit`), lines and
marks are half transparent, and every rule is below the class `optinspect`. There is no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from optinspect.render.base import UNICODE
from optinspect.render.escape import visible
from optinspect.render.layout import FOLDED, NAME_PARTS
from optinspect.render.quantities import LEFT, WRAPS, cell, size
from optinspect.report import Column, Finding, Input, Line, Report, Severity, Table, Unit

Drawn = tuple[Column, list[str]]
"""A column and its cells, as people read them."""

LONG = 44
"""Characters of a cell that stay on one line; a page scrolls sideways rather than break a shorter name."""
MOST = 200
"""Rows of a table that are put into the page; how many there are is said, and the report has them all."""

STYLE = """
.optinspect{color:inherit;font-size:13px;line-height:1.45;text-align:left}
.optinspect p,.optinspect ul{margin:.3em 0;max-width:75em}
.optinspect ul{padding-left:1.2em}
.optinspect .scroll{overflow-x:auto;margin:.8em 0 .2em}
.optinspect table{border-collapse:collapse;border:0;margin:0;color:inherit;font-size:12px;background:transparent}
.optinspect caption{text-align:left;font-weight:600;font-size:13px;padding:0 0 .3em;color:inherit;caption-side:top}
.optinspect th,.optinspect td{border:0;padding:.2em .75em .2em 0;text-align:right;vertical-align:top;
white-space:nowrap;background:transparent;color:inherit;font-variant-numeric:tabular-nums}
.optinspect thead th{font-weight:600;border-bottom:1px solid rgba(128,128,128,.6);vertical-align:bottom}
.optinspect tbody tr{background:transparent}
.optinspect tbody tr:hover td{background:rgba(128,128,128,.15)}
.optinspect tbody td{border-bottom:1px solid rgba(128,128,128,.2)}
.optinspect .l{text-align:left}
.optinspect .w{white-space:normal;overflow-wrap:anywhere;min-width:24em}
.optinspect .m{font-family:ui-monospace,Menlo,Consolas,monospace;white-space:pre}
.optinspect .n{opacity:.75;font-size:12px}
.optinspect .s{padding-left:.6em;border-left:3px solid rgba(128,128,128,.5)}
.optinspect .warning{border-left-color:#d98c00}
.optinspect .error{border-left-color:#e5484d}
"""


def fragment(report: Report) -> str:
    """One <div> with its style. Every text of the report is escaped, for the screen and then for HTML."""
    parts = [
        *(_input(each) for each in report.inputs),
        *_lines(report.headline),
        *(part for table in report.tables if table.rows and not table.machine for part in _table(table)),
        *(_finding(each) for each in report.findings),
        *_lines(report.footer),
    ]
    return f'<div class="optinspect"><style>{STYLE}</style>\n' + "\n".join(parts) + "\n</div>"


def text(value: str, limit: int | None = 1000) -> str:
    """The one way into the page."""
    return escape(visible(value, limit), quote=True)


def _input(each: Input) -> str:
    facts = f"{each.role}, {each.container}, layout {each.layout}, {size(each.bytes, UNICODE)}"
    return f'<p><strong>{text(each.path)}</strong> <span class="n">{text(facts)}</span></p>'


def _lines(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        tone = f" {line.severity.value}" if line.severity in (Severity.WARNING, Severity.ERROR) else ""
        mark = f"{UNICODE.mark} " if tone else ""
        yield f'<p class="s{tone}"><span class="n">{text(line.label)}</span> {mark}{text(line.text, None)}</p>'


def _finding(finding: Finding) -> str:
    place = " ".join(part for part in (finding.where.route, finding.where.parameter) if part)
    said = f"{finding.severity.value}: {place}{': ' if place else ''}{finding.message}"
    repair = f" {finding.repair}" if finding.repair else ""
    rule = f"<strong>{text(finding.rule)}</strong>"
    return f'<p class="s {finding.severity.value}">{UNICODE.mark} {rule} {text(said + repair, None)}</p>'


def _table(table: Table) -> Iterator[str]:
    drawn = [_draw(column, table) for column in table.columns if not column.machine]
    drawn = [each for each in drawn if any(cell != UNICODE.dash for cell in each[1])]
    shown = [each for each in drawn if not _is_common(*each)]
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="{text(table.title)}"><table>'
    yield f"<caption>{text(table.title)}</caption>"
    heads = (f'<th scope="col"{_class(column)}>{text(column.title)}</th>' for column, _ in shown)
    yield f"<thead><tr>{''.join(heads)}</tr></thead><tbody>"
    columns = [column for column, _ in shown]
    for cells in zip(*(cells[:MOST] for _, cells in shown), strict=True):
        yield f"<tr>{''.join(map(_cell, columns, cells))}</tr>"
    yield "</tbody></table></div>"
    yield from (f'<p class="n">{text(note, None)}</p>' for note in _notes(table, drawn))


def _draw(column: Column, table: Table) -> Drawn:
    """Formatters let nothing invisible through; what is left for the page is HTML's own."""
    return column, [cell(row[column.key], column.unit, UNICODE) for row in table.rows]


def _cell(column: Column, told: str) -> str:
    """Escaped. A long text may be broken behind the separators of names, as in a terminal; a number nowhere."""
    long = column.unit in WRAPS and len(told) > LONG
    parts = NAME_PARTS.findall(told) if long else [told]
    return f"<td{_class(column, *(['w'] if long else []))}>{'<wbr>'.join(map(escape, parts))}</td>"


def _is_common(column: Column, cells: list[str]) -> bool:
    return column.rank > 1 and len(cells) >= FOLDED and all(each == cells[0] for each in cells)


def _class(column: Column, *more: str) -> str:
    own = (("l", column.unit in LEFT), ("m", column.unit is Unit.HISTOGRAM))
    kinds = " ".join((*(kind for kind, holds in own if holds), *more))
    return f' class="{kinds}"' if kinds else ""


def _notes(table: Table, drawn: list[Drawn]) -> Iterator[str]:
    common = [f"{column.title} {cells[0]}" for column, cells in drawn if _is_common(column, cells)]
    if common:
        yield f"in every row: {'; '.join(common)}"
    yield from table.notes
    shown, total = min(len(table.rows), MOST), max(table.total or 0, len(table.rows))
    if shown < total:
        more = f"; the others: rows({table.key!r})" if shown < len(table.rows) else ""
        yield f"{shown:,} of {total:,} rows shown{more}"
