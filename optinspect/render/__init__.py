"""Report → text. A format is one module here and one line in RENDERERS; every command then has it.

A format's module is imported when a report is written in it: a command writes in one of them.
"""

from __future__ import annotations

from optinspect.render.base import Renderer, Screen
from optinspect.report import Report


def _table(report: Report, screen: Screen) -> str:
    from optinspect.render import tables  # noqa: PLC0415

    return tables.render(report, screen)


def _json(report: Report, screen: Screen) -> str:
    from optinspect.render import json  # noqa: PLC0415

    return json.render(report, screen)


def _csv(report: Report, screen: Screen) -> str:
    from optinspect.render import csv  # noqa: PLC0415

    return csv.render(report, screen)


def _markdown(report: Report, screen: Screen) -> str:
    from optinspect.render import markdown  # noqa: PLC0415

    return markdown.render(report, screen)


def _github(report: Report, screen: Screen) -> str:
    from optinspect.render import github  # noqa: PLC0415

    return github.render(report, screen)


def _sarif(report: Report, screen: Screen) -> str:
    from optinspect.render import sarif  # noqa: PLC0415

    return sarif.render(report, screen)


def _junit(report: Report, screen: Screen) -> str:
    from optinspect.render import junit  # noqa: PLC0415

    return junit.render(report, screen)


RENDERERS: tuple[Renderer, ...] = (
    Renderer("table", _table),
    Renderer("json", _json),
    Renderer("csv", _csv, single=True),
    Renderer("markdown", _markdown),
    Renderer("github", _github, only="check"),
    Renderer("sarif", _sarif, only="check"),
    Renderer("junit", _junit, only="check"),
)

__all__ = ["RENDERERS", "Renderer", "Screen"]
