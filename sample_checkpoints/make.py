"""Train the sample checkpoints again: `python sample_checkpoints/make.py [OUT]` (default: this folder).

Seeded and single-threaded: two runs on one machine write the same bytes. What each file holds is in README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from models import GPT, VOCABULARY, ActorCritic, Bigram, Classifier, perceptron
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim import Optimizer

Loss = Callable[[], Tensor]

KEPT_OF_DAMAGED = 0.55
"""The cut falls among the tensors: the structure stands in front and survives."""


def token_batch(length: int = 16) -> tuple[Tensor, Tensor]:
    """Sequences where the next token is 3·token + 1 or a random one: (inputs, targets), 8 × length."""
    tokens = torch.randint(VOCABULARY, (8, length + 1))
    for column in range(1, length + 1):
        follow = torch.rand(8) < 0.8
        tokens[follow, column] = (3 * tokens[follow, column - 1] + 1) % VOCABULARY
    return tokens[:, :-1], tokens[:, 1:]


def language_loss(model: nn.Module) -> Loss:
    def loss() -> Tensor:
        inputs, targets = token_batch()
        return cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    return loss


def regression_loss(model: nn.Module, width: int, dtype: Any = None) -> Loss:
    """Fit sin of the inputs' sum."""

    def loss() -> Tensor:
        inputs = torch.randn(32, width)
        target = torch.sin(inputs.sum(1, keepdim=True))
        error: Tensor = model(inputs.to(dtype)) - target.to(dtype)
        return error.pow(2).mean()

    return loss


def classification_loss(model: nn.Module) -> Loss:
    """Tell which of the first four inputs is largest."""

    def loss() -> Tensor:
        inputs = torch.randn(32, 8)
        return cross_entropy(model(inputs), inputs[:, :4].argmax(1))

    return loss


def train(optimizer: Optimizer, loss: Loss, steps: int) -> float:
    """`steps` ordinary updates; returns the last loss."""
    value = 0.0
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        error = loss()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = error.item()
    return value


def checkpoint(model: nn.Module, optimizer: Optimizer, steps: int, loss: float) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": steps, "loss": loss}


def trained(model: nn.Module, optimizer: Optimizer, loss: Loss, steps: int) -> dict[str, Any]:
    return checkpoint(model, optimizer, steps, train(optimizer, loss, steps))


def gpt(out: Path) -> None:
    """Two decay groups, a cosine schedule, steps 40, 41 and 50 of one run."""
    model = GPT()
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=3e-4)
    for step in range(1, 51):
        loss = train(optimizer, language_loss(model), 1)
        scheduler.step()
        if step in (40, 41, 50):
            saved = checkpoint(model, optimizer, step, loss)
            saved |= {"scheduler": scheduler.state_dict(), "rng": torch.get_rng_state()}
            torch.save(saved, out / f"gpt_step{step}.pt")


def bigram(out: Path) -> None:
    model = Bigram()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.save(trained(model, optimizer, language_loss(model), 100), out / "bigram.pt")


def actor_critic(out: Path) -> None:
    """Three groups with three learning rates on a bandit: reward is the chosen input."""
    model = ActorCritic()
    groups = [
        {"params": model.base.parameters(), "lr": 1e-4},
        {"params": model.actor.parameters(), "lr": 3e-4},
        {"params": model.critic.parameters(), "lr": 1e-3},
    ]
    optimizer = torch.optim.Adam(groups)

    def loss() -> Tensor:
        inputs = torch.randn(32, 6)
        logits, value = model(inputs)
        policy = torch.distributions.Categorical(logits=logits)
        action = policy.sample()  # type: ignore[no-untyped-call]
        advantage = inputs.gather(1, action[:, None]) - value
        chosen: Tensor = policy.log_prob(action)  # type: ignore[no-untyped-call]
        objective: Tensor = advantage.pow(2).mean() - (chosen[:, None] * advantage.detach()).mean()
        return objective

    torch.save(trained(model, optimizer, loss, 60), out / "actor_critic.pt")


def freezing(out: Path) -> None:
    """The three ways of fine-tuning a head: what is passed to the optimizer differs, what is trained does not."""

    def passed(model: nn.Module, style: str) -> Iterable[Any]:
        if style == "excluded":
            return [p for p in model.parameters() if p.requires_grad]
        if style == "included":
            return model.parameters()
        parts = dict(model.named_children())
        return [{"params": parts["backbone"].parameters(), "lr": 1e-4}, {"params": parts["head"].parameters()}]

    for style in ("excluded", "included", "groups"):
        model = Classifier()
        model.backbone.requires_grad_(False)
        optimizer = torch.optim.AdamW(passed(model, style), lr=1e-3)
        torch.save(trained(model, optimizer, classification_loss(model), 30), out / f"frozen_{style}.pt")


def only_weights(out: Path) -> None:
    """Biases are not passed: the optimizer counts its own list, so `params` is [0, 1]."""
    model = perceptron(5, 9, 1)
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    torch.save(trained(model, optimizer, regression_loss(model, 5), 30), out / "only_weights.pt")


def gan(out: Path) -> None:
    """Two models and two optimizers; the discriminator steps twice as often."""
    generator, discriminator = perceptron(4, 16, 2), perceptron(2, 12, 1)
    settings: dict[str, Any] = {"betas": (0.5, 0.999)}
    opt_g = torch.optim.Adam(generator.parameters(), lr=2e-4, **settings)
    opt_d = torch.optim.Adam(discriminator.parameters(), lr=1e-4, **settings)

    def loss_d() -> Tensor:
        real = torch.randn(32, 2) * 0.3 + 1.0
        fake = generator(torch.randn(32, 4)).detach()
        return softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()

    def loss_g() -> Tensor:
        return softplus(-discriminator(generator(torch.randn(32, 4)))).mean()

    for _ in range(20):
        train(opt_d, loss_d, 2)
        train(opt_g, loss_g, 1)
    states: dict[str, nn.Module | Optimizer] = {
        "generator": generator,
        "discriminator": discriminator,
        "opt_g": opt_g,
        "opt_d": opt_d,
    }
    torch.save({key: value.state_dict() for key, value in states.items()} | {"epoch": 1}, out / "gan.pt")


def variants(out: Path) -> None:
    """One small network under other optimizers, dtypes and containers."""
    model = perceptron(6, 20, 20, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, nesterov=True, weight_decay=1e-4)
    torch.save(trained(model, sgd, regression_loss(model, 6), 40), out / "sgd_momentum.pt")

    model = perceptron(6, 20, 20, 1)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)
    torch.save(trained(model, adam, regression_loss(model, 6), 40), out / "amsgrad.pt")

    model = perceptron(6, 20, 20, 1)
    named = torch.optim.AdamW(model.named_parameters(), lr=1e-3)
    torch.save(trained(model, named, regression_loss(model, 6), 40), out / "named.pt")

    model = perceptron(6, 20, 20, 1).to(torch.bfloat16)
    half = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.save(trained(model, half, regression_loss(model, 6, torch.bfloat16), 40), out / "bf16.pt")

    model = perceptron(6, 20, 20, 1)
    legacy = torch.optim.AdamW(model.parameters(), lr=1e-3)
    saved = trained(model, legacy, regression_loss(model, 6), 40)
    torch.save(saved, out / "legacy.pt", _use_new_zipfile_serialization=False)

    (out / "separate").mkdir(exist_ok=True)
    pair = Bigram()
    adamw = torch.optim.AdamW(pair.parameters(), lr=1e-2)
    train(adamw, language_loss(pair), 40)
    torch.save(pair.state_dict(), out / "separate" / "model.pt")
    torch.save(adamw.state_dict(), out / "separate" / "optimizer.pt")


def whole(out: Path) -> None:
    """Pickled objects in place of state_dicts: torch needs their classes to read them, optinspect does not."""
    model = Bigram()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    train(optimizer, language_loss(model), 40)
    optimizer.zero_grad(set_to_none=True)
    torch.save(model, out / "whole_module.pt")
    torch.save({"model": model, "optimizer": optimizer}, out / "whole_objects.pt")


def damaged(out: Path) -> None:
    """The first part of gpt_step50.pt, as a full disk leaves it."""
    data = (out / "gpt_step50.pt").read_bytes()
    (out / "cut_short.pt").write_bytes(data[: int(len(data) * KEPT_OF_DAMAGED)])


SAMPLES = (gpt, bigram, actor_critic, freezing, only_weights, gan, variants, whole, damaged)


def main(out: Path) -> None:
    """Write every sample into `out`, each from its own seed, so that adding one changes no other."""
    torch.set_num_threads(1)  # the order of a sum decides its last bit
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        torch.manual_seed(sum(sample.__name__.encode()))
        sample(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
