"""The callbacks in real runs of their frameworks, where those are installed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from optinspect.blocks import read
from optinspect.integrations import lightning, transformers
from optinspect.recordings import open_recording


def line(points: int = 24) -> list[tuple[torch.Tensor, torch.Tensor]]:
    source = torch.Generator().manual_seed(2)
    x = torch.randn(points, 3, generator=source)
    return list(zip(x, x @ torch.tensor([1.0, -2.0, 0.5]) + 0.1, strict=True))


@pytest.mark.filterwarnings("default")
def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    from lightning.pytorch import LightningModule, Trainer  # noqa: PLC0415

    class Line(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 1)
            self.seen: list[torch.Tensor] = []

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            x, y = batch
            return torch.nn.functional.mse_loss(self.net(x)[:, 0], y)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.1)

        def on_before_zero_grad(self, optimizer: Any) -> None:
            if self.net.weight.grad is not None:
                self.seen.append(self.net.weight.grad.clone())

    module = Line()
    callback = lightning.RecorderCallback(tmp_path / "grads")
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(max_epochs=2, accelerator="cpu", gradient_clip_val=0.5, callbacks=[callback], **quiet)
    trainer.fit(module, torch.utils.data.DataLoader(line(), batch_size=6))
    with open_recording([tmp_path / "grads"]) as recording:
        assert recording.steps == tuple(range(8))
        assert set(recording.keys) == {"net.weight", "net.bias"}
        norms = [
            sum(float((read(recording.used(key, step)) ** 2).sum()) for key in recording.keys) ** 0.5  # type: ignore[arg-type]
            for step in recording.steps
        ]
        assert max(norms) == pytest.approx(0.5, rel=1e-4)  # clipped
        last = recording.used("net.weight", 7)
        assert last is not None
        assert torch.equal(torch.from_numpy(read(last).copy()), module.net.weight.grad)


@pytest.mark.filterwarnings("default")
def test_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate, which transformers' Trainer needs, is not installed")
    from transformers import Trainer, TrainingArguments  # noqa: PLC0415

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 1)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            out = self.net(x)[:, 0]
            return {"loss": torch.nn.functional.mse_loss(out, labels), "logits": out}

    args = TrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=6,
        per_device_train_batch_size=4,
        max_grad_norm=0.5,
        learning_rate=0.1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    data: Any = [{"x": x, "labels": y} for x, y in line()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(Line(), args, train_dataset=data, callbacks=[transformers.RecorderCallback(tmp_path / "grads")]).train()
    with open_recording([tmp_path / "grads"]) as recording:
        assert recording.steps == tuple(range(6))
        assert set(recording.keys) == {"net.weight", "net.bias"}
        lrs = [recording.lrs(step) for step in recording.steps]
        assert [row[0] for row in lrs if row] == pytest.approx([0.1 * (6 - step) / 6 for step in range(6)])
        for step in recording.steps:
            norm = sum(float((read(recording.used(key, step)) ** 2).sum()) for key in recording.keys) ** 0.5  # type: ignore[arg-type]
            assert norm <= 0.5 * (1 + 1e-4)


def test_without_the_framework_the_modules_still_import() -> None:
    for module in (lightning, transformers):
        with pytest.raises(AttributeError, match="no attribute 'Other'"):
            _ = module.Other
