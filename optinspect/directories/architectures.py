"""The order in which known architectures create their modules, from `architectures.json`: one line each.

Every line was taken from live models of transformers 4.57.6 and 5.23.0, built with each head that these have for the
model_type and with biases, tied weights and cross-attention on and off, and gives all of them back in their own order;
the heads also those of 18 versions in between.

`order` lists the names of modules and parameters, so that among siblings the one listed first comes first in
`named_parameters()`. One list serves all levels; where a name stands in one order here and in another there, an entry
has the parent's name before it ("predictions.dense"). Numbers ascend and a module's own parameters come before its
children's: that needs no entry. Names that older and newer versions use are listed together where they are never
siblings. `since` and `until`: the first version of transformers ("5" or "5.9") that a line is right for, and the first
that it is not. `marks` are names that only this architecture has; one without them is taken where config.json names it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Version = tuple[int, int]

DATA = Path(__file__).with_name("architectures.json")

TRIED: tuple[Version, Version] = ((4, 57), (5, 23))
"""The first and the last version of transformers whose live models gave the orders."""

ADAPTERS = (
    "original_module",
    "base_layer",
    "lora_A",
    "lora_B",
    "lora_embedding_A",
    "lora_embedding_B",
    "lora_E",
    "lora_magnitude_vector",
    "ia3_l",
    "vera_lambda_b",
    "vera_lambda_d",
    "modules_to_save",
)
"""What PEFT puts beside and around a module, in its order."""
HOLDERS = ("lora_magnitude_vector",)
"""Modules in the model whose only parameter an adapter's file has under the module's own name."""
WRAPPERS = ("base_model",)


@dataclass(frozen=True, slots=True)
class Architecture:
    """title: for the report; types: `model_type` of config.json; order, marks, since, until: see above."""

    title: str
    types: frozenset[str]
    order: tuple[str, ...]
    marks: frozenset[str]
    since: Version = (0, 0)
    until: Version = (999, 0)


def version_of(text: object) -> Version:
    """(5, 9) of "5.9.0.dev0"; (0, 0) where there is none: a config without a version was written by an old one."""
    found = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?(?!\d)", text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


@cache
def architectures() -> tuple[Architecture, ...]:
    """All that are known, asked in this order."""
    return tuple(
        Architecture(
            row["title"],
            frozenset(row["types"].split()),
            tuple(row["order"].split()),
            frozenset(row.get("marks", "").split()),
            version_of(row.get("since", "0")),
            version_of(row.get("until", "999")),
        )
        for row in json.loads(DATA.read_text(encoding="utf-8"))
    )
