"""The demonstration: a bigram language model that learns a short text, small enough to follow every number.

A bigram model sees one character and predicts the next. Its parameters are two tables and a bias:

    token_embedding_table.weight   one row a character: what the model knows about it
    lm_head.weight, lm_head.bias   from that row to a score for every character that may follow
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optinspect.replaying.movers import opponent_named
from optinspect.replaying.result import Replayed
from optinspect.replaying.resumed import fresh
from optinspect.replaying.training import Live, Training, train

if TYPE_CHECKING:
    import torch

TEXT = (
    "a gradient says which way is up. the optimizer walks down.\n"
    "the first moment remembers where it was going, the second how rough the ground was.\n"
    "where the ground is rough it takes short steps; where it is smooth it dares to take long ones.\n"
    "at the start both memories are empty, so it corrects for what it has not yet seen.\n"
    "and at every step each weight shrinks a little, for what is not needed should fade.\n"
)
WIDTH = 16
BATCH = 12
"""Pairs of neighbouring characters a step: few, so that most rows of the embedding see no gradient."""
LR = 0.02
SETTINGS = {"lr": LR, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False, "maximize": False}
EMBEDDING = "token_embedding_table.weight"


@dataclass(frozen=True)
class Change:
    """What one step did: rows of the embedding that had a gradient, rows that moved, elements of lm_head that moved."""

    step: int
    characters: str
    """Those whose rows had a gradient: the characters of the batch."""
    rows_with_gradient: int
    rows_moved: int
    rows: int
    embedding_norm: float
    """L2 of what the step added to the embedding; `head_norm`: to lm_head.weight and lm_head.bias."""
    head_norm: float


@dataclass(frozen=True)
class Demonstration:
    """The replay and what it shows besides. elements: of all parameters."""

    replayed: Replayed
    changes: tuple[Change, ...]
    characters: int
    elements: int


def demonstrate(steps: int, *, seed: int = 0, against: str = "torch") -> Demonstration:
    """Train the bigram model for `steps` steps under AdamW and beside it under what it is compared with."""
    live = model(seed)
    watcher = _Watcher("".join(vocabulary()))
    training = Training(
        live=live,
        parameters=fresh(live.module, SETTINGS),
        batches=batches(seed),
        lrs=[(LR,)] * steps,
        opponent=opponent_named(against),
        kind="demo",
        watcher=watcher,
    )
    elements = sum(parameter.numel() for parameter in live.module.parameters())
    return Demonstration(train(training), tuple(watcher.changes), len(vocabulary()), elements)


def vocabulary() -> list[str]:
    return sorted(set(TEXT))


def model(seed: int) -> Live:
    """The model with reproducible weights, N(0, 0.1²) and a bias of 0, and its cross-entropy."""
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    characters = len(vocabulary())
    table, head = nn.Embedding(characters, WIDTH), nn.Linear(WIDTH, characters)
    module = nn.ModuleDict({"token_embedding_table": table, "lm_head": head})
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_(0.0, 0.1, generator=source) if not name.endswith("bias") else parameter.zero_()

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        rows = model.get_submodule("token_embedding_table")(batch[0])
        return nn.functional.cross_entropy(model.get_submodule("lm_head")(rows), batch[1])

    return Live(module, loss)


def batches(seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Without end: (characters, the characters that follow them), each of shape (BATCH,), int64."""
    import torch  # noqa: PLC0415

    places = {character: place for place, character in enumerate(vocabulary())}
    text = torch.tensor([places[character] for character in TEXT])
    source = torch.Generator().manual_seed(seed + 1)
    while True:
        start = torch.randint(len(text) - BATCH, (1,), generator=source).item()
        yield text[int(start) : int(start) + BATCH], text[int(start) + 1 : int(start) + BATCH + 1]


@dataclass
class _Watcher:
    """Takes down what each step does to the rows."""

    characters: str
    changes: list[Change] = field(default_factory=list)
    _held: dict[str, torch.Tensor] = field(default_factory=dict)
    _with_gradient: list[int] = field(default_factory=list)

    def before(self, number: int, module: torch.nn.Module) -> None:  # noqa: ARG002  the signature is Watcher's
        parameters = dict(module.named_parameters())
        self._held = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        gradient = parameters[EMBEDDING].grad
        seen = gradient.ne(0).any(dim=1) if gradient is not None else None
        self._with_gradient = seen.nonzero().flatten().tolist() if seen is not None else []

    def after(self, number: int, module: torch.nn.Module) -> None:
        moved = {name: parameter.detach() - self._held[name] for name, parameter in module.named_parameters()}
        rows = moved[EMBEDDING].ne(0).any(dim=1)
        self.changes.append(
            Change(
                step=number + 1,
                characters="".join(self.characters[row] for row in self._with_gradient),
                rows_with_gradient=len(self._with_gradient),
                rows_moved=int(rows.sum()),
                rows=len(rows),
                embedding_norm=float(moved[EMBEDDING].double().norm()),
                head_norm=sum(float(x.double().norm()) ** 2 for name, x in moved.items() if name != EMBEDDING) ** 0.5,
            )
        )
