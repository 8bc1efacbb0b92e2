"""The plain training loop the benchmarks measure against: GPT-2 in the manner nanoGPT is known for, self-contained.

Plain PyTorch with nothing of headway: logits of every position at once, cross-entropy, AdamW, a cosine with warm-up,
clipping, random windows from one long array of ids. `compile` and `bfloat16` are the two switches such a loop has.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class PlainConfig:
    """The sizes of the model. There is no dropout: the runs measured here read their text about once."""

    vocabulary: int
    context: int
    width: int
    n_layers: int
    n_heads: int


@dataclass(frozen=True, kw_only=True)
class PlainSettings:
    """How it is trained: rows of `window` ids a step, the highest rate, its decay to a tenth, the two switches."""

    batch_size: int
    window: int
    learning_rate: float = 6e-4
    final_share: float = 0.1
    warm_up: float = 0.05
    beta2: float = 0.95
    weight_decay: float = 0.1
    clip: float = 1.0
    compile: bool = False
    bfloat16: bool = False
    seed: int = 1337


class PlainBlock(nn.Module):
    """Attention and feed-forward, each behind a layer norm and added to what came in."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, 4 * config.width)
        self.contract = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        rows, length, width = x.shape
        heads = (rows, length, self.n_heads, width // self.n_heads)
        query, key, value = (
            part.view(heads).transpose(1, 2) for part in self.qkv(self.attention_norm(x)).split(width, dim=2)
        )  # (B, H, T, K) each
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(rows, length, width))
        inner = functional.gelu(self.expand(self.feed_forward_norm(x)), approximate="tanh")
        return x + self.contract(inner)  # type: ignore[no-any-return]


class PlainGPT2(nn.Module):
    """GPT-2 with the token embedding as output matrix."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                into_stream = name.endswith(("output.weight", "contract.weight"))
                nn.init.normal_(parameter, 0.0, 0.02 / (math.sqrt(2 * config.n_layers) if into_stream else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V); `lengths` is what headway's scoring passes, and right padding needs none."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.final_norm(x))  # type: ignore[no-any-return]

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of all logits at once, in nats; ids and targets (B, T)."""
        return functional.cross_entropy(self(ids).flatten(0, 1), targets.flatten())


class PlainTraining:
    """A model in training on one array of ids: what `plain_step` needs."""

    def __init__(self, config: PlainConfig, settings: PlainSettings, ids: NDArray[Any]) -> None:
        """Raises ValueError where the ids do not fill one window."""
        if len(ids) <= settings.window:
            raise ValueError(f"a window of {settings.window} needs more ids than that, but got {len(ids)}")
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.ids = ids
        self.model = PlainGPT2(config)
        matrices = [parameter for parameter in self.model.parameters() if parameter.dim() >= 2]
        others = [parameter for parameter in self.model.parameters() if parameter.dim() < 2]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        betas = (0.9, settings.beta2)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)
        # Loss and model are compiled together, as it is done there: the compiler then fuses the cross-entropy.
        self.loss: Any = torch.compile(self.model.loss) if settings.compile else self.model.loss

    def batch(self) -> tuple[Tensor, Tensor]:
        """Windows that begin anywhere, and the same moved on by one: ids and targets (B, T)."""
        window = self.settings.window
        begins = torch.randint(len(self.ids) - window, (self.settings.batch_size,)).tolist()
        rows = torch.from_numpy(numpy.stack([self.ids[begin : begin + window + 1] for begin in begins]).astype("int64"))
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def plain_step(training: PlainTraining, share: float) -> float:
    """One optimiser step, `share` of the budget being spent; the loss in nats per token."""
    for group in training.optimizer.param_groups:
        group["lr"] = plain_rate(training.settings, share)
    ids, targets = training.batch()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.settings.bfloat16):
        loss = training.loss(ids, targets)
    loss.backward()
    nn.utils.clip_grad_norm_(training.model.parameters(), training.settings.clip)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def plain_rate(settings: PlainSettings, share: float) -> float:
    """The learning rate: a straight line up in the warm-up's share, then half a cosine down to `final_share`."""
    if share < settings.warm_up:
        return settings.learning_rate * max(share, 1e-3) / settings.warm_up
    along = min(1.0, (share - settings.warm_up) / (1.0 - settings.warm_up))
    cosine = 0.5 * (1.0 + math.cos(math.pi * along))
    return settings.learning_rate * (settings.final_share + (1.0 - settings.final_share) * cosine)
