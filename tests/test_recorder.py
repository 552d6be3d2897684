"""The Recorder: it writes what the optimizer used; a replay lands on the same bits; a crash loses no complete step."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from step_cases import same_bits

import optinspect
from optinspect import recorder as module
from optinspect.blocks import read
from optinspect.errors import Undecidable, UsageError
from optinspect.optimizers.rules import rule_named
from optinspect.optimizers.stepping import live_settings, torch_step
from optinspect.recordings import Recording, open_recording


class Net(torch.nn.Module):
    """Shapes that differ, a matrix stepped with decay and vectors without, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.norm = torch.nn.LayerNorm(6)
        self.out = torch.nn.Linear(6, 11, bias=False)
        self.out.weight = self.embed.weight
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(self.norm(self.embed(tokens).mean(1))) * self.scale
        return logits


def groups(net: Net) -> list[dict[str, Any]]:
    vectors = [net.norm.weight, net.norm.bias, net.scale]
    return [{"params": [net.embed.weight], "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0, "lr": 3e-3}]


class Training:
    """A run with a schedule, clipping and two groups; `seen` is what the optimizer was given, step by step."""

    def __init__(self, make: Callable[[Any], torch.optim.Optimizer] | None = None) -> None:
        torch.manual_seed(4)
        self.net = Net()
        self.optimizer = make(groups(self.net)) if make else torch.optim.AdamW(groups(self.net), lr=1e-3, foreach=False)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 40)
        self.seen: list[dict[str, torch.Tensor]] = []
        self.lrs: list[tuple[float, ...]] = []
        self.norms: list[float] = []

    def run(self, steps: int) -> None:
        for _ in range(steps):
            tokens = torch.randint(0, 11, (8, 5))
            self.net.zero_grad()
            torch.nn.functional.cross_entropy(self.net(tokens), tokens[:, 0]).backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 0.1)
            grads = {name: p.grad.clone() for name, p in self.net.named_parameters() if p.grad is not None}
            self.seen.append(grads)
            self.norms.append(math.sqrt(sum(float(g.double().pow(2).sum()) for g in grads.values())))
            self.lrs.append(tuple(group["lr"] for group in self.optimizer.param_groups))
            self.optimizer.step()
            self.schedule.step()


def gradient(recording: Recording, key: int | str, step: int) -> torch.Tensor | None:
    found = recording.used(key, step)
    return None if found is None else torch.from_numpy(read(found).copy())


def same(recording: Recording, seen: list[dict[str, torch.Tensor]]) -> None:
    assert recording.steps == tuple(range(len(seen)))
    for step, grads in enumerate(seen):
        for key in {*recording.keys, *grads}:
            found, used = gradient(recording, key, step), grads.get(str(key))
            assert (found is None) == (used is None)
            assert found is None or used is None or same_bits(found, used)


@pytest.mark.parametrize("part_bytes", [1, 1000, 1 << 20])
def test_what_is_read_back_is_what_was_used(part_bytes: int, tmp_path: Path) -> None:
    training = Training()
    with optinspect.Recorder(training.optimizer, tmp_path / "grads", model=training.net, part_bytes=part_bytes):
        training.run(9)
    files = sorted(path.name for path in (tmp_path / "grads").iterdir())
    assert files == [f"part-{n:06d}.pt" for n in range(1, len(files) + 1)]
    assert (len(files) == 1) == (part_bytes > 1000)
    with open_recording([tmp_path / "grads"]) as recording:
        same(recording, training.seen)
        assert [recording.lrs(step) for step in recording.steps] == training.lrs


def test_a_part_is_an_ordinary_torch_file(tmp_path: Path) -> None:
    training = Training()
    with optinspect.Recorder(training.optimizer, tmp_path / "grads", model=training.net):
        training.run(3)
    part = torch.load(tmp_path / "grads" / "part-000001.pt", weights_only=True)
    assert part["steps"] == [0, 1, 2]
    assert part["lrs"] == [list(lrs) for lrs in training.lrs]
    # 1e-6: measured 3e-8, float32 norms of blocks of 4096 elements
    assert part["norm"] == pytest.approx(training.norms, rel=1e-6)
    assert [row[0]["weight_decay"] for row in part["groups"]] == [0.1] * 3
    assert [row[1]["lr"] for row in part["groups"]] == [lrs[1] for lrs in training.lrs]
    for name, stack in part["used"].items():
        assert torch.equal(stack, torch.stack([grads[name] for grads in training.seen]))


def test_the_norm_is_right_for_large_gradients(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(3, 100_001))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    with optinspect.Recorder(optimizer, tmp_path / "grads"):
        weight.grad = torch.randn(3, 100_001)
        optimizer.step()
    part = torch.load(tmp_path / "grads" / "part-000001.pt", weights_only=True)
    assert part["norm"][0] == pytest.approx(float(weight.grad.double().norm()), rel=1e-7)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_replay_of_the_recording_lands_on_the_same_bits(name: str, tmp_path: Path) -> None:
    """From A over a schedule, clipping and two groups to B, by the step rule and what was recorded alone."""
    makes: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
        "adamw": lambda params: torch.optim.AdamW(params, lr=1e-3, foreach=False),
        "adam": lambda params: torch.optim.Adam(params, lr=1e-3, foreach=False),
        "sgd": lambda params: torch.optim.SGD(params, lr=1e-1, momentum=0.9, foreach=False),
    }
    training = Training(makes[name])
    training.run(5)
    start = {
        key: (p.detach().clone(), {slot: torch.clone(x) for slot, x in training.optimizer.state[p].items()})
        for key, p in training.net.named_parameters()
    }
    with optinspect.Recorder(training.optimizer, tmp_path / "grads", model=training.net, start=5, part_bytes=2000):
        training.run(20)
    rule = rule_named(name)
    assert rule is not None
    with open_recording([tmp_path / "grads"]) as recording, torch.no_grad():
        recording.need(5, 20)
        for number, group in enumerate(training.optimizer.param_groups):
            for key, end in training.net.named_parameters():
                if not any(end is p for p in group["params"]):
                    continue
                weight, state = start[key]
                for step in range(5, 25):
                    lrs, used = recording.lrs(step), gradient(recording, key, step)
                    assert lrs is not None and used is not None
                    torch_step(rule, weight, used, state, live_settings(rule, {**group, "lr": lrs[number]}, number))
                assert same_bits(weight, end.detach())
                assert all(same_bits(state[slot], x) for slot, x in training.optimizer.state[end].items())


def test_none_is_not_zero(tmp_path: Path) -> None:
    """The gradient of one parameter comes and goes; each set of gradients has parts of its own."""
    training = Training()
    net, seen = training.net, []
    with optinspect.Recorder(training.optimizer, tmp_path / "grads", model=net):
        for step in range(8):
            for p in net.parameters():
                p.grad = torch.full_like(p, float(step))
            if step in (2, 3, 6):
                net.scale.grad = None
            if step == 6:
                net.norm.bias.grad.zero_()  # type: ignore[union-attr]
            seen.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
            training.optimizer.step()
    assert len(list((tmp_path / "grads").iterdir())) == 5
    with open_recording([tmp_path / "grads"]) as recording:
        same(recording, seen)
        assert recording.used("scale", 2) is None
        assert torch.equal(gradient(recording, "norm.bias", 6), torch.zeros(6))


def test_without_a_model_the_keys_are_indices(tmp_path: Path) -> None:
    training = Training()
    with optinspect.Recorder(training.optimizer, tmp_path / "grads"):
        training.run(2)
    order = ["embed.weight", "norm.weight", "norm.bias", "scale"]
    with open_recording([tmp_path / "grads"]) as recording:
        assert recording.keys == (0, 1, 2, 3) and not recording.named
        for index, name in enumerate(order):
            assert recording.key_of(name, index) == index
            assert torch.equal(gradient(recording, index, 1), training.seen[1][name])


@pytest.mark.parametrize(
    "given",
    [lambda net: net, lambda net: dict(net.named_parameters()), lambda net: iter(net.named_parameters())],
    ids=["module", "mapping", "pairs"],
)
def test_names_come_from_anything_that_has_them(given: Callable[[Net], Any], tmp_path: Path) -> None:
    training = Training()
    with optinspect.Recorder(training.optimizer, tmp_path / "grads", model=given(training.net)):
        training.run(1)
    with open_recording([tmp_path / "grads"]) as recording:
        assert set(recording.keys) == {name for name, _ in training.net.named_parameters()}


def test_names_of_wrapped_models_and_named_optimizers(tmp_path: Path) -> None:
    net = Net()
    wrapped = torch.nn.Module()
    wrapped.module = net
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    for folder, model in (("wrapped", wrapped), ("named", None)):
        with optinspect.Recorder(optimizer, tmp_path / folder, model=model):
            net(torch.zeros(2, 3, dtype=torch.long)).sum().backward()
            optimizer.step()
        with open_recording([tmp_path / folder]) as recording:
            assert set(recording.keys) == {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128])
def test_every_dtype_keeps_its_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3, 2, dtype=dtype))
    plain = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight, plain], lr=0.1)
    recorder = optinspect.Recorder(optimizer, tmp_path / "grads").open()
    grads = []
    for _ in range(3):
        grads.append(
            torch.randn(3, 2, dtype=torch.complex128).to(dtype) if dtype.is_complex else torch.randn(3, 2).to(dtype)
        )
        weight.grad, plain.grad = grads[-1].clone(), torch.ones(2)
        optimizer.step()
    for _ in ("journal", "part"):  # before and after it is closed
        with open_recording([tmp_path / "grads"]) as recording:
            assert recording.steps == (0, 1, 2)
            for step, used in enumerate(grads):
                found = gradient(recording, 0, step)
                assert found is not None and torch.equal(found.to(dtype), used)
        recorder.close()


def test_gradients_that_do_not_lie_in_rows(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with optinspect.Recorder(optimizer, tmp_path / "grads"):
        weight.grad = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
        optimizer.step()
    with open_recording([tmp_path / "grads"]) as recording:
        assert torch.equal(gradient(recording, 0, 0), weight.grad.contiguous())


def test_a_sparse_gradient_is_recorded_as_a_dense_one(tmp_path: Path) -> None:
    table = torch.nn.Embedding(7, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(list(table.parameters()))
    with optinspect.Recorder(optimizer, tmp_path / "grads", model=table):
        table(torch.tensor([1, 1, 4])).sum().backward()
        optimizer.step()
    with open_recording([tmp_path / "grads"]) as recording:
        assert torch.equal(gradient(recording, "weight", 0), table.weight.grad.to_dense())


def test_every_and_the_count_of_a_resumed_run(tmp_path: Path) -> None:
    training = Training()
    training.run(7)
    with optinspect.Recorder(training.optimizer, tmp_path / "grads", every=3, model=training.net):
        training.run(9)
    with open_recording([tmp_path / "grads"]) as recording:
        assert recording.steps == (9, 12, 15)
        assert same_bits(gradient(recording, "scale", 12), training.seen[12]["scale"])
        with pytest.raises(Undecidable, match="none for the step from 10 to 11"):
            recording.need(9, 3)


def test_a_closure_is_waited_for(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    for how in ("positional", "keyword"):
        optimizer = torch.optim.SGD([weight], lr=0.1)

        def closure() -> float:
            weight.grad = torch.full((2,), 7.0)
            return 1.5

        weight.grad = torch.zeros(2)
        with optinspect.Recorder(optimizer, tmp_path / how):
            loss = optimizer.step(closure) if how == "positional" else optimizer.step(closure=closure)
        assert loss == 1.5
        with open_recording([tmp_path / how]) as recording:
            assert torch.equal(gradient(recording, 0, 0), torch.full((2,), 7.0))


def test_an_optimizer_that_evaluates_several_times_is_not_recorded(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([weight])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight**4).sum()
        loss.backward()
        return loss

    with (
        pytest.warns(RuntimeWarning, match="several times a step"),
        optinspect.Recorder(optimizer, tmp_path / "g") as recorder,
    ):
        optimizer.step(closure)
    assert recorder.problem is not None
    assert not weight.detach().equal(torch.ones(2))


def test_steps_that_a_scaler_skips_are_not_recorded(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], foreach=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    with optinspect.Recorder(optimizer, tmp_path / "grads"):
        for value in (1.0, float("inf"), 3.0):
            optimizer.zero_grad()
            scaler.scale((weight * value).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    with open_recording([tmp_path / "grads"]) as recording:
        assert recording.steps == (0, 1)
        assert [float(gradient(recording, 0, step)[0]) for step in (0, 1)] == [1.0, 3.0]


def test_fused_optimizers_unscale_in_their_kernel(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    with optinspect.Recorder(optimizer, tmp_path / "grads"):
        for value in (1.0, float("inf"), 3.0):
            optimizer.zero_grad()
            scaler.scale((weight * value).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    with open_recording([tmp_path / "grads"]) as recording:
        assert [float(gradient(recording, 0, step)[0]) for step in recording.steps] == [1.0, 3.0]
        assert recording.steps == (0, 1)


def test_a_new_group_is_recorded_from_its_first_step(tmp_path: Path) -> None:
    first, second = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([first], lr=0.1)
    with optinspect.Recorder(optimizer, tmp_path / "grads"):
        first.grad, second.grad = torch.ones(2), torch.ones(3)
        optimizer.step()
        optimizer.add_param_group({"params": [second], "lr": 0.5})
        optimizer.step()
    with open_recording([tmp_path / "grads"]) as recording:
        assert recording.used(1, 0) is None and recording.used(1, 1) is not None
        assert (recording.lrs(0), recording.lrs(1)) == ((0.1,), (0.1, 0.5))


def test_recording_changes_nothing(tmp_path: Path) -> None:
    plain, recorded = Training(), None
    plain.run(6)
    recorded = Training()
    with optinspect.Recorder(recorded.optimizer, tmp_path / "grads", model=recorded.net):
        recorded.run(6)
    for a, b in zip(plain.net.parameters(), recorded.net.parameters(), strict=True):
        assert same_bits(a.detach(), b.detach())
    assert not recorded.optimizer._optimizer_step_pre_hooks


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    training = Training()
    with optinspect.Recorder(training.optimizer, tmp_path, model=training.net):
        training.run(1)
    with pytest.raises(UsageError, match="expected a new folder"), optinspect.Recorder(training.optimizer, tmp_path):
        pass


def test_a_parameter_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    training = Training()
    with pytest.raises(UsageError, match="not in `model`"):
        optinspect.Recorder(training.optimizer, tmp_path, model=Net()).open()


def test_training_goes_on_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    recorder = optinspect.Recorder(training.optimizer, tmp_path / "grads", model=training.net).open()
    training.run(2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Writer, "add", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        training.run(1)
    monkeypatch.undo()
    training.run(2)
    recorder.close()
    assert recorder.problem is not None and len(training.seen) == 5
    with open_recording([tmp_path / "grads"]) as recording:
        same(recording, training.seen[:2])


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A part in memory is no larger than it was allowed, however long the run."""
    weight = torch.nn.Parameter(torch.zeros(1000))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    weight.grad = torch.ones(1000)
    held = []
    with optinspect.Recorder(optimizer, tmp_path / "grads", part_bytes=20_000) as recorder:
        for _ in range(57):
            optimizer.step()
            part = recorder._writer._part if recorder._writer else None
            held.append(sum(m.untyped_storage().nbytes() for m in part.memory.values()) if part else 0)
    assert max(held) == 20_000
    sizes = [len(torch.load(path)["steps"]) for path in sorted((tmp_path / "grads").iterdir())]
    assert sizes == [5] * 11 + [2]


KILLED = """
import sys, time, torch, optinspect
torch.manual_seed(0)
weights = [torch.nn.Parameter(torch.zeros(n)) for n in (50, 7)]
optimizer = torch.optim.AdamW(weights)
with optinspect.Recorder(optimizer, sys.argv[1], part_bytes=int(sys.argv[2])):
    for step in range(100_000):
        for n, weight in enumerate(weights):
            weight.grad = torch.full_like(weight, float(step * 2 + n))
        optimizer.step()
        print(step + 1, flush=True)
"""


@pytest.mark.parametrize("part_bytes", [3000, 1 << 20])
def test_a_kill_loses_no_complete_step(part_bytes: int, tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path / "grads"), str(part_bytes)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 37:
                break
        os.kill(process.pid, signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().splitlines() if line.isdecimal()]
    done = max([37, *said[:-1]])  # the last line may be cut
    with open_recording([tmp_path / "grads"]) as recording:
        assert len(recording.steps) >= done
        assert recording.steps == tuple(range(len(recording.steps)))
        for step in recording.steps:
            for index, size in enumerate((50, 7)):
                found = gradient(recording, index, step)
                assert torch.equal(found, torch.full((size,), float(step * 2 + index)))


def test_a_journal_cut_anywhere_gives_the_steps_before_the_cut(tmp_path: Path) -> None:
    training = Training()
    recorder = optinspect.Recorder(training.optimizer, tmp_path / "grads", model=training.net).open()
    training.run(3)
    (journal,) = (tmp_path / "grads").iterdir()
    whole = journal.read_bytes()
    recorder.close()
    ends, at = [], 0
    while at < len(whole):
        at += 8 + int.from_bytes(whole[at : at + 8], "little")
        ends.append(at)
    assert len(ends) == 3
    cuts = {cut for end in ends for cut in (end, end + 3, end + 8, end + 100)} | set(range(ends[0], ends[-1], 97))
    (tmp_path / "cut").mkdir()
    for cut in cuts:
        (tmp_path / "cut" / "part-000001.journal").write_bytes(whole[:cut])
        with open_recording([tmp_path / "cut"]) as recording:
            same(recording, training.seen[: sum(end <= cut for end in ends)])
    (tmp_path / "cut" / "part-000001.journal").write_bytes(whole[: ends[0] - 1])
    with pytest.raises(Undecidable, match="no complete step"):
        open_recording([tmp_path / "cut"])


def test_a_journal_whose_part_is_saved_counts_no_more(tmp_path: Path) -> None:
    training = Training()
    recorder = optinspect.Recorder(training.optimizer, tmp_path / "grads", model=training.net).open()
    training.run(3)
    (journal,) = (tmp_path / "grads").iterdir()
    left = journal.read_bytes()
    recorder.close()
    journal.write_bytes(left)
    with open_recording([tmp_path / "grads"]) as recording:
        same(recording, training.seen)


def test_importing_optinspect_does_not_import_torch() -> None:
    code = "import sys, optinspect; optinspect.Recorder; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
