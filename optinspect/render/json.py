"""The machine-readable format, docs/json.md: one object, ASCII only, floats in full, never a bare NaN."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from enum import Enum
from itertools import chain
from math import isfinite
from typing import Any

from optinspect.errors import OptinspectError
from optinspect.render.base import Screen
from optinspect.report import Finding, Input, Report, Table
from optinspect.version import __version__

SCHEMA = 1
OPENED = 2
"""Levels of objects that take several lines: the report, its tables."""
NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def render(report: Report, _: Screen) -> str:
    return _page(_envelope(report, rows))


def envelope(report: Report) -> dict[str, Any]:
    """The report as plain data, as `--format json` prints it."""
    return _envelope(report, lambda table: list(rows(table)))


def _envelope(report: Report, having: Callable[[Table], Iterable[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": report.command,
        "version": __version__,
        "status": report.status,
        "inputs": [_input(each) for each in report.inputs],
        "summary": machine(report.summary),
        "tables": {table.key: having(table) for table in report.tables},
        "findings": [_finding(each) for each in report.findings],
        "skipped": [{"rule": each.rule, "reason": each.reason} for each in report.skipped],
        "failures": [asdict(each) for each in report.failures],
    }


def error(command: str | None, problem: OptinspectError) -> str:
    """What a run that cannot answer prints instead."""
    told = {"kind": problem.kind, "message": problem.message, "hint": problem.hint}
    return _page({"schema": SCHEMA, "command": command, "status": problem.status, "error": told})


def rows(table: Table) -> Iterator[dict[str, Any]]:
    keys = [column.key for column in table.columns]
    return ({key: machine(row[key]) for key in keys} for row in table.rows)


def machine(value: Any) -> Any:
    """A cell as JSON has it: non-finite floats as strings, keys as text."""
    if value is None or isinstance(value, bool | int) or type(value) is str:
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else NON_FINITE[str(float(value))]
    if isinstance(value, Mapping):
        return {str(key): machine(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [machine(item) for item in value]
    return value.value if isinstance(value, Enum) else str(value)


def _input(each: Input) -> dict[str, Any]:
    return {
        "role": each.role,
        "path": each.path,
        "container": each.container,
        "layout": each.layout,
        "bytes": each.bytes,
        "byteorder": each.byteorder,
        "files": list(each.files),
    }


def _finding(each: Finding) -> dict[str, Any]:
    where = {"input": each.where.input, "route": each.where.route, "parameter": each.where.parameter}
    return {
        "rule": each.rule,
        "title": each.title,
        "severity": each.severity.value,
        "message": each.message,
        "where": where,
        "repair": each.repair,
        "also": [{"route": route, "parameter": parameter} for route, parameter in each.also],
    }


def _page(value: dict[str, Any]) -> str:
    """One object, its parts and every row on a line of their own: quick to write, and good to compare line by line."""
    return "".join(_lines(value, 0)) + "\n"


def _lines(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and depth < OPENED:
        yield from _framed(
            "{}", (chain([f"{json.dumps(key)}: "], _lines(item, depth + 1)) for key, item in value.items())
        )
    elif isinstance(value, list | Iterator):
        yield from _framed("[]", ((_text(item),) for item in value))
    else:
        yield _text(value)


def _framed(brackets: str, parts: Iterable[Iterable[str]]) -> Iterator[str]:
    before = brackets[0] + "\n"
    for part in parts:
        yield before
        yield from part
        before = ",\n"
    yield brackets if before == brackets[0] + "\n" else "\n" + brackets[1]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
