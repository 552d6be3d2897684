"""The tables as GitHub-flavoured Markdown, for issues, pull requests and a CI job's page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from optinspect.render.base import Renderer, Screen
from optinspect.render.escape import visible
from optinspect.render.quantities import LEFT, cell, size
from optinspect.report import Line, Report, Table

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$@])")


def render(report: Report, screen: Screen) -> str:
    return "\n".join(_lines(report, screen)) + "\n"


def _lines(report: Report, screen: Screen) -> Iterator[str]:
    for each in report.inputs:
        kind = f"{each.container} of {len(each.files)} files" if len(each.files) > 1 else each.container
        facts = f"{kind}, layout {each.layout}, {size(each.bytes, screen.glyphs)}, {each.byteorder}-endian"
        yield f"**{literal(visible(each.path, 1000))}** {literal(visible(facts))}"
        yield ""
    yield from _said(report.headline)
    for table in report.tables:
        if table.rows and not table.machine:
            yield from _table(table, screen)
    for finding in report.findings:
        place = " ".join(part for part in (finding.where.route, finding.where.parameter) if part)
        yield f"- **{finding.rule}** {finding.severity.value} {literal(visible(f'{place}: {finding.message}'))}"
    yield from _said(report.footer)


def _said(lines: tuple[Line, ...]) -> Iterator[str]:
    for line in lines:
        yield f"- {line.label}: {literal(visible(line.text, None))}"
    if lines:
        yield ""


def _table(table: Table, screen: Screen) -> Iterator[str]:
    columns = [column for column in table.columns if not column.machine]
    yield f"### {table.title}"
    yield ""
    yield f"| {' | '.join(literal(column.title) for column in columns)} |"
    yield f"|{'|'.join(' --- ' if column.unit in LEFT else ' ---: ' for column in columns)}|"
    for row in table.rows:
        yield f"| {' | '.join(literal(cell(row[column.key], column.unit, screen.glyphs)) for column in columns)} |"
    yield ""


def literal(text: str) -> str:
    """Text that Markdown takes as it stands: no markup, no mention, no cell border."""
    return SPECIAL.sub(r"\\\1", text)


RENDERER = Renderer("markdown", render)
