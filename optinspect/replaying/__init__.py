"""Steps run again from a checkpoint: under the file's own rule and under what it is compared with, side by side.

plan.py        Checkpoint → what can be stepped, under which rule, and what cannot and why
gradients.py   where gradients come from: recorded, described by the moments, zero
movers.py      who steps: a rule of ours, a class of torch.optim
schedules.py   the learning rates of the next steps
engine.py      one parameter after the other, in slabs: the memory is that of a slab, whatever the file's size
training.py    a live model with a forward and backward pass: the demonstration, or the user's own
result.py      what came out: a row a step, a row a parameter
"""

from __future__ import annotations

from optinspect.replaying.engine import replay
from optinspect.replaying.result import Final, ParameterRow, Replayed, StepRow

__all__ = ["Final", "ParameterRow", "Replayed", "StepRow", "replay"]
