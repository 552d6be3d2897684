"""The version, where packaging and every report read it."""

from __future__ import annotations

__version__ = "0.1.0"
