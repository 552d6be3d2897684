"""The case of `check --model`: a whole resume, on the machine that the check runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optinspect.checkpoint import Checkpoint
from optinspect.live.case import Case
from optinspect.live.members import Members, members_of
from optinspect.naming.base import Naming

if TYPE_CHECKING:
    import torch


def case_for(members: Members, checkpoint: Checkpoint, naming: Naming) -> Case:
    """Model and optimizer are resumed together, where the file has both.

    capturable=True of a GPU's run is taken off where the check runs on a CPU: it says nothing about the resume there.
    """
    devices = {each.tensor.device.type for each in members.parameters}
    capturing = any(group.hyperparameters.get("capturable") is True for group in checkpoint.optimizers[0].groups)
    overrides: dict[str, Any] = {"capturable": False} if capturing and "cuda" not in devices else {}
    keys = [state.key for state in checkpoint.optimizers[0].parameters]
    named = bool(keys) and all(isinstance(key, str) and not key.isdigit() for key in keys)
    has_model = any(each.role == "model" for each in checkpoint.models)
    return Case(
        members=members,
        checkpoint=checkpoint,
        number=0,
        naming=naming,
        overrides=overrides,
        whole=has_model and members.module is not None,
        by_name=named and bool(members.order),
    )


def placeholder(model: torch.nn.Module) -> Members:
    """The model under an optimizer that nothing is said about, where only the model is compared."""
    import torch  # noqa: PLC0415

    return members_of(torch.optim.SGD(model.parameters(), lr=0.0), model)
