"""Scaled dot-product attention with several heads (Vaswani et al. 2017, sections 3.2.1 and 3.2.2).

The fused kernel runs unless somebody watches; then the plain softmax does, which is the same function written out.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from headway.nn.linear import Linear
from headway.nn.trace import Watch

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Stores the new keys and values (B, H, T, K) and returns all there are (B, H, S, K)."""


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
    allowed -> (B, H, T, K), (B, H, T, S). The softmax runs in float32 at least.
    """
    scores = query @ key.transpose(-2, -1) * scale  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
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
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        `mask` is broadcast to (B, H, T, S); `causal` lets a position see itself and those before, of the T given;
        `extend` adds what earlier steps left to the keys and values.
        """
        query, key, value = (split_heads(part, self.n_heads) for part in self.qkv(x).chunk(3, dim=-1))
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
