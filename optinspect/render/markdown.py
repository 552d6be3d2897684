"""The tables as GitHub-flavoured Markdown, for issues, pull requests and a CI job's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from optinspect.render.base import Screen
from optinspect.render.beside import without_gaps
from optinspect.render.branches import branches
from optinspect.render.escape import visible
from optinspect.render.places import whereabouts
from optinspect.render.quantities import LEFT, cell, size
from optinspect.report import Line, Report, Table, Unit

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$@])")


def render(report: Report, screen: Screen) -> str:
    return "\n".join(_lines(report, screen)) + "\n"


def _lines(report: Report, screen: Screen) -> Iterator[str]:
    for each in () if report.tabled else report.inputs:
        kind = f"{each.container} of {len(each.files)} files" if len(each.files) > 1 else each.container
        facts = f"{kind}, layout {each.layout}, {size(each.bytes, screen.glyphs)}, {each.byteorder}-endian"
        yield f"**{literal(visible(each.path, 1000))}** {literal(visible(facts))}"
        yield ""
    yield from _said(report.headline)
    for table in report.tables:
        if table.rows and not table.machine:
            yield from _table(table, screen)
    for part in report.parts:
        yield from _lines(part, screen)
    yield from () if report.parts else _findings(report)
    yield from _said(report.footer)


def _findings(report: Report) -> Iterator[str]:
    place_of = whereabouts(report)
    for each in report.findings:
        told = ": ".join(part for part in (place_of(each), each.message) if part)
        repair = f"<br>{literal(visible(each.repair, 1000))}" if each.repair else ""
        yield f"- **{each.rule}** {each.severity.value}: {literal(visible(told, 1000))}{repair}"
    if report.findings:
        yield ""


def _said(lines: tuple[Line, ...]) -> Iterator[str]:
    for line in lines:
        yield f"- {line.label}: {literal(visible(line.text, None))}"
    if lines:
        yield ""


def _table(table: Table, screen: Screen) -> Iterator[str]:
    table, tree = without_gaps(table), any(column.unit is Unit.TREE for column in table.columns)
    columns = [column for column in table.columns if not column.machine]
    if tree:
        columns = [column for column in columns if any(row[column.key] is not None for row in table.rows)]
    yield f"### {table.title}"
    yield ""
    yield f"| {' | '.join(literal(column.title) for column in columns)} |"
    yield f"|{'|'.join(' --- ' if column.unit in LEFT else ' ---: ' for column in columns)}|"
    lines = branches(table.rows, screen.glyphs) if tree else repeat(None)
    for row, before in zip(table.rows, lines, strict=False):
        yield f"| {' | '.join(_cell(row[column.key], column.unit, before, screen) for column in columns)} |"
    yield ""


def _cell(value: Any, unit: Unit, before: str | None, screen: Screen) -> str:
    """A cell; the branches `before` a tree's entry keep their blanks, and what a row of a tree lacks stays empty."""
    text = literal(cell(value, unit, screen.glyphs))
    if before is None:
        return text
    return before.replace(" ", "\u00a0") + text if unit is Unit.TREE else "" if value is None else text


def literal(text: str) -> str:
    """Text that Markdown takes as it stands: no markup, no mention, no cell border."""
    return SPECIAL.sub(r"\\\1", text)
