"""`python -m optinspect`."""

from __future__ import annotations

import sys

from optinspect.cli import main

if __name__ == "__main__":
    sys.exit(main())
