"""The HTML for notebooks: real tables, whole, escaped, and nothing that reaches out of its place in the page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optinspect.render import notebook
from optinspect.render.base import UNICODE
from optinspect.render.quantities import cell
from optinspect.report import Column, Line, Report, Severity, Table, Unit
from tests import reports

VOID = {"wbr"}
ALLOWED = {
    *("div", "style", "p", "span", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *VOID,
}
ATTRIBUTES = {"class", "scope", "role", "tabindex", "aria-label"}


@dataclass
class Parsed:
    caption: str = ""
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """Tables as a browser would see them; fails on tags that are not closed in order, or not expected here."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tables: list[Parsed] = []
        self.paragraphs: list[str] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= ATTRIBUTES
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append(Parsed())
        if tag == "tr" and "tbody" in self.open:
            self.tables[-1].rows.append([])
        if tag == "th":
            self.tables[-1].heads.append("")
        if tag == "td":
            self.tables[-1].rows[-1].append("")
        if tag == "p":
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = set(self.open)
        if "style" in inside:
            self.style += data
        elif "caption" in inside:
            self.tables[-1].caption += data
        elif "th" in inside:
            self.tables[-1].heads[-1] += data
        elif "td" in inside:
            self.tables[-1].rows[-1][-1] += data
        elif "p" in inside:
            self.paragraphs[-1] += data


def report(rows: list[dict[str, Any]], columns: tuple[Column, ...] = reports.COLUMNS, **more: Any) -> Report:
    table = Table("parameters", "Parameters", columns, rows)
    return Report("summary", 0, (reports.INPUT,), {}, (table,), **more)


def test_a_table_has_its_caption_heads_rows_and_cells() -> None:
    rows = [reports.row(number, f"h.{number}.weight", rms=number + 0.5) for number in range(3)]
    page = Page(notebook.fragment(report(rows)))
    (table,) = page.tables
    shown = [column for column in reports.COLUMNS if not column.machine and column.key != "never"]
    assert table.caption == "Parameters"
    assert table.heads == [column.title for column in shown]
    assert table.rows == [[cell(row[column.key], column.unit, UNICODE) for column in shown] for row in rows]


def test_what_is_the_same_in_every_row_is_said_once() -> None:
    rows = [reports.row(number, f"h.{number}.weight") for number in range(4)]
    page = Page(notebook.fragment(report(rows)))
    assert "mean" not in page.tables[0].heads
    assert any(text.startswith("in every row: ") and "mean -4.500e-07" in text for text in page.paragraphs)


def test_a_long_table_is_cut_and_says_so() -> None:
    rows = [reports.row(number, f"h.{number}.weight") for number in range(notebook.MOST + 5)]
    page = Page(notebook.fragment(report(rows)))
    assert len(page.tables[0].rows) == notebook.MOST
    assert "200 of 205 rows shown; the others: rows('parameters')" in page.paragraphs


def test_lines_and_findings_are_there_with_their_marks() -> None:
    lines = (Line("model", "m <b>"), Line("stands out", "a & b", Severity.ERROR))
    page = Page(notebook.fragment(report([reports.row(0, "x")], headline=lines, footer=lines)))
    assert page.paragraphs.count("model m <b>") == 2
    assert page.paragraphs.count("stands out ▲ a & b") == 2


@given(st.text(), st.text())
def test_no_text_leaves_its_place(name: str, said: str) -> None:
    rows = [reports.row(0, name, slots=[name, said]), reports.row(1, said)]
    columns = (*reports.COLUMNS, Column("key", name or "-", Unit.ANY))
    made = report(rows, columns, headline=(Line(name, said), Line("x", name, Severity.WARNING)))
    page = Page(notebook.fragment(made))
    (table,) = page.tables
    assert {len(row) for row in table.rows} == {len(table.heads)}
    assert [row[1] for row in table.rows] == [cell(each, Unit.NAME, UNICODE) for each in (name, said)]


HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '" onload="x',
    "</style>",
    "&lt;",
    "\x1b]0;x\x07\u202e",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_not_run(name: str) -> None:
    made = report([reports.row(0, name)], headline=(Line("model", name),))
    text = notebook.fragment(made)
    assert "<script" not in text and "<img" not in text and "\x1b" not in text and "\u202e" not in text
    assert Page(text).tables[0].rows[0][1] == cell(name, Unit.NAME, UNICODE)


def test_the_style_stays_inside_and_nothing_is_loaded() -> None:
    text = notebook.fragment(report([reports.row(0, "a")]))
    page = Page(text)
    assert not re.search(r"https?:|url\(|@import|src=|href=", text)
    selectors = re.findall(r"([^{}]+)\{", page.style)
    assert selectors
    assert all(part.strip().startswith(".optinspect") for each in selectors for part in each.split(","))


def test_colours_are_the_pages_own() -> None:
    """Readable on light and on dark: no background but transparent ones, and text in the colour around it."""
    backgrounds = re.findall(r"background:([^;}]+)", notebook.STYLE)
    colours = re.findall(r"[{;]color:([^;}]+)", notebook.STYLE)
    assert all(each == "transparent" or each.startswith("rgba(128,128,128,") for each in backgrounds)
    assert set(colours) == {"inherit"}
