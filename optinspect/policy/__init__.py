"""`optinspect.yaml`: what a project wants `check` to look for, to accept, and to expect of its checkpoints.

    search    which file: given, or found upward from the working directory
    document  its text as YAML nodes, each with its line and column; no object is made of what it says
    fields    one node as the kind of value that is wanted, or an error at its place
    reader    the keys of the file → Policy
    writer    a healthy checkpoint → the text of a policy that it passes

Keys and examples: docs/policy.md.
"""

from __future__ import annotations
