"""Reports built by hand, for tests of the renderers."""

from __future__ import annotations

from typing import Any

from optinspect.checkpoint import Input
from optinspect.report import Column, Finding, Line, Location, Report, Severity, Skipped, Table, Unit

INPUT = Input("checkpoint", "runs/ckpt_600.pt", "torch-zip", "nanogpt", 1_601_234_567)

COLUMNS = (
    Column("index", "index", Unit.COUNT, 0),
    Column("name", "name", Unit.NAME, 0),
    Column("shape", "shape", Unit.SHAPE, 1),
    Column("lr", "lr", Unit.SETTING, 1),
    Column("rms", "rms", Unit.REAL, 0),
    Column("log2_histogram", "|x| by magnitude", Unit.HISTOGRAM, 2),
    Column("mean", "mean", Unit.REAL, 3),
    Column("min", "min", Unit.REAL, 4),
    Column("max", "max", Unit.REAL, 4),
    Column("zeros", "zeros", Unit.PERCENT, 3),
    Column("bytes", "bytes", Unit.BYTES, 5),
    Column("slots", "state", Unit.LIST, 5),
    Column("betas", "betas", Unit.LIST, 5),
    Column("settings", "not default", Unit.ANY, 6),
    Column("key", "key", Unit.ANY, 9, machine=True),
    Column("never", "never there", Unit.REAL, 2),
)


def row(index: int, name: str | None, **other: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "index": index,
        "name": name,
        "shape": [768, 2304],
        "lr": 0.0006,
        "rms": 1.2345e-5,
        "log2_histogram": {-30: 4, -24: 100, -20: 1000, -16: 250, -14: 1},
        "mean": -4.5e-7,
        "min": -0.0123,
        "max": 0.04,
        "zeros": 0.25,
        "bytes": 7_077_888,
        "slots": ["step", "exp_avg", "exp_avg_sq"],
        "betas": [0.9, 0.95],
        "settings": {"amsgrad": True},
        "key": index,
        "never": None,
    }
    return base | other


def report(**changes: Any) -> Report:
    rows = [
        row(0, "transformer.wte.weight"),
        row(1, "transformer.h.0.attn.c_attn.weight", rms=0.0, zeros=1.0, log2_histogram={}, shape=[]),
        row(2, None, lr=1, rms=float("nan"), mean=float("inf"), min=float("-inf"), zeros=1e-9, bytes=12),
    ]
    told: dict[str, Any] = {
        "command": "show",
        "status": 1,
        "inputs": (INPUT,),
        "summary": {"optimizers": 1, "step": 600, "ratio": float("nan")},
        "tables": (Table("things", "Things", COLUMNS, rows, total=5, notes=("a note on the table",)),),
        "findings": (
            Finding(
                "OI101",
                "the file ends too early",
                Severity.ERROR,
                "record data/3 is not in the file",
                Location("checkpoint", "optimizer.state[3].exp_avg", "transformer.wpe.weight"),
                "take the save before this one",
            ),
        ),
        "skipped": (Skipped("OI601", "needs --previous"),),
        "headline": (
            Line("model", "model: 148 tensors, 124,439,808 parameters, float32, 1 tied name"),
            Line("optimizer", "optimizer: AdamW, 2 groups, 148 parameters, step 600, 949.41 MiB of state"),
            Line("optimizer", "other: SGD, 1 group, 2 parameters, no step count, 0 B of state"),
        ),
        "footer": (
            Line("stands out", "no state for 2 parameters: transformer.h.0.ln_1.weight and more", Severity.WARNING),
            Line("covered", "352 of 352 state tensors, every element"),
        ),
        "next_command": "optinspect show runs/ckpt_600.pt --weights",
    }
    return Report(**(told | changes))
