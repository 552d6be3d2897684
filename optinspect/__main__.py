"""`python -m optinspect`."""

from __future__ import annotations

import sys

from optinspect.cli import entry

if __name__ == "__main__":
    sys.exit(entry())
