"""Bytes → Tree: the kinds of file that are read, and how one is opened. Nothing named in a file is run or imported."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from optinspect.containers import foreign, plain_pickle, safetensors_file, torch_legacy, torch_zip
from optinspect.containers.base import Container, Limits, Tree
from optinspect.containers.held_file import HeldFile
from optinspect.containers.source import Source
from optinspect.containers.wording import line
from optinspect.errors import UnreadableFile

CONTAINERS: tuple[Container, ...] = (torch_zip, torch_legacy, safetensors_file, plain_pickle)
"""In the order they are asked; by content only, an extension means nothing."""

_DEFAULT = Limits()


def open_tree(path: str | os.PathLike[str], limits: Limits = _DEFAULT) -> Tree:
    """Open a checkpoint file; the caller closes the Tree.

    Raises UnreadableFile, NotACheckpoint, MalformedCheckpoint, TruncatedCheckpoint, LimitExceeded.
    """
    file = HeldFile(_text(path))
    try:
        return open_source(Source(file.path, file, (file,)), limits)
    except BaseException:
        file.close()
        raise


def open_source(source: Source, limits: Limits = _DEFAULT) -> Tree:
    """Open a checkpoint that lies in a byte range: a part of a file, an archive's member."""
    head = source.head(foreign.HEAD)
    for container in CONTAINERS:
        if container.recognises(head):
            with _no_collection():
                return container.open(source, limits)
    raise foreign.refusal(source, head)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cycle collector: it would look again and again at millions of new objects that are all alive."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _text(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise UnreadableFile(line(repr(text), "a path of bytes (text expected)"))
    return text


__all__ = ["CONTAINERS", "Limits", "Tree", "open_source", "open_tree"]
