"""Small healthy files of every kind that is read, to be mutated."""

from __future__ import annotations

import collections
import datetime
import io
import pickle
import zipfile
from typing import Any

import numpy as np
import torch
from safetensors.torch import save


def _training() -> dict[str, Any]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}


def _odd() -> dict[str, Any]:
    view = torch.arange(12.0).reshape(3, 4)
    return {
        "view": view[1:, ::2],
        "expanded": torch.ones(1).expand(5),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "sparse": torch.eye(2).to_sparse(),
        "scalar": np.float64(0.1),
        "array": np.arange(6, dtype=">i4").reshape(2, 3),
        "when": datetime.datetime(2024, 5, 6, 7, 8, 9),
        "set": {1, "b", (2, "c")},
        "default": collections.defaultdict(list, {"a": [1]}),
        "raw": b"\x00\xff",
        "big": 1 << 70,
        "device": torch.device("cuda", 1),
        "size": torch.Size((2, 3)),
        "dtype": torch.float16,
    }


def _saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _deflated(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def seeds() -> list[bytes]:
    """Twelve files of 0.2 to 8 kB."""
    training, odd = _training(), _odd()
    zipped = _saved(training)
    tensors = {name: tensor.contiguous() for name, tensor in training["model"].items()}
    return [
        zipped,
        _deflated(zipped),
        _saved(training, pickle_protocol=4),
        _saved(training, pickle_protocol=5),
        _saved(training, _use_new_zipfile_serialization=False),
        _saved(odd),
        _saved(odd, pickle_protocol=5),
        _saved(odd, _use_new_zipfile_serialization=False, pickle_protocol=3),
        _saved(torch.nn.Linear(2, 2)),
        pickle.dumps(training["model"]),
        pickle.dumps({"a": [1, 2.5, "x"], "b": {"c": None}}, protocol=0),
        save(tensors, metadata={"format": "pt"}),
    ]
