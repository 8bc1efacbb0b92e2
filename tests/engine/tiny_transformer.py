"""A Transformer of odd sizes, with weights wide enough that every part of it shows in the logits."""

from typing import Any

import torch
from torch import Tensor, nn

from headway.engine.compile import compiled
from headway.models.transformer import Transformer, TransformerConfig

VOCABULARY, CONTEXT = 61, 43


def tiny(**settings: Any) -> Transformer:
    torch.manual_seed(5)
    sizes = {"vocabulary": VOCABULARY, "context": CONTEXT, "width": 42, "n_heads": 3, "feed_forward": 71}
    layers = {"encoder_layers": 3, "decoder_layers": 2}
    config = TransformerConfig(**{**sizes, **layers, "initial_deviation": 0.3, **settings})
    model = Transformer(config)
    for name, parameter in model.named_parameters():
        if name == "output_bias" or (config.positions == "relative" and name.endswith("positions.weight")):
            nn.init.normal_(parameter)  # it begins at zero, where it could not show
    return model.eval()


def in_engine(model: Transformer, bits: int, threads: int = 1, kernels: str = "") -> Any:
    return compiled(model, "transformer", bits=bits, threads=threads, kernels=kernels)


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and lengths; padding is an id that no model has, so that reading it would be refused."""
    ids = torch.full((len(rows), max((len(row) for row in rows), default=0)), 10**6)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
    return ids, torch.tensor([len(row) for row in rows], dtype=torch.int64)


def feed(model: Any, state: Any, rows: list[list[int]], *, every: bool = False) -> Any:
    """One step of rows of unequal length."""
    return model.step(*padded(rows), state, every=every)
