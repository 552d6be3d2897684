"""SARIF 2.1.0, which code scanning and editors read: the rules with their pages, a result a finding.

A checkpoint has no lines: the file is the physical location, the route and the parameter are logical ones. Line 1 is
given all the same, because GitHub shows no result without a region. Inputs that could not be read are notifications
of the run, which then was not successful.

Format: OASIS, Static Analysis Results Interchange Format 2.1.0 (with errata 01), sections 3.13 to 3.58.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from optinspect.render.base import Screen
from optinspect.render.escape import visible
from optinspect.render.places import fingerprint, locate, told, uri
from optinspect.report import Failure, Finding, Manual, Place, Report, Severity
from optinspect.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
MOST_PLACES = 100
"""Locations of one result: GitHub shows no more of them."""


def render(report: Report, _: Screen) -> str:
    page = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(page, ensure_ascii=True, allow_nan=False, indent=1) + "\n"


def _run(report: Report) -> dict[str, Any]:
    numbers = {each.rule: number for number, each in enumerate(report.manual)}
    path_of = locate(report)
    return {
        "tool": {
            "driver": {
                "name": "optinspect",
                "semanticVersion": __version__,
                "rules": [_rule(each) for each in report.manual],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not report.failures,
                "exitCode": report.status,
                "toolExecutionNotifications": [_notification(each) for each in report.failures],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, numbers, path_of) for each in report.findings],
    }


def _rule(each: Manual) -> dict[str, Any]:
    page = each.page or each.title
    return {
        "id": each.rule,
        "shortDescription": {"text": each.title},
        "fullDescription": {"text": page.partition("\n\n")[0].replace("\n", " ")},
        "help": {"text": page, "markdown": f"```\n{page}\n```"},
        "defaultConfiguration": {"level": LEVELS[each.severity]},
    }


def _result(finding: Finding, numbers: dict[str, int], path_of: Callable[[Finding], str]) -> dict[str, Any]:
    path = path_of(finding)
    said = f"{finding.message}. Repair: {finding.repair}" if finding.repair else finding.message
    known = {"ruleIndex": numbers[finding.rule]} if finding.rule in numbers else {}
    mark = fingerprint(finding.rule, path, finding.places[0])
    return {
        "ruleId": finding.rule,
        **known,
        "level": LEVELS[finding.severity],
        "message": {"text": visible(f"{finding.title}: {said}", None)},
        "locations": [_location(path, place) for place in dict.fromkeys(finding.places[:MOST_PLACES])],
        # the second is the name under which GitHub keeps track of a result from run to run
        "partialFingerprints": {"optinspectPlace/v1": mark, "primaryLocationLineHash": f"{mark}:1"},
    }


def _location(path: str, place: Place) -> dict[str, Any]:
    physical = {"artifactLocation": _artifact(path), "region": {"startLine": 1}}
    route, parameter = place
    logical = []
    if route:
        logical.append({"fullyQualifiedName": visible(route, None), "kind": "member"})
    if parameter:
        logical.append({"name": visible(parameter, None), "kind": "parameter"})
    shown = {"message": {"text": visible(told(place), None)}, "logicalLocations": logical} if logical else {}
    return {"physicalLocation": physical, **shown}


def _artifact(path: str) -> dict[str, Any]:
    where = uri(path)
    return {"uri": where} if where.startswith("file:") else {"uri": where, "uriBaseId": "%SRCROOT%"}


def _notification(failure: Failure) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": visible(failure.message, None)},
        "descriptor": {"id": failure.kind},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(failure.input)}}],
    }
