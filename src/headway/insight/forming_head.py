"""The attention map of one head while its model is still learning: which head to watch, and its map as a few bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.models.protocol import Encoder
from headway.nn.trace import Trace


@dataclass(frozen=True, kw_only=True)
class HeadMap:
    """What each position reads of those up to itself, `side` x `side`, row by row; 255 is a probability of 1."""

    layer: int
    head: int
    side: int
    data: bytes


def attention_of(model: nn.Module, ids: Sequence[int]) -> Tensor:
    """Every head's map of one text, (L, H, T, T); the model is one whose `encode` takes a trace, in evaluation mode."""
    device, trace = next(model.parameters()).device, Trace()
    with torch.no_grad():
        cast(Encoder, model).encode(
            torch.tensor([list(ids)], device=device), torch.tensor([len(ids)], device=device), trace=trace
        )
    layers = sorted(int(name.split(".")[1]) for name in trace.found if name.endswith(".attention"))
    return torch.stack([trace.found[f"layers.{layer}.attention"][0] for layer in layers]).float()  # (L, H, T, T)


def sharpest_head(maps: Tensor) -> tuple[int, int]:
    """The layer and head that tell their positions apart most: maps (L, H, T, T), T at least 2.

    A position that could read n others has log2(n) bits of choice; what counts is the share of them that its
    attention has decided, 0 for an even spread and 1 for a single position, on average over all but the first.
    """
    entropy = -(maps * maps.clamp_min(1e-12).log2()).sum(-1)[..., 1:]  # (L, H, T - 1)
    choice = torch.arange(2, maps.shape[-1] + 1, device=maps.device).log2()
    decided = (1.0 - entropy / choice).mean(-1)  # (L, H)
    layer, head = divmod(int(decided.argmax()), maps.shape[1])
    return layer, head


def head_map(maps: Tensor, layer: int, head: int, *, side: int) -> HeadMap:
    """One head of maps (L, H, T, T); a longer text is drawn in `side` x `side` cells, each its greatest probability.

    The greatest, not the mean, so that a thin diagonal stays to be seen.
    """
    one = maps[layer, head]  # (T, T)
    length = one.shape[-1]
    if length > side:
        one = functional.adaptive_max_pool2d(one[None], side)[0]  # (side, side)
    cells = (one.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu()
    return HeadMap(layer=layer, head=head, side=math.isqrt(cells.numel()), data=bytes(cells.flatten().tolist()))
