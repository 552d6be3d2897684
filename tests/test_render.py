"""The renderers: what they print is laid down in tests/golden, what they must never do is tested here."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import COLUMNS, INPUT, report, row
from rich.cells import cell_len

from optinspect.errors import TruncatedCheckpoint
from optinspect.render import RENDERERS, Screen
from optinspect.render.base import ASCII, UNICODE
from optinspect.render.histogram import sparkline
from optinspect.render.json import envelope, error
from optinspect.render.layout import lay, wrap
from optinspect.render.quantities import cell
from optinspect.render.tables import render
from optinspect.report import Column, Span, Table, Unit

GOLDEN = Path(__file__).parent / "golden"
SCREENS = {
    "table_unbounded.txt": ("table", Screen()),
    "table_120.txt": ("table", Screen(width=120)),
    "table_80.txt": ("table", Screen(width=80)),
    "table_80_colour.txt": ("table", Screen(width=80, colour=True)),
    "table_120_ascii.txt": ("table", Screen(width=120, encoding="ascii")),
    "report.json": ("json", Screen()),
    "table.csv": ("csv", Screen()),
    "report.md": ("markdown", Screen()),
}


@pytest.mark.parametrize("name", SCREENS)
def test_golden(name: str) -> None:
    """Set UPDATE_GOLDEN=1 to write what is printed now, and read the difference."""
    form, screen = SCREENS[name]
    printed = next(each for each in RENDERERS if each.name == form).render(report(), screen)
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(printed, encoding="utf-8")
    assert printed == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 200])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    lines = render(report(), Screen(width=width)).splitlines()
    path = lines.pop(0)  # a path is never broken: it is copied from the terminal
    assert path.startswith("runs/ckpt_600.pt")
    assert max(map(cell_len, lines)) <= width


def test_what_is_said_of_a_file_comes_below_a_long_path_that_stays_whole() -> None:
    told = "torch-zip, layout nanogpt, 1.49 GiB, little-endian"
    path = "runs/" + "deep/" * 12 + "ckpt.pt"
    long = report(inputs=(replace(INPUT, path=path),))
    assert render(long, Screen(width=80)).splitlines()[:2] == [path, f"  {told}"]
    assert render(long, Screen(width=None)).splitlines()[0] == f"{path}  {told}"
    assert render(report(), Screen(width=80)).splitlines()[0] == f"runs/ckpt_600.pt  {told}"


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_every_column_is_printed_or_named_as_hidden(width: int) -> None:
    table = report().tables[0]
    laid = lay(table, Screen(width=width))
    lines, hidden = laid.lines, laid.hidden
    titles = {column.title for column in COLUMNS if not column.machine} - {"never there"}
    told = {column.title for column in hidden}
    assert {title for title in titles if title in lines[0]} == titles - told
    text = " ".join(render(report(), Screen(width=width)).split())
    assert all(title in text for title in told)
    assert (f"hidden at {width} columns" in text) == bool(told)


def test_unbounded_hides_nothing() -> None:
    assert lay(report().tables[0], Screen()).hidden == []


def test_the_highest_rank_is_left_out_first() -> None:
    ranks = [column.rank for column in lay(report().tables[0], Screen(width=100)).hidden]
    kept = [c.rank for c in COLUMNS if not c.machine and c.key != "never" and c.rank not in ranks]
    assert ranks and min(ranks) >= max(kept)


@given(st.lists(st.floats(), min_size=1, max_size=5), st.integers(10, 60))
def test_a_number_is_never_shortened(values: list[float], width: int) -> None:
    columns = tuple(Column(str(k), "x", Unit.REAL, 0) for k in range(len(values)))
    laid = lay(Table("t", "T", columns, [dict(zip("01234", values, strict=False))]), Screen(width=width))
    told = [cell(value, Unit.REAL, UNICODE) for value in values]
    shown = len(values) - len(laid.hidden)
    assert laid.lines[2].split() == told[:shown] and laid.hidden == list(columns[shown:])
    assert shown == 1 or len(laid.lines[2]) <= width
    assert shown == len(values) or len("  ".join(told[: shown + 1])) > width


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=120))
def test_a_name_wraps_and_loses_nothing(name: str) -> None:
    columns = (Column("name", "name", Unit.NAME, 0), Column("x", "x", Unit.REAL, 0))
    lines = lay(Table("t", "T", columns, [{"name": name, "x": 1.5}]), Screen(width=40)).lines
    body = "".join(line.replace("1.500e+00", "").strip() for line in lines[2:])
    shown = cell(name, Unit.NAME, UNICODE)
    assert re.sub(r"\s", "", body) == re.sub(r"\s", "", shown)


@given(st.text("abc._ ", max_size=200), st.integers(8, 60))
def test_wrap_keeps_within_the_width(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        (Unit.REAL, 0.0, "0"),
        (Unit.REAL, -0.0, "0"),
        (Unit.REAL, 5e-324, "4.941e-324"),
        (Unit.REAL, 1.23456e-13, "1.235e-13"),
        (Unit.REAL, math.nan, "nan"),
        (Unit.REAL, -math.inf, "-inf"),
        (Unit.REAL, None, "–"),
        (Unit.REAL, "text", "text"),
        (Unit.SETTING, 0.0006, "0.0006"),
        (Unit.SETTING, 1e-8, "1e-08"),
        (Unit.SETTING, 1.0, "1"),
        (Unit.SETTING, 0.1 + 0.2, "0.30000000000000004"),
        (Unit.SETTING, True, "True"),
        (Unit.SETTING, math.inf, "inf"),
        (Unit.PERCENT, 0.0, "0%"),
        (Unit.PERCENT, 1e-12, "<0.1%"),
        (Unit.PERCENT, 0.5, "50.0%"),
        (Unit.PERCENT, 1 - 1e-12, ">99.9%"),
        (Unit.PERCENT, 1.0, "100%"),
        (Unit.BYTES, 0, "0 B"),
        (Unit.BYTES, 1023, "1,023 B"),
        (Unit.BYTES, 1024, "1.00 KiB"),
        (Unit.BYTES, 1024**2 - 1, "1.00 MiB"),
        (Unit.BYTES, 1_601_234_567, "1.49 GiB"),
        (Unit.SHAPE, [768, 2304], "768×2304"),
        (Unit.SHAPE, [], "scalar"),
        (Unit.LIST, [0.9, 0.95], "0.9, 0.95"),
        (Unit.STEP, 600.0, "600"),
        (Unit.STEP, 1_000_000, "1,000,000"),
        (Unit.STEP, 2.5, "2.5"),
        (Unit.ANY, {"a": [1, {"b": None}]}, "a=[1, {b=None}]"),
        (Unit.COUNT, 1234567, "1,234,567"),
        (Unit.NAME, "", '""'),
        (Unit.SETTING, Span(2.6561398887587545e-08, 0.0009000000000000001), "2.65614e-08 to 0.0009"),
        (Unit.SETTING, Span(1, 2), "1 to 2"),
        (Unit.ANY, Span(0.1 + 0.2, 1e-3), "0.3 to 0.001"),
    ],
)
def test_quantities(unit: Unit, value: object, expected: str) -> None:
    assert cell(value, unit, UNICODE) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_setting_is_exact_and_zero_is_only_zero(value: float) -> None:
    assert float(cell(value, Unit.SETTING, UNICODE)) == value
    assert (cell(value, Unit.REAL, UNICODE) == "0") == (value == 0)


@given(st.floats(0, 1))
def test_percent_is_honest_at_the_edges(value: float) -> None:
    text = cell(value, Unit.PERCENT, UNICODE)
    assert (text == "0%") == (value == 0)
    assert (text == "100%") == (value == 1)
    assert text not in ("0.0%", "100.0%")


@given(st.dictionaries(st.integers(-149, 128), st.integers(0, 10**9)))
def test_a_histogram_shows_every_count_and_encloses_all(histogram: dict[int, int]) -> None:
    text = sparkline(histogram, ASCII)
    counted = [exponent for exponent, count in histogram.items() if count]
    if not counted:
        assert text == "-"
        return
    low, high = float(text[:5]) if text[4] != " " else float(text[:4]), float(text.split()[-1])
    assert low <= 2.0 ** min(counted)
    assert 2.0 ** (max(counted) + 1) <= high
    bars = re.sub(r"^1e\S+ |\s*1e\S+$", "", text)
    assert bars[0] in ASCII.bars and max(ASCII.bars.find(bar) for bar in bars) == len(ASCII.bars) - 1


def test_json_is_strict_and_keeps_what_is_not_finite() -> None:
    text = next(each for each in RENDERERS if each.name == "json").render(report(), Screen())

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    told = json.loads(text, parse_constant=refuse)
    rows = told["tables"]["things"]
    assert text.isascii()
    assert told["summary"]["ratio"] == "NaN"
    assert (rows[2]["rms"], rows[2]["mean"], rows[2]["min"]) == ("NaN", "Infinity", "-Infinity")
    assert rows[0]["log2_histogram"] == {"-30": 4, "-24": 100, "-20": 1000, "-16": 250, "-14": 1}
    assert rows[0]["never"] is None and rows[2]["name"] is None
    assert all(row.keys() == {column.key for column in COLUMNS} for row in rows)


@given(st.floats())
def test_json_floats_keep_every_digit(value: float) -> None:
    told = envelope(replace(report(), summary={"x": value}))["summary"]["x"]
    assert told == value if math.isfinite(value) else float(told.replace("inity", "")) == value or math.isnan(value)


def test_json_error() -> None:
    told = json.loads(error("show", TruncatedCheckpoint("a.pt: cut", hint="save again")))
    assert told == {
        "schema": 1,
        "command": "show",
        "status": 2,
        "error": {"kind": "TruncatedCheckpoint", "message": "a.pt: cut", "hint": "save again"},
    }


def test_csv_is_one_table_that_a_reader_takes() -> None:
    text = next(each for each in RENDERERS if each.name == "csv").render(report(), Screen())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [each["index"] for each in rows] == ["0", "1", "2"]
    assert rows[0]["rms"] == "1.2345e-05" and rows[2]["rms"] == "NaN" and rows[0]["never"] == ""
    assert json.loads(rows[0]["slots"]) == ["step", "exp_avg", "exp_avg_sq"]


def test_csv_does_not_hand_a_formula_to_a_spreadsheet() -> None:
    sick = replace(report().tables[0], rows=[row(0, "=HYPERLINK(1)")])
    text = next(each for each in RENDERERS if each.name == "csv").render(report(tables=(sick,)), Screen())
    assert "'=HYPERLINK(1)" in text


def test_markdown_takes_names_literally() -> None:
    sick = replace(report().tables[0], rows=[row(0, "a|b*c_d<script>@me")])
    text = next(each for each in RENDERERS if each.name == "markdown").render(report(tables=(sick,)), Screen())
    assert r"a\|b\*c\_d\<script\>\@me" in text


def test_a_table_of_many_rows_is_quick() -> None:
    """30,000 rows of 16 columns: 0.4 s measured; Rich's own table would take 40 s."""

    table = replace(report().tables[0], rows=[row(k, f"layers.{k}.weight") for k in range(30_000)])
    start = time.perf_counter()
    lines = lay(table, Screen(width=120)).lines
    assert len(lines) == 30_002
    assert time.perf_counter() - start < 5
