"""OI714 and OI716: the states of random generators that a resume restores."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from optinspect.checks.base import Complaint, Context, Rule, Skip, rule
from optinspect.containers.wording import counted
from optinspect.layouts.base import Problems
from optinspect.layouts.values import scalar
from optinspect.report import Severity
from optinspect.tensors import TensorRef

CPU_SIZES = (5056, 5048)
"""Bytes of torch.get_rng_state() (with and without the padding of older versions)."""
DEVICE_SIZES = (16, 44, 816)
"""Bytes of the states of CUDA's generator, of MPS', and of CUDA's in older versions."""
OF_CPU = frozenset({"torch", "cpu"})
OF_OTHERS = re.compile(r"cuda|gpu|mps|xpu|npu|hpu|tpu|xla|musa|mlu|device|numpy|python|jax|pickle")
ITS_OWN = frozenset({"np", "py", "random", "worker", "workers"})
"""Words for the generators of other libraries and devices, within words and whole."""
PICKLE = 0x80
"""The first byte of every pickle since protocol 2."""


@rule("OI714", Severity.WARNING, title="a random state of the wrong size")
def random_state(context: Context) -> Iterable[Complaint]:
    """torch's CPU random state has another number of bytes than torch.set_rng_state takes, or holds no bytes. A state
    that may be a GPU's by its name ("rng_state") may have the sizes of those too.

    Why a resume breaks: set_rng_state raises "RNG state is wrong size", or "RNG state must be a torch.ByteTensor".
    Harmless when: the state is not restored.
    Repair: save torch.get_rng_state() whole; do not gather it over ranks, slice it or cast it.
    Seen: states that were cut or padded to be sent between ranks; a map over all tensors of a file that casts them.
    """
    every = context.facts.checkpoint.rng
    found = [each for each in every if isinstance(each.value, TensorRef) and _of_cpu(each.route) is not False]
    if not found:
        raise Skip("no random state of torch's CPU generator in the file")
    for each in found:
        sizes = CPU_SIZES if _of_cpu(each.route) else (*CPU_SIZES, *DEVICE_SIZES)
        if each.value.dtype.name != "uint8":
            told = f"{each.value.dtype.name} (uint8 expected): set_rng_state takes nothing else"
            yield Complaint(told, each.route)
        elif each.value.numel not in sizes and not _pickled(each.value):
            yield Complaint(f"{counted(each.value.numel, 'byte')} ({CPU_SIZES[0]:,} expected)", each.route)


def _of_cpu(route: str) -> bool | None:
    """Whether a random state is that of torch's CPU generator by its route; None where it may be a device's."""
    names = [part.partition("[")[0].lower() for part in route.split(".")]
    words = frozenset(word for name in names[-2:] for word in name.split("_"))
    if any(OF_OTHERS.search(name) for name in names) or names[-1] in ITS_OWN or ITS_OWN & words - {"random"}:
        return False
    return True if OF_CPU & frozenset(names[-1].split("_")) else None


def _pickled(tensor: TensorRef) -> bool:
    """Whether the bytes are a pickle: what scripts send between ranks."""
    return tensor.numel > 1 and scalar(replace(tensor, shape=(1,), stride=(1,)), Problems(), "") == PICKLE


@rule("OI716", Severity.NOTE, title="no random state")
def random_missing(context: Context) -> Iterable[Complaint]:
    """A file that keeps everything else (scheduler, GradScaler, counters) has no random state.

    Why it matters: dropout, augmentation and the order of the data differ after the resume: it is not bit for bit the
    run that would have gone on.
    Harmless when: seeds are set from the step count, or nothing is random.
    Repair: save torch.get_rng_state(), the CUDA states, and those of numpy and random.
    Seen: speculators#1026, ace#690, ms-swift#9935.
    """
    checkpoint = context.facts.checkpoint
    if checkpoint.rng or not checkpoint.optimizers:
        raise Skip("a random state is there" if checkpoint.rng else "no optimizer in the file")
    if checkpoint.schedulers and checkpoint.scalers and checkpoint.counters:
        yield Complaint("scheduler, GradScaler and counters are saved, but no random state", None)


RULES: tuple[Rule, ...] = (random_state, random_missing)
