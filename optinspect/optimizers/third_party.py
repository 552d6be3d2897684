"""Optimizers of packages beside torch, from `third_party.json`: one line each.

Nearly every line was taken from the class itself: its group's keys and defaults when new, the slots and their shapes
after four steps on two matrices and two vectors, with AMSGrad and momentum on and off. Packages: schedulefree 1.4.1,
prodigyopt 1.1.2, dadaptation 3.2, lion-pytorch 0.2.5, timm 1.0.31, torch_optimizer 0.3.0, pytorch_optimizer 4.1.0.
The slots of three Adafactor variants (timm's two and BigVision's) were added by hand and not measured.

`running` are keys that hold a value of the run, no setting; `later` those that a group has not had from the start.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optinspect.optimizers.base import NO_DEFAULT, Optimizer, SlotKind

_FACTORS = ("exp_avg_sq_row", "exp_avg_sq_col")
_DATA = Path(__file__).with_name("third_party.json")


def _optimizer(row: dict[str, Any]) -> Optimizer:
    kinds: dict[str, SlotKind] = {slot: kind for kind, names in row["slots"].items() for slot in names}
    return Optimizer(
        name=row["name"],
        source=row["source"],
        slots=kinds,
        defaults=row["defaults"] | dict.fromkeys(row.get("running", ()), NO_DEFAULT),
        always=frozenset(row["always"]),
        later=frozenset(row.get("later", ())),
        step_key=row.get("step_key"),
        signed=frozenset(row.get("signed", ())),
        factors=_FACTORS if kinds.keys() >= set(_FACTORS) else None,
    )


OPTIMIZERS: tuple[Optimizer, ...] = tuple(map(_optimizer, json.loads(_DATA.read_text(encoding="utf-8"))))
