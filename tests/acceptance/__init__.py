"""Acceptance against real checkpoints with ground truth: those in tests/data, or a corpus that OPTINSPECT_CORPUS names.

    python -m tests.acceptance [ROOM ...]      the summary table
    pytest tests/acceptance                    the same, one test a case

A corpus is a folder of rooms, a room a folder of cases, a case a folder of files and their truth.json.
"""
