"""Where a finding is, for formats that other programs read: the file, its URI, a fingerprint that stays the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import PurePath

from optinspect.report import Finding, Place, Report


def locate(report: Report) -> Callable[[Finding], str]:
    """finding → the path that it is about: `where.input` is an input's role or, of several checkpoints, the path."""
    by_role = {each.role: each.path for each in reversed(report.inputs)}
    several = len(report.inputs) > len(by_role)
    first = report.inputs[0].path if report.inputs else ""

    def path(finding: Finding) -> str:
        return finding.where.input if several else by_role.get(finding.where.input, first)

    return path


def whereabouts(report: Report) -> Callable[[Finding], str]:
    """finding → its place in words: of several checkpoints the path too. "" where it is about the file as a whole."""
    roles = {each.role for each in report.inputs} | {"previous"}

    def place(finding: Finding) -> str:
        path = () if finding.where.input in roles else (finding.where.input,)
        return ": ".join(part for part in (*path, told(finding.places[0])) if part)

    return place


def uri(path: str) -> str:
    """A relative path as a relative URI reference, an absolute one as a file URI, in the bytes of the file system."""
    from urllib.parse import quote  # noqa: PLC0415  5 ms that only this needs

    pure = PurePath(path)
    absolute = pure.is_absolute()
    encoded = quote(_bytes(pure.as_posix()), safe="/")
    if not absolute:
        return encoded
    return f"file://{encoded}" if encoded.startswith("/") else f"file:///{encoded}"


def _bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeError:  # half a surrogate pair: no path of this system
        return path.encode("utf-8", "surrogatepass")


def fingerprint(rule: str, path: str, place: Place) -> str:
    """Of the rule and the place, and of no figure: the same fault has the same one in every run."""
    import hashlib  # noqa: PLC0415  likewise

    parts = (rule, PurePath(path).as_posix(), *(part or "" for part in place))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def told(place: Place) -> str:
    """ "optimizer.state[3].exp_avg h.0.attn.weight"."""
    return " ".join(part for part in place if part)
