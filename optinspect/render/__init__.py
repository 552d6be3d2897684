"""Report → text. A format is one module here and one line in RENDERERS; every command then has it."""

from __future__ import annotations

from optinspect.render import csv, github, json, junit, markdown, sarif, tables
from optinspect.render.base import Renderer, Screen

RENDERERS: tuple[Renderer, ...] = (
    tables.RENDERER,
    json.RENDERER,
    csv.RENDERER,
    markdown.RENDERER,
    github.RENDERER,
    sarif.RENDERER,
    junit.RENDERER,
)

__all__ = ["RENDERERS", "Renderer", "Screen"]
