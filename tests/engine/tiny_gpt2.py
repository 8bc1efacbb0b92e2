"""A GPT-2 of odd sizes, with weights wide enough that every part of it shows in the logits."""

from typing import Any

import torch

from headway.engine.compile import compiled
from headway.models.gpt2 import GPT2, GPT2Config

VOCABULARY, CONTEXT = 61, 83


def tiny(**settings: Any) -> GPT2:
    torch.manual_seed(5)
    sizes = {"vocabulary": VOCABULARY, "context": CONTEXT, "width": 42, "n_layers": 3, "n_heads": 3, "feed_forward": 71}
    return GPT2(GPT2Config(**{**sizes, "initial_deviation": 0.3, **settings})).eval()


def in_engine(model: GPT2, bits: int, threads: int = 1, kernels: str = "") -> Any:
    return compiled(model, "gpt2", bits=bits, threads=threads, kernels=kernels)


def feed(model: Any, state: Any, rows: list[list[int]], *, every: bool = False) -> Any:
    """One step of rows of unequal length; padding is an id that no model has, so that reading it would be refused."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), 10**6)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
    return model.step(ids, torch.tensor([len(row) for row in rows], dtype=torch.int64), state, every=every)
