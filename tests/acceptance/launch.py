"""Run one command and measure it: `launch.py FD SECONDS COMMAND …` writes {"status", "seconds", "peak_mb"} to FD.

A process of its own, because Linux counts the memory of the process that forks into the peak of the one it starts:
measured from a test run that has imported torch, every command would seem to need 300 MB.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

ADDRESS_SPACE = 8 << 30
"""So that a bomb that goes off hurts nobody else."""


def main(descriptor: int, seconds: int, command: list[str]) -> None:
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        signal.alarm(seconds)
        os.execvp(command[0], command)
    _, status, usage = os.wait4(child, 0)
    figures = {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - start,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    os.write(descriptor, json.dumps(figures).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
