"""Scaled dot-product attention with several heads (Vaswani et al. 2017, sections 3.2.1 and 3.2.2).

The fused kernel runs unless somebody watches; then the plain softmax does, which is the same function written out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.nn.linear import Linear
from headway.nn.source_memory import SourceMemory
from headway.nn.trace import Watch

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Stores the new keys and values (B, H, T, K) and returns all there are (B, H, S, K)."""

Rotate = Callable[[Tensor], Tensor]
"""Turns queries or new keys (B, H, T, K) by where they stand."""


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(B, T, D) -> (B, H, T, K), a view."""
    return x.view(x.shape[0], x.shape[1], n_heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, K) -> (B, T, D)."""
    return x.transpose(1, 2).flatten(2)


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """(T, S), True where the key is not later than the query; the last query sees every key."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def attend_plainly(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Equation 1 written out: softmax(query key^T scale) value, and the probabilities.

    query (B, H, T, K), key and value (B, H, S, K), mask broadcast to (B, H, T, S) with True where attention is
    allowed, or numbers to add to the scores -> (B, H, T, K), (B, H, T, S). The softmax runs in float32 at least.
    """
    scores = query @ key.transpose(-2, -1) * scale  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    probabilities = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    probabilities = probabilities.to(value.dtype)
    return probabilities @ value, probabilities


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, one matrix for query, key and value."""

    def __init__(self, width: int, n_heads: int, *, scale: float | None = None, dropout: float = 0.0) -> None:
        """`scale` multiplies the scores; None: 1 / sqrt(width of a head), as the paper has it."""
        super().__init__()
        self.n_heads = n_heads
        self.scale = (width // n_heads) ** -0.5 if scale is None else scale
        self.dropout = dropout
        self.qkv = Linear(width, 3 * width)
        self.output = Linear(width, width)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        extend: Extend | None = None,
        watch: Watch | None = None,
        rotate: Rotate | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        `mask` is broadcast to (B, H, T, S), True where attention is allowed, or numbers to add to the scores; `causal`
        lets a position see itself and those before, of the T given; `extend` adds what earlier steps left to the keys
        and values, `rotate` turns queries and keys before that.
        """
        query, key, value = (split_heads(part, self.n_heads) for part in self.qkv(x).chunk(3, dim=-1))
        if rotate is not None:
            query, key = rotate(query), rotate(key)
        if extend is not None:
            key, value = extend(key, value)  # (B, H, S, K)
        if watch is not None:
            if causal:
                mask = causal_mask(query.shape[2], key.shape[2], x.device)
            mixed = self._watched(query, key, value, mask, watch)
        else:
            mixed = functional.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=mask,
                is_causal=causal,
                scale=self.scale,
                dropout_p=self.dropout if self.training else 0.0,
            )
        return self.output(merge_heads(mixed))  # type: ignore[no-any-return]

    def _watched(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, watch: Watch) -> Tensor:
        mixed, probabilities = attend_plainly(query, key, value, mask, self.scale)
        if watch.trace is not None:
            watch.trace.attention(watch.layer, probabilities)
        if watch.silenced:
            kept = torch.ones(self.n_heads, dtype=mixed.dtype, device=mixed.device)
            kept[list(watch.silenced)] = 0.0
            mixed = mixed * kept[:, None, None]
        return mixed


@dataclass(frozen=True, kw_only=True)
class SourceView:
    """What one layer may read of N sources.

    key, value (N, H, S, K); mask broadcasts to (N, H, T, S), None where all sources are equally long; memory: which
    rows read which source, None where row n reads source n.
    """

    key: Tensor
    value: Tensor
    mask: Tensor | None
    memory: SourceMemory | None = None


class CrossAttention(nn.Module):
    """Multi-head attention of a target to its source (section 3.2.3), one matrix for key and value."""

    def __init__(self, width: int, n_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.scale = (width // n_heads) ** -0.5
        self.dropout = dropout
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)
        self.output = Linear(width, width)

    def read(self, annotations: Tensor) -> tuple[Tensor, Tensor]:
        """annotations (N, S, D) -> key and value (N, H, S, K), the same for every target position."""
        key, value = (split_heads(part, self.n_heads) for part in self.key_value(annotations).chunk(2, dim=-1))
        return key, value

    def forward(self, x: Tensor, source: SourceView, *, watch: Watch | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D). A watch shows what is read; it silences no head here, that is self-attention's."""
        memory = source.memory
        query = self.query(x)  # (B, T, D)
        if memory is not None:
            query = memory.group(query)  # (N, G T, D), the rows of one source side by side
        query = split_heads(query, self.n_heads)
        if watch is not None and watch.trace is not None:
            mixed, probabilities = attend_plainly(query, source.key, source.value, source.mask, self.scale)
            by_row = probabilities.transpose(1, 2)  # (N, G T, H, S)
            by_row = by_row if memory is None else memory.ungroup(by_row)
            watch.trace.cross_attention(watch.layer, by_row.transpose(1, 2))
        else:
            mixed = functional.scaled_dot_product_attention(
                query,
                source.key,
                source.value,
                attn_mask=source.mask,
                scale=self.scale,
                dropout_p=self.dropout if self.training else 0.0,
            )
        merged = merge_heads(mixed)
        return self.output(merged if memory is None else memory.ungroup(merged))  # type: ignore[no-any-return]
