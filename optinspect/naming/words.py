"""Whether two keys of a file mean the same thing: "optimizer_G" and "netG", "opt_d" and "discriminator"."""

from __future__ import annotations

import re

_WORDS = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]|[0-9]+")
_EMPTY_WORDS = re.compile(
    r"""opt(?:im(?:izers?)?|s)? | states? | dicts? | models? | nets? | network | module | sd | checkpoint | ckpt
      | weights | params | parameters | bin | pt | pth | adam | adamw | sgd | [0-9]+""",
    re.VERBOSE,
)
"""What says nothing about which model: kinds of things, not names."""


def affinity(optimizer: str, model: str) -> int:
    """How well two routes share a word: 3 the same word, 2 one begins the other ("opt_G", "generator"), 0 none."""
    ours, theirs = _words(optimizer), _words(model)
    if ours & theirs:
        return 3
    return 2 if any(a.startswith(b) or b.startswith(a) for a in ours for b in theirs) else 0


def _words(route: str) -> frozenset[str]:
    words = (word.lower() for word in _WORDS.findall(route))
    return frozenset(word for word in words if not _EMPTY_WORDS.fullmatch(word))
