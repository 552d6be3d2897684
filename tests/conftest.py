"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A shared machine is slow at times: how long an example took says nothing. Each test file bounds its own time.
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests in a terminal passes its size on, and so do the workers of pytest-xdist."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
