"""Report → text. A format is one module here and one line in RENDERERS; every command then has it."""

from __future__ import annotations

from optinspect.render import csv, github, json, markdown, tables
from optinspect.render.base import Renderer, Screen

RENDERERS: tuple[Renderer, ...] = (tables.RENDERER, json.RENDERER, csv.RENDERER, markdown.RENDERER, github.RENDERER)

__all__ = ["RENDERERS", "Renderer", "Screen"]
