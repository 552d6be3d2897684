"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# A shared machine is slow at times: how long an example took says nothing. Each test file bounds its own time.
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")
