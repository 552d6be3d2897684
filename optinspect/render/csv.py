"""One table as CSV (RFC 4180): a header of column keys, then the rows; nested values as JSON, absent ones empty."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from optinspect.render.base import Screen
from optinspect.render.escape import visible
from optinspect.render.json import rows
from optinspect.report import Report


def render(report: Report, _: Screen) -> str:
    (table,) = report.tables
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.key for column in table.columns)
    for row in rows(table):
        writer.writerow(_field(value) for value in row.values())
    return stream.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value) if isinstance(value, list | dict | bool) else _text(value)


def _text(value: Any) -> Any:
    """Visible, and no formula: spreadsheets run what begins with these characters."""
    if not isinstance(value, str):
        return value
    shown = visible(value, None)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
