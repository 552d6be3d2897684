"""The small models that `make.py` trains. A whole pickled module names its class as `models.<Class>`."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

VOCABULARY = 29


class Bigram(nn.Module):
    """The next token from the present one alone."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.token_embedding_table = nn.Embedding(VOCABULARY, width)
        self.lm_head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.lm_head(self.token_embedding_table(tokens))
        return logits


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.fc_in = nn.Linear(width, 4 * width)
        self.fc_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm_1(x))
        hidden: Tensor = self.fc_out(gelu(self.fc_in(self.norm_2(x))))
        return x + hidden

    def attend(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, float("-inf")).softmax(-1) @ value
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class GPT(nn.Module):
    """A GPT of two layers whose head and token embedding are one tensor."""

    def __init__(self, width: int = 24, layers: int = 2, heads: int = 2, context: int = 16) -> None:
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, width)
        self.wpe = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.lm_head(self.norm(x))
        return logits


class ActorCritic(nn.Module):
    """A shared base with a policy head and a value head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.actor = nn.Linear(width, 3)
        self.critic = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.base(x)
        return self.actor(hidden), self.critic(hidden)


class Classifier(nn.Module):
    """A backbone to be frozen and a head to be tuned."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.backbone(x)))
        return logits


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them: parameters 0.weight, 0.bias, 2.weight, …"""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
